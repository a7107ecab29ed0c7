//! The options that are in force now, [`InForce`], and the options that one call holds, [`HeldOptions`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use hedge_core::limit::Limits;
use hedge_core::policy::ConfigError;
use hedge_core::time::Instant;

use crate::replace::ReplaceableOptions;

/// The options that are in force now, and the limits that are made from them.
///
/// The initial options are stored in this struct. While they are in force, reading them costs one load of a flag. Later
/// options are behind an `Arc`. The `Arc` is replaced as a whole, so a reader never sees a mixture of old and new
/// options.
pub(crate) struct InForce {
    first: ReplaceableOptions,
    limits: Limits,
    is_replaced: AtomicBool,
    now: ArcSwapOption<Version>,
    /// A lock that is held while options are replaced.
    replacing: Mutex<()>,
}

/// A version of the options that has replaced an earlier version.
struct Version {
    options: ReplaceableOptions,
    /// The limits of this version. `None` means the initial limits, since no replacement has changed the options of the
    /// limits.
    limits: Option<Arc<Limits>>,
}

/// The options that one call holds, from its start to its end.
///
/// # Cost
/// A value takes 8 bytes. While the initial options are in force, holding them costs one load. After a replacement,
/// holding the options costs four atomic writes. Two of them are to a slot that belongs to the thread. The other two
/// are to a counter that all calls share: one write when the call starts, and one when it ends.
#[derive(Default)]
pub struct HeldOptions(Option<Arc<Version>>);

#[cfg(test)]
impl HeldOptions {
    /// Returns a weak reference to the held options. It shows whether anything still holds them. Returns `None` if
    /// these are the initial options.
    pub(crate) fn weak(&self) -> Option<std::sync::Weak<impl Sized + use<>>> {
        self.0.as_ref().map(Arc::downgrade)
    }
}

impl fmt::Debug for HeldOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldOptions").field(&self.0.as_ref().map(|version| &version.options)).finish()
    }
}

impl InForce {
    pub(crate) fn new(options: ReplaceableOptions) -> Result<Self, ConfigError> {
        let limits = Limits::new(options.limits);
        let (is_replaced, now) = (AtomicBool::new(false), ArcSwapOption::empty());
        Ok(Self { first: options, limits, is_replaced, now, replacing: Mutex::new(()) })
    }

    /// Returns the options that are in force now, for a call that starts.
    #[inline]
    pub(crate) fn hold(&self) -> HeldOptions {
        if self.is_replaced() { self.hold_replaced() } else { HeldOptions(None) }
    }

    #[cold]
    #[inline(never)]
    fn hold_replaced(&self) -> HeldOptions {
        HeldOptions(self.now.load_full())
    }

    /// Returns the options that a call holds: the options that were in force when the call started.
    #[inline]
    pub(crate) fn of<'a>(&'a self, held: &'a HeldOptions) -> &'a ReplaceableOptions {
        match &held.0 {
            None => &self.first,
            Some(version) => &version.options,
        }
    }

    /// Calls `ask` with the limits in force.
    // `ask` is called in only one place, so that the compiler inlines it.
    #[inline]
    pub(crate) fn with_limits<T>(&self, ask: impl FnOnce(&Limits) -> T) -> T {
        let now = if self.is_replaced() { Some(self.load_replaced()) } else { None };
        let version = now.as_ref().and_then(|now| now.as_deref());
        ask(version.and_then(|version| version.limits.as_deref()).unwrap_or(&self.limits))
    }

    #[cold]
    #[inline(never)]
    fn load_replaced(&self) -> Guard<Option<Arc<Version>>> {
        self.now.load()
    }

    #[inline]
    fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Acquire)
    }

    /// Replaces the options, and returns the new ones. `change` makes the new options from the old ones. `prepare` gets
    /// the old and the new options, and makes the other values that change together with the options. `publish` puts
    /// these values into effect. If the new options are refused, nothing is changed.
    pub(crate) fn replace<P>(
        &self,
        now: Instant,
        change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions,
        prepare: impl FnOnce(&ReplaceableOptions, &ReplaceableOptions) -> P,
        publish: impl FnOnce(P),
    ) -> Result<ReplaceableOptions, ConfigError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.hold();
        let old = self.of(&held);
        let options = change(old);
        options.check()?;
        let prepared = prepare(old, &options);
        let before = held.0.as_ref().and_then(|version| version.limits.clone());
        let limits = if options.limits == old.limits {
            before
        } else {
            let learned = before.as_deref().unwrap_or(&self.limits);
            Some(Arc::new(learned.replaced(options.limits, now)))
        };
        self.now.store(Some(Arc::new(Version { options: options.clone(), limits })));
        self.is_replaced.store(true, Ordering::Release);
        publish(prepared);
        Ok(options)
    }
}

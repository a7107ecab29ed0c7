//! The options in force: [`InForce`], and those that one call holds, [`HeldOptions`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use hedge_core::limit::Limits;
use hedge_core::policy::ConfigError;
use hedge_core::time::Instant;

use crate::replace::{OptionsError, ReplaceableOptions};

/// The options in force, and the limits that go with them.
///
/// The options of the start are kept in place. While they are in force, reading them costs one load of a flag. Options
/// that replace them are behind an `Arc`, which is exchanged as a whole.
pub(crate) struct InForce {
    first: ReplaceableOptions,
    limits: Limits,
    is_replaced: AtomicBool,
    now: ArcSwapOption<Version>,
    /// Held while options are replaced.
    replacing: Mutex<()>,
}

/// Options that have replaced others.
struct Version {
    options: ReplaceableOptions,
    /// `None`: those of the start, since their options are the same.
    limits: Option<Arc<Limits>>,
}

/// The options that one call holds, from its start to its end.
///
/// # Cost
/// 8 bytes. While the options of the start are in force, taking them costs one load. After that it costs four atomic
/// operations that change memory: two on a slot of the thread, and one when the call starts and one when it ends on a count
/// that all calls share.
#[derive(Default)]
pub struct HeldOptions(Option<Arc<Version>>);

#[cfg(test)]
impl HeldOptions {
    /// Whether anything still holds them.
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
        let limits = Limits::new(options.limits)?;
        let (is_replaced, now) = (AtomicBool::new(false), ArcSwapOption::empty());
        Ok(Self { first: options, limits, is_replaced, now, replacing: Mutex::new(()) })
    }

    /// The options in force, for a call that starts.
    #[inline]
    pub(crate) fn hold(&self) -> HeldOptions {
        if self.is_replaced() { self.hold_replaced() } else { HeldOptions(None) }
    }

    #[cold]
    #[inline(never)]
    fn hold_replaced(&self) -> HeldOptions {
        HeldOptions(self.now.load_full())
    }

    /// The options that are held.
    #[inline]
    pub(crate) fn of<'a>(&'a self, held: &'a HeldOptions) -> &'a ReplaceableOptions {
        match &held.0 {
            None => &self.first,
            Some(version) => &version.options,
        }
    }

    /// Asks the limits in force.
    // `ask` is called in one place, so that it is inlined.
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

    /// Replaces the options by those that `change` makes of them. `prepare` is told the old and the new options, and makes
    /// what else has to change with them; `publish` changes that. If `change` or `prepare` fails, nothing is changed.
    pub(crate) fn replace<P>(
        &self,
        now: Instant,
        change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions,
        prepare: impl FnOnce(&ReplaceableOptions, &ReplaceableOptions) -> Result<P, OptionsError>,
        publish: impl FnOnce(P),
    ) -> Result<ReplaceableOptions, OptionsError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.hold();
        let old = self.of(&held);
        let options = change(old);
        options.check()?;
        let prepared = prepare(old, &options)?;
        let before = held.0.as_ref().and_then(|version| version.limits.clone());
        let limits = if options.limits == old.limits {
            before
        } else {
            let learned = before.as_deref().unwrap_or(&self.limits);
            Some(Arc::new(learned.replaced(options.limits, now).map_err(ConfigError::from)?))
        };
        self.now.store(Some(Arc::new(Version { options: options.clone(), limits })));
        self.is_replaced.store(true, Ordering::Release);
        publish(prepared);
        Ok(options)
    }
}

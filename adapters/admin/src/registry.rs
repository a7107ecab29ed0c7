//! The channels, recorders and variables that the pages show: [`Registry`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Instant as Clock;

use hedge_fleet::Inspect;

use crate::name::{Name, NameError};
use crate::parts::{self, Part};
use crate::recorder::Recorder;
use crate::samples::{SampleOptions, Samples};
use crate::source::Source;
use crate::value::Value;
use crate::watch::Watch;

/// The channels, recorders and variables that the [pages](crate::page) show, each under its name. A clone is the same
/// registry.
///
/// ```
/// use hedge_admin::Registry;
///
/// let registry = Registry::new();
/// let shown = registry.variable("queue_length", || 3_u64.into())?;
/// assert_eq!(hedge_admin::page("/vars/queue_length", &registry).body, "3\n");
/// drop(shown);
/// assert_eq!(hedge_admin::page("/vars/queue_length", &registry).status, 404);
/// # Ok::<(), hedge_admin::NameError>(())
/// ```
///
/// # Contract
/// What is registered is shown until its [`Registration`] is dropped. The registry keeps a channel open until then. So
/// drop the registration of a channel that should close. Threads can share a registry. The registry holds no lock while
/// it calls code of the program.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    entries: RwLock<BTreeMap<Name, Source>>,
    samples: Arc<Samples>,
    /// The origin of the clocks of recorders.
    origin: Clock,
}

impl Registry {
    /// The maximum number of names in a registry.
    pub const MAX_NAMES: usize = 65_536;

    /// Makes an empty registry. The sampling of calls is off, and [`Samples::set_one_in`] switches it on.
    #[must_use]
    pub fn new() -> Self {
        Self::with_samples(SampleOptions::default())
    }

    /// Makes an empty registry that samples calls by these options.
    #[must_use]
    pub fn with_samples(options: SampleOptions) -> Self {
        let origin = Clock::now();
        let samples = Arc::new(Samples::new(options, origin));
        Self(Arc::new(Shared { entries: RwLock::default(), samples, origin }))
    }

    /// Shows a channel. Its variables are brpc's (`NAME_latency`, `NAME_latency_99`, `NAME_qps`, `NAME_count`, …) and
    /// tRPC's (`NAME_backup_request` and `NAME_backup_request_success`).
    ///
    /// The variables come from counters that the channel has anyway. So this costs a call nothing.
    ///
    /// # Errors
    /// Returns an error if the name cannot be used.
    pub fn add(&self, name: &str, channel: impl Inspect + 'static) -> Result<Registration, NameError> {
        self.register(Name::of_latencies(name)?, Source::Channel(Arc::new(channel), None))
    }

    /// Makes the watch of a channel that will be built. It records the calls for the histogram on `/metrics`, and takes
    /// the samples for `/rpcz`. [`add_watched`](Self::add_watched) then shows the channel under this name.
    ///
    /// # Errors
    /// Returns an error if the text cannot be a name.
    pub fn watch(&self, name: &str) -> Result<Watch, NameError> {
        Ok(Watch::new(Name::of_latencies(name)?, Arc::clone(&self.0.samples)))
    }

    /// Shows a channel as [`add`](Self::add) does, and what its watch has recorded. The watch has the name.
    ///
    /// # Errors
    /// Returns an error if the name cannot be used.
    pub fn add_watched(&self, watch: Watch, channel: impl Inspect + 'static) -> Result<Registration, NameError> {
        self.register(watch.name().clone(), Source::Channel(Arc::new(channel), Some(watch)))
    }

    /// Makes a latency recorder for a function of the program, and shows it.
    ///
    /// # Errors
    /// Returns an error if the name cannot be used.
    pub fn recorder(&self, name: &str) -> Result<(Recorder, Registration), NameError> {
        let recorder = Recorder::new(self.0.origin);
        let shown = self.register(Name::of_latencies(name)?, Source::Recorder(recorder.recorded()))?;
        Ok((recorder, shown))
    }

    /// Shows a variable of the program. `read` returns its value each time a page shows it. If `read` panics, the page
    /// says so.
    ///
    /// # Errors
    /// Returns an error if the name cannot be used.
    pub fn variable(
        &self,
        name: &str,
        read: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Result<Registration, NameError> {
        self.register(Name::new(name)?, Source::Variable(Arc::new(read)))
    }

    /// Returns the samples of calls.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.0.samples
    }

    fn register(&self, name: Name, source: Source) -> Result<Registration, NameError> {
        let mut entries = self.0.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= Self::MAX_NAMES {
            return Err(NameError::Full { most: Self::MAX_NAMES });
        }
        if entries.contains_key(&name) {
            return Err(NameError::Taken { variable: name.to_string() });
        }
        let mut variables = source.parts().iter().map(|(suffix, _)| format!("{name}{suffix}"));
        if let Some(variable) = variables.find(|variable| owner(&entries, variable).is_some()) {
            return Err(NameError::Taken { variable });
        }
        entries.insert(name.clone(), source);
        Ok(Registration { registry: Arc::downgrade(&self.0), name })
    }

    // ---- reading ----

    fn entries(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Source>> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is registered, in the order of the names.
    pub(crate) fn sources(&self) -> Vec<(Name, Source)> {
        self.entries().iter().map(|(name, source)| (name.clone(), source.clone())).collect()
    }

    /// Returns what is registered under a name.
    pub(crate) fn source(&self, name: &str) -> Option<(Name, Source)> {
        self.entries().get_key_value(name).map(|(name, source)| (name.clone(), source.clone()))
    }

    /// Returns where a variable comes from.
    pub(crate) fn find(&self, variable: &str) -> Option<(Name, Source, Part)> {
        owner(&self.entries(), variable).map(|(name, source, part)| (name.clone(), source.clone(), part))
    }
}

/// Returns the entry that has this variable. A variable has at most one entry, since [`Registry::register`] refuses a
/// second one.
fn owner<'a>(entries: &'a BTreeMap<Name, Source>, variable: &str) -> Option<(&'a Name, &'a Source, Part)> {
    let of_suffix = |(suffix, _): &(&str, Part)| {
        let (name, source) = entries.get_key_value(variable.strip_suffix(suffix)?)?;
        let (_, part) = source.parts().iter().find(|(own, _)| own == suffix)?;
        Some((name, source, *part))
    };
    parts::OF_CHANNEL.iter().chain(&parts::OF_VARIABLE).find_map(of_suffix)
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("names", &self.entries().len()).finish_non_exhaustive()
    }
}

/// Shows something in a [`Registry`] until it is dropped.
#[must_use = "what is registered disappears when its registration is dropped"]
pub struct Registration {
    registry: Weak<Shared>,
    name: Name,
}

impl Registration {
    /// Returns the name, in the form in which the pages show it.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(shared) = self.registry.upgrade() else { return };
        let removed = shared.entries.write().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        // The drop of a channel may run code of the program, so the lock is free by now.
        drop(removed);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("name", &self.name).finish_non_exhaustive()
    }
}

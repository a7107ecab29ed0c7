//! Replaces the options of a layer or a set while it runs.

use hedge_core::config::{self, Warnings};
use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::{OptionsError, ReplaceableOptions};

use crate::shared::Shared;
use crate::{Hedge, HedgeLayer, HedgeSet};

impl<T, R, C> Shared<T, R, C> {
    /// The warnings about options that are in force.
    fn warnings(&self, options: &ReplaceableOptions, now: Instant) -> Warnings {
        config::Setup { connects: false, ..self.settings.warning_input(options, now) }.warnings()
    }

    /// Replaces the options of a layer.
    fn replace(&self, change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions) -> Result<Warnings, OptionsError>
    where
        T: Timer,
    {
        let now = self.timer.now();
        let with_same_server = |same_server_backup, mut options: ReplaceableOptions| {
            options.channel.same_server_backup = same_server_backup;
            options
        };
        // Extra attempts go to the same service, as `Builder::layer` sets it. No warning depends on that.
        let options = self.settings.replace(now, |old| with_same_server(true, change(old)))?;
        Ok(self.warnings(&with_same_server(false, options), now))
    }
}

/// The options and the limits of a file, and the rest of `old`.
#[cfg(feature = "serde")]
fn of_file(config: &config::ChannelConfig, old: &ReplaceableOptions) -> ReplaceableOptions {
    ReplaceableOptions {
        channel: config.options(),
        attempt_timeout: config.attempt_timeout(),
        limits: config.limits(),
        ..old.clone()
    }
}

impl<T, R, C> HedgeLayer<T, R, C> {
    /// A copy of the options in force, which all services of the layer share.
    pub fn options(&self) -> ReplaceableOptions {
        self.shared().settings.options()
    }

    /// Replaces all options that can be replaced while the services of the layer run. Calls that start from now on have
    /// the new options. A call in flight keeps its own to its end, except that new limits apply to it too. No call sees a
    /// mixture. [`ReplaceableOptions`] says which options there are, and what stays of what was learned. Breaker,
    /// isolation limit and recovery have no effect here, and `same_server_backup` is always set.
    ///
    /// The result is the warnings that a builder with these options would give. It asks the policy for its delay once. If
    /// two threads replace options at once, the later one wins.
    ///
    /// # Errors
    /// [`OptionsError::Options`]. Nothing is changed then.
    ///
    /// # Cost
    /// Until the first replacement, a call loads one flag when it starts, one for each extra attempt, and one when it
    /// ends. After it, the start of a call does three atomic operations that change memory, each of the others two, and
    /// the end one more. So a call without extra attempts does six, of which two are on a count that all calls share. A
    /// call still takes no lock and allocates nothing more. A replacement takes a lock against other replacements and
    /// allocates less than 2 KB. The old options are freed with the last call that holds them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower::{Layer, service_fn};
    /// let layer = hedge_tower::builder(hedge_tokio::Tokio::new()).layer()?;
    /// let service = layer.layer(service_fn(|name: String| async move { Ok::<_, String>(format!("hello, {name}")) }));
    /// // Later, for all services of the layer:
    /// for warning in layer.set_options(layer.options().with_backup(Duration::from_millis(20)))? {
    ///     eprintln!("warning: {warning}");
    /// }
    /// assert_eq!(service.options(), layer.options());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_options(&self, options: ReplaceableOptions) -> Result<Warnings, OptionsError>
    where
        T: Timer,
    {
        self.shared().replace(|_| options)
    }

    /// Replaces the options and the limits by those of a file, as [`Builder::config`](crate::Builder::config) does before
    /// the layer is made. See [`set_options`](Self::set_options).
    ///
    /// # Errors
    /// [`OptionsError::Options`]. Nothing is changed then.
    #[cfg(feature = "serde")]
    pub fn set_config(&self, config: &config::ChannelConfig) -> Result<Warnings, OptionsError>
    where
        T: Timer,
    {
        self.shared().replace(|old| of_file(config, old))
    }
}

impl<S, T, R, C> Hedge<S, T, R, C> {
    /// A copy of the options in force, which all services of the layer share. [`HedgeLayer::set_options`] replaces them.
    pub fn options(&self) -> ReplaceableOptions {
        self.shared().settings.options()
    }
}

impl<K: 'static, S, T, R, C> HedgeSet<K, S, T, R, C> {
    /// A copy of the options in force.
    pub fn options(&self) -> ReplaceableOptions {
        self.shared().settings.options()
    }

    /// Replaces all options that can be replaced while the set runs, for all its clones: see [`HedgeLayer::set_options`],
    /// also for the cost. Here, breaker, isolation limit and recovery are replaced too. If one of these three changes, the
    /// list is copied.
    ///
    /// # Errors
    /// See [`OptionsError`]. Nothing is changed then.
    pub fn set_options(&self, options: ReplaceableOptions) -> Result<Warnings, OptionsError>
    where
        T: Timer,
    {
        self.replace(|_| options)
    }

    /// Replaces the options and the limits by those of a file, as [`Builder::config`](crate::Builder::config) does before
    /// the set is made. Breaker, isolation limit and recovery stay: a file says nothing about them.
    ///
    /// # Errors
    /// See [`OptionsError`]. Nothing is changed then.
    #[cfg(feature = "serde")]
    pub fn set_config(&self, config: &config::ChannelConfig) -> Result<Warnings, OptionsError>
    where
        T: Timer,
    {
        self.replace(|old| of_file(config, old))
    }

    fn replace(&self, change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions) -> Result<Warnings, OptionsError>
    where
        T: Timer,
    {
        let now = self.now();
        let options = self.shared().settings.replace_with(self.servers(), now, change)?;
        Ok(self.shared().warnings(&options, now))
    }
}

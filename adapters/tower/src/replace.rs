//! Replaces the options of a layer or a set while it runs.

use hedge_core::config::{self, Warnings};
use hedge_core::drive::Timer;
use hedge_core::policy::ConfigError;
use hedge_core::time::Instant;
use hedge_fleet::ReplaceableOptions;

use crate::shared::Shared;
use crate::{Hedge, HedgeLayer, HedgeSet};

impl<T, R, C> Shared<T, R, C> {
    /// The warnings about `options`, which are in force.
    fn warnings(&self, options: &ReplaceableOptions, now: Instant) -> Warnings {
        config::Setup { connects: false, ..self.settings.warning_input(options, now) }.warnings()
    }

    /// Replaces the options of a layer.
    fn replace(&self, change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions) -> Result<Warnings, ConfigError>
    where
        T: Timer,
    {
        let now = self.timer.now();
        let with_same_server = |same_server_backup, mut options: ReplaceableOptions| {
            options.channel.same_server_backup = same_server_backup;
            options
        };
        // `Builder::layer` sets `same_server_backup`, so that extra attempts go to the same service. It stays set here.
        // The warnings are made without it, as by the builder.
        let options = self.settings.replace(now, |old| with_same_server(true, change(old)))?;
        Ok(self.warnings(&with_same_server(false, options), now))
    }
}

impl<T, R, C> HedgeLayer<T, R, C> {
    /// A copy of the options in force, which all services of the layer share.
    pub fn options(&self) -> ReplaceableOptions {
        self.shared().settings.options()
    }

    /// Replaces all options that can be replaced while the services of the layer run. Calls that start from now on have
    /// the new options. A call in flight keeps its options to its end, but new limits apply to it too. No call sees a
    /// mixture of old and new options. The docs of [`ReplaceableOptions`] list the options, and the state that stays.
    /// Breaker, isolation limit and recovery have no effect in a layer, and `same_server_backup` is always set.
    ///
    /// Returns the warnings that a builder with these options would give. For that, the policy is asked for its delay
    /// once. If two threads replace options at the same time, the later replacement wins.
    ///
    /// # Errors
    /// The first option that cannot be carried out. Nothing is changed then.
    ///
    /// # Cost
    /// Before the first replacement, a call loads one flag when it starts, one for each extra attempt, and one when it
    /// ends. After the first replacement, a call does atomic writes instead: three when it starts, two for each extra
    /// attempt, and three when it ends. So a call without extra attempts does six. Two of them are to a count that all
    /// calls share. A call still takes no lock and allocates nothing more. A replacement takes a lock against other
    /// replacements and allocates less than 2 KB. The old options are freed when the last call that holds them ends.
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
    pub fn set_options(&self, options: ReplaceableOptions) -> Result<Warnings, ConfigError>
    where
        T: Timer,
    {
        self.shared().replace(|_| options)
    }

    /// Replaces the options of calls and the limits by those of a file, as [`Builder::config`](crate::Builder::config)
    /// does before the layer is made. For the result and the cost, see [`set_options`](Self::set_options).
    ///
    /// # Errors
    /// The first option that cannot be carried out. Nothing is changed then.
    #[cfg(feature = "serde")]
    pub fn set_config(&self, config: &config::ChannelConfig) -> Result<Warnings, ConfigError>
    where
        T: Timer,
    {
        self.shared().replace(|old| old.clone().with_config(config))
    }
}

impl<S, T, R, C> Hedge<S, T, R, C> {
    /// A copy of the options in force, which all services of the layer share. [`HedgeLayer::set_options`] replaces
    /// them.
    pub fn options(&self) -> ReplaceableOptions {
        self.shared().settings.options()
    }
}

impl<K: 'static, S, T, R, C> HedgeSet<K, S, T, R, C> {
    /// A copy of the options in force.
    pub fn options(&self) -> ReplaceableOptions {
        self.shared().settings.options()
    }

    /// Replaces all options that can be replaced while the set runs, for all clones of the set. For details and the
    /// cost, see [`HedgeLayer::set_options`]. In a set, breaker, isolation limit and recovery are replaced too. If one
    /// of these three changes, the list is copied.
    ///
    /// # Errors
    /// The first option that cannot be carried out. Nothing is changed then.
    pub fn set_options(&self, options: ReplaceableOptions) -> Result<Warnings, ConfigError>
    where
        T: Timer,
    {
        self.replace(|_| options)
    }

    /// Replaces the options of calls and the limits by those of a file, as [`Builder::config`](crate::Builder::config)
    /// does before the set is made. Breaker, isolation limit and recovery are replaced too if the file names them. What
    /// cannot be replaced in a set that runs stays, even if the file names it: see [`ReplaceableOptions`].
    ///
    /// # Errors
    /// The first option that cannot be carried out. Nothing is changed then.
    #[cfg(feature = "serde")]
    pub fn set_config(&self, config: &config::ChannelConfig) -> Result<Warnings, ConfigError>
    where
        T: Timer,
    {
        self.replace(|old| old.clone().with_config(config))
    }

    fn replace(&self, change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions) -> Result<Warnings, ConfigError>
    where
        T: Timer,
    {
        let now = self.now();
        let options = self.shared().settings.replace_with(self.servers(), now, change)?;
        Ok(self.shared().warnings(&options, now))
    }
}

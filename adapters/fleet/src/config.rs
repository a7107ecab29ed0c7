//! Applies the configuration file of a channel to the settings of a builder, [`Setup::apply`], and to the options of a
//! channel that runs, [`ReplaceableOptions::with_config`].

use hedge_core::config::{ChannelConfig, Setting};

use crate::replace::ReplaceableOptions;
use crate::setup::Setup;

impl Setup {
    /// Applies a configuration file. All options of calls and all limits are replaced. If the file does not name one of
    /// them, its value is that of the file's preset, not the value that was set before. Every other setting is replaced
    /// only if the file names it.
    pub fn apply(&mut self, config: &ChannelConfig) {
        self.options = config.options();
        self.attempt_timeout = config.attempt_timeout();
        self.limits = config.limits();
        self.server_limits = config.server_limits();
        if let Some(balancer) = config.load_balancer {
            self.balancer = Some(balancer.to_string().into());
        }
        if let Some(adaptive) = config.adaptive_backup {
            (self.policy, self.adaptive) = (None, Some(adaptive));
        }
        if let Some(breaker) = config.circuit_breaker {
            self.breaker = breaker.on();
        }
        if let Some(limit) = config.isolation_limit {
            self.isolation_limit = limit;
        }
        self.recovery = config.recovery.or(self.recovery);
        self.seed = config.seed.or(self.seed);
    }
}

impl ReplaceableOptions {
    /// Returns these options, changed by a configuration file as in [`Setup::apply`]. The options of calls and the
    /// limits of backups and retries are replaced. The breaker, the isolation limit and the recovery are replaced only
    /// if the file names them.
    #[must_use]
    pub fn with_config(self, config: &ChannelConfig) -> Self {
        Self {
            channel: config.options(),
            attempt_timeout: config.attempt_timeout(),
            limits: config.limits(),
            breaker: config.circuit_breaker.map_or(self.breaker, Setting::on),
            isolation_limit: config.isolation_limit.unwrap_or(self.isolation_limit),
            recovery: config.recovery.or(self.recovery),
        }
    }
}

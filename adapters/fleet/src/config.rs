//! What a file says about a channel, as settings of a builder: [`Setup::apply`].

use hedge_core::config::ChannelConfig;

use crate::setup::Setup;

impl Setup {
    /// Takes over the options and limits of a file, whatever was set before, and everything else that the file names.
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

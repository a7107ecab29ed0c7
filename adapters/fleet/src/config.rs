//! Applies the configuration file of a channel to the settings of a builder, [`Setup::apply`], and to the options of a
//! channel that runs, [`ReplaceableOptions::with_config`].

use hedge_core::config::{ChannelConfig, Setting};
use hedge_core::limit::LimitOptions;
use hedge_core::policy::ChannelOptions;

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

/// Returns `now`, unless a value in a file has changed from `before` to `after`.
fn changed<T: PartialEq>(now: T, before: &T, after: T) -> T {
    if *before == after { now } else { after }
}

/// Does the same as [`changed`] for each field of a struct.
macro_rules! changed_fields {
    ($type:ident, ($now:expr, $before:expr, $after:expr), $($field:ident),*) => {
        $type { $($field: changed($now.$field, &$before.$field, $after.$field)),* }
    };
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

    /// Returns these options, changed by a configuration file that has changed from `old` to `new`. An option is replaced
    /// only if it has different values in the two files. So an option that the program has set after the file stays
    /// until the file changes it. For each single limit, this is the same. If a file does not name an option of calls or a
    /// limit, its value is that of the file's preset.
    #[must_use]
    pub fn with_changed_config(self, old: &ChannelConfig, new: &ChannelConfig) -> Self {
        let (before, after) = (self.clone().with_config(old), self.clone().with_config(new));
        let channel = changed_fields!(
            ChannelOptions,
            (self.channel, before.channel, after.channel),
            timeout,
            connect_timeout,
            max_retry,
            backup,
            max_backups,
            backoff,
            no_backoff_remaining,
            retry_target,
            same_server_backup,
            on_early_failure,
            pushback_for_service,
            idempotency
        );
        let limits = changed_fields!(LimitOptions, (self.limits, before.limits, after.limits), ratio, tokens, budget);
        Self {
            channel,
            limits,
            attempt_timeout: changed(self.attempt_timeout, &before.attempt_timeout, after.attempt_timeout),
            breaker: changed(self.breaker, &before.breaker, after.breaker),
            isolation_limit: changed(self.isolation_limit, &before.isolation_limit, after.isolation_limit),
            recovery: changed(self.recovery, &before.recovery, after.recovery),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hedge_core::config::Preset;
    use hedge_core::health::{BreakerOptions, FailureOptions};
    use hedge_core::time::Timeout;

    use super::*;

    fn file(timeout: u64, max_retry: u8) -> ChannelConfig {
        let breaker = BreakerOptions::ConsecutiveFailures(FailureOptions::DEFAULT);
        ChannelConfig {
            timeout: Some(Timeout::after(Duration::from_millis(timeout))),
            max_retry: Some(max_retry),
            circuit_breaker: Some(Setting::On(breaker)),
            ..ChannelConfig::default()
        }
    }

    #[test]
    fn what_the_program_has_set_after_the_file_stays_until_the_file_changes_it() {
        let one = file(300, 1);
        let mut setup = Setup::new();
        setup.apply(&one);
        let of_file = setup.into_settings(1).unwrap().options();
        let mut own = of_file.clone().with_timeout(Duration::from_millis(50));
        own.limits.tokens = Preset::Trpc.limits().tokens;
        assert_ne!(of_file.limits.tokens, own.limits.tokens);
        assert_eq!(own.clone().with_changed_config(&one, &one), own, "the file is as before");

        let two = file(300, 2);
        let changed = own.clone().with_changed_config(&one, &two);
        assert_eq!((changed.channel.timeout, changed.channel.max_retry), (own.channel.timeout, 2));
        assert_eq!(changed.limits, own.limits);

        let three = ChannelConfig { preset: Preset::Trpc, circuit_breaker: Some(Setting::Off), ..file(400, 3) };
        let changed = own.with_changed_config(&two, &three);
        assert_eq!(changed, of_file.with_config(&three), "all that the program has set is changed");
        let without = ChannelConfig { circuit_breaker: None, ..three.clone() };
        assert_eq!(changed.clone().with_changed_config(&three, &without), changed, "what is not named stays");
    }
}

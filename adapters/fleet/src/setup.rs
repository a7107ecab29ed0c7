//! What every builder sets: [`Setup`], and the setters of it that all builders have, [`setters!`](crate::setters!).

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hedge_core::config;
use hedge_core::health::{
    AnyBreaker, BreakerOptions, Health, HealthError, IsolationLimit, Recovering, RecoveryOptions,
};
use hedge_core::limit::LimitOptions;
use hedge_core::policy::{BackupPolicy as _, ChannelOptions, ConfigError};
use hedge_core::time::{Duration, Instant, Timeout};

use crate::caught::Guarded;
use crate::settings::{Settings, SharedPolicy};
use crate::{Breaker, MAX_ATTEMPTS, MAX_IN_FLIGHT};

/// What calls may do and how servers are chosen. The defaults are brpc's: timeout 500 ms, 3 retries, backups off.
pub struct Setup {
    /// All of the core's options.
    pub options: ChannelOptions,
    /// How long one attempt may take (L21).
    pub attempt_timeout: Timeout,
    /// What backups and retries are limited to.
    pub limits: LimitOptions,
    /// Who decides on them beside the limits.
    pub policy: Option<SharedPolicy>,
    /// How a server is chosen: a name and its parameters.
    pub balancer: Option<Box<str>>,
    /// What isolates servers that fail too much.
    pub breaker: Option<BreakerOptions>,
    /// How many of the servers it may isolate.
    pub isolation_limit: IsolationLimit,
    /// How calls are let in after all servers were down.
    pub recovery: Option<RecoveryOptions>,
    /// Where all chance comes from; `None` is unpredictable.
    pub seed: Option<u64>,
}

impl Setup {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            options: ChannelOptions::brpc(),
            attempt_timeout: Timeout::Never,
            limits: LimitOptions::SAFE,
            policy: None,
            balancer: None,
            breaker: None,
            isolation_limit: IsolationLimit::DEFAULT,
            recovery: None,
            seed: None,
        }
    }

    /// What settings that are valid and contradict each other or do nothing go by; a host adds what it knows of its servers.
    /// The policy is asked for its delay once.
    #[must_use]
    pub fn to_warn_of(&self) -> config::Setup<'_> {
        config::Setup {
            attempt_timeout: self.attempt_timeout,
            policy_delay: self.policy.as_ref().and_then(|policy| Guarded(&**policy).delay(Instant::ZERO)),
            breaker: self.breaker.is_some(),
            isolation_limit: self.isolation_limit,
            balancer: self.balancer.as_ref().and_then(|name| name.parse().ok()),
            ..config::Setup::new(&self.options, &self.limits)
        }
    }

    /// Whether calls of [`MAX_ATTEMPTS`] attempts, of which [`MAX_IN_FLIGHT`] are in flight at once, can have these options.
    ///
    /// # Errors
    /// What cannot be carried out.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.options.validate(MAX_ATTEMPTS)?;
        if self.attempt_timeout == Timeout::After(Duration::ZERO) {
            return Err(ConfigError::NoTime { field: "attempt_timeout" });
        }
        let max_backups = self.options.max_backups;
        if usize::from(max_backups) >= MAX_IN_FLIGHT {
            return Err(ConfigError::TooManyInFlight { max_backups, slots: MAX_IN_FLIGHT });
        }
        Ok(())
    }

    /// The seed, or one that nobody can foresee: std's own hasher keys are the operating system's randomness, so that a
    /// dependency less is needed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| RandomState::new().hash_one(()))
    }

    /// The health of servers that nothing is known of yet.
    ///
    /// # Errors
    /// Options of the breaker, its limit or the recovery that cannot be.
    pub fn health(&self) -> Result<Health<Breaker>, HealthError> {
        let breaker = self.breaker.map_or(Ok(AnyBreaker::None), AnyBreaker::new)?;
        Health::new(Recovering::new(breaker, self.recovery)?, self.isolation_limit)
    }

    /// What all calls share.
    ///
    /// # Errors
    /// What cannot be carried out.
    pub fn into_settings(self, seed: u64) -> Result<Settings, ConfigError> {
        self.check()?;
        Settings::new(self.options, self.attempt_timeout, self.limits, self.policy, seed)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("options", &self.options)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("limits", &self.limits)
            .field("balancer", &self.balancer)
            .field("breaker", &self.breaker)
            .field("isolation_limit", &self.isolation_limit)
            .field("recovery", &self.recovery)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The setters that all builders have; for an `impl` of a builder whose field `setup` is a [`Setup`], in a module that has an
/// error named `BuildError` with the variants `Options`, `Balancer` and `Health`. `config` is there with the builder's own crate's
/// feature `serde`, which has to turn on the core's.
#[macro_export]
macro_rules! setters {
    () => {
        /// All of the core's options at once; setters that follow change single ones. Default: brpc's.
        pub fn options(mut self, options: $crate::hedge_core::policy::ChannelOptions) -> Self {
            self.setup.options = options;
            self
        }

        /// What a file says: all options and all limits, whatever was set before; setters that follow change single ones.
        /// Everything else stays as it is: a file does not speak of servers, balancer, policies and health.
        ///
        /// What cannot be carried out is [`BuildError::Options`], which names it: a timeout of 0, a `max_retry` above 7, a
        /// `max_backups` above 4, a backoff whose bounds contradict each other, a limit's option that is out of its range.
        #[cfg(feature = "serde")]
        pub fn config(mut self, config: &$crate::hedge_core::config::ChannelConfig) -> Self {
            self.setup.options = config.options();
            self.setup.attempt_timeout = config.attempt_timeout();
            self.setup.limits = config.limits();
            self
        }

        /// From a call's start to its end, retries and backups included. Default 500 ms; 0 is [`BuildError::Options`].
        pub fn timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.options.timeout = $crate::hedge_core::time::Timeout::After(timeout.into());
            self
        }

        /// How long one attempt may take, from its start to its result (L21). An attempt that takes as long is dropped, counts
        /// as a failure of its server, and is retried at another server if the call may still retry. A call that may not be
        /// sent twice ends with it. Default: as long as the call; 0 is [`BuildError::Options`].
        pub fn attempt_timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.attempt_timeout = $crate::hedge_core::time::Timeout::After(timeout.into());
            self
        }

        /// How many attempts may follow the first, retries and backups together. Default 3; 0 disables both; more than 7 is
        /// [`BuildError::Options`].
        pub fn max_retry(mut self, attempts: u8) -> Self {
            self.setup.options.max_retry = attempts;
            self
        }

        /// Sends a backup after `delay` without an answer, to another server where there is one. Default: none is sent.
        pub fn backup(mut self, delay: ::std::time::Duration) -> Self {
            self.setup.options.backup = $crate::hedge_core::policy::BackupDelay::After(delay.into());
            self
        }

        /// How many backups a call may send, each a delay after the last. Default 1; 0 disables them; more than 4 is
        /// [`BuildError::Options`].
        pub fn max_backups(mut self, backups: u8) -> Self {
            self.setup.options.max_backups = backups;
            self
        }

        /// Whether requests may be sent twice of which nothing else tells that. Default `Unset`: they may.
        pub fn idempotency(mut self, idempotency: $crate::hedge_core::policy::Idempotency) -> Self {
            self.setup.options.idempotency = idempotency;
            self
        }

        /// What backups and retries are limited to (B3 to B6). Default:
        /// [`LimitOptions::SAFE`](hedge_core::limit::LimitOptions::SAFE), backups for at most a tenth of the calls, and a
        /// budget for retries and backups (B8). [`LimitOptions::NONE`](hedge_core::limit::LimitOptions::NONE) is no limit:
        /// when every server is slow, each of them is sent everything twice.
        pub fn limits(mut self, limits: $crate::hedge_core::limit::LimitOptions) -> Self {
            self.setup.limits = limits;
            self
        }

        /// Who decides on backups and retries beside the limits, gives the delay, and hears of every call's end, dropped calls
        /// included (B2). Default: nothing else refuses.
        ///
        /// A policy that is kept at hand too can be asked what it has seen: an
        /// [`AdaptiveDelay`](hedge_core::policy::AdaptiveDelay), whose delay follows the latencies, or a
        /// [`Shadow`](hedge_core::policy::Shadow), which sends no backup and counts what some would do.
        pub fn backup_policy(
            mut self,
            policy: ::std::sync::Arc<dyn $crate::hedge_core::policy::BackupPolicy + Send + Sync>,
        ) -> Self {
            self.setup.policy = Some(policy);
            self
        }

        /// How a server is chosen (S1):
        ///
        /// | name | chooses | parameters |
        /// |---|---|---|
        /// | `rr` | one after the other | |
        /// | `wrr` | the same, by weights | `default_weight` |
        /// | `random` | by chance | |
        /// | `wr` | by chance and weights | `default_weight` |
        /// | `la` | by throughput over latency | |
        /// | `p2c` | the less loaded and faster of some | `choices`, `tau_ms` |
        /// | `prequal` | by probes; `p2c` where there are none | |
        /// | `c_murmurhash`, `c_md5`, `c_ketama` | by the call's request code | `replicas` |
        ///
        /// Parameters follow the name: `p2c:choices=4 tau_ms=5000`. `p2c` and `la` learn from how every attempt ended. Where
        /// servers differ or may fail, begin with `p2c`: `la` favours the quickest so much that in the end the others have next
        /// to nothing. A name or parameter that is not known is [`BuildError::Balancer`].
        pub fn load_balancer(mut self, name: &str) -> Self {
            self.setup.balancer = Some(name.into());
            self
        }

        /// Isolates servers that fail too much, and probes them when their isolation is over (H2). Default: none does, as in
        /// brpc. Abandoned attempts count for nothing (L13). Options out of their ranges are [`BuildError::Health`].
        pub fn circuit_breaker(mut self, options: $crate::hedge_core::health::BreakerOptions) -> Self {
            self.setup.breaker = Some(options);
            self
        }

        /// How many servers the circuit breaker may isolate at a time (H4). Default: half of them. Servers whose connections
        /// broke do not count.
        pub fn isolation_limit(mut self, limit: $crate::hedge_core::health::IsolationLimit) -> Self {
            self.setup.isolation_limit = limit;
            self
        }

        /// After all servers were down, lets calls in by how many are back (H3); the others end as if all were down still.
        /// Default: every call is let in as soon as one server is back.
        pub fn recovery(mut self, options: $crate::hedge_core::health::RecoveryOptions) -> Self {
            self.setup.recovery = Some(options);
            self
        }

        /// Where all chance comes from. Default: unpredictable.
        pub fn seed(mut self, seed: u64) -> Self {
            self.setup.seed = Some(seed);
            self
        }
    };
}

//! The settings that all builders have, [`Setup`], and the methods that set them, [`setters!`](crate::setters!).

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hedge_core::config::{self, ServerLimits};
use hedge_core::health::{AnyBreaker, BreakerOptions, Health, IsolationLimit, Recovering, RecoveryOptions};
use hedge_core::limit::LimitOptions;
use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy as _, ChannelOptions, ConfigError};
use hedge_core::time::{Instant, Timeout};

use crate::Breaker;
use crate::caught::Guarded;
use crate::end::OnEnd;
use crate::observer::Observers;
use crate::replace::{self, ReplaceableOptions};
use crate::settings::{Settings, SharedPolicy};

/// The settings that all builders have: the options of calls, the limits, the balancer, and the health of servers. The
/// defaults are the same as in brpc: a timeout of 500 ms, 3 retries, no backups.
pub struct Setup {
    /// The options that calls inherit, such as the timeout, the number of retries and the backup delay.
    pub options: ChannelOptions,
    /// How long one attempt may take ([L21](hedge_core::rules#L21)).
    pub attempt_timeout: Timeout,
    /// The limits of backups and retries.
    pub limits: LimitOptions,
    /// The limits of a single server: the attempts in flight and the queue ([L22](hedge_core::rules#L22)), and the slow
    /// start ([S11](hedge_core::rules#S11)).
    pub server_limits: ServerLimits,
    /// The program's own backup policy. The limits apply in addition.
    pub policy: Option<SharedPolicy>,
    /// A backup delay that follows the measured latencies. It is used only if `policy` is `None`.
    pub adaptive: Option<AdaptiveOptions>,
    /// A function of the program that is called at the end of each call, but not for a dropped call.
    pub on_end: Option<OnEnd>,
    /// The observers of calls and servers.
    pub observers: Observers,
    /// The name and the parameters of the balancer. `None` means the default of the builder.
    pub balancer: Option<Box<str>>,
    /// The circuit breaker ([H2](hedge_core::rules#H2)). `None` means that failures isolate no server.
    pub breaker: Option<BreakerOptions>,
    /// How many servers the circuit breaker may isolate.
    pub isolation_limit: IsolationLimit,
    /// How calls are admitted after all servers were down ([H3](hedge_core::rules#H3)). `None` means that all calls are
    /// admitted as soon as one server is usable.
    pub recovery: Option<RecoveryOptions>,
    /// The seed of all random numbers. `None` means a seed that cannot be predicted.
    pub seed: Option<u64>,
}

impl Setup {
    /// Makes the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            options: ChannelOptions::brpc(),
            attempt_timeout: Timeout::NEVER,
            limits: LimitOptions::SAFE,
            server_limits: ServerLimits::NONE,
            policy: None,
            adaptive: None,
            on_end: None,
            observers: Observers::none(),
            balancer: None,
            breaker: None,
            isolation_limit: IsolationLimit::DEFAULT,
            recovery: None,
            seed: None,
        }
    }

    /// Returns the input from which the warnings about settings are computed. There is a warning if valid settings
    /// contradict each other or have no effect. A host adds what it knows about its servers. This method asks the
    /// policy for its delay once.
    #[must_use]
    pub fn warning_input(&self) -> config::Setup<'_> {
        let policy_delay = match &self.policy {
            Some(policy) => Guarded(&**policy).delay(Instant::ZERO),
            // An adaptive delay is unknown until the first calls have ended.
            None => self.adaptive.map(|_| BackupDelay::OFF),
        };
        config::Setup {
            attempt_timeout: self.attempt_timeout,
            server_limits: self.server_limits,
            policy_delay,
            breaker: self.breaker.is_some(),
            isolation_limit: self.isolation_limit,
            balancer: self.balancer.as_ref().and_then(|name| name.parse().ok()),
            ..config::Setup::new(&self.options, &self.limits)
        }
    }

    /// Checks whether calls can have these options. A call has at most [`MAX_ATTEMPTS`](crate::MAX_ATTEMPTS) attempts,
    /// and at most [`MAX_IN_FLIGHT`](crate::MAX_IN_FLIGHT) of them are in flight at once.
    ///
    /// # Errors
    /// Returns an error for the first option that is invalid.
    pub fn check(&self) -> Result<(), ConfigError> {
        replace::check(&self.options, self.attempt_timeout)?;
        self.server_limits.validate()
    }

    /// Makes the policy of the adaptive delay. Does nothing if no adaptive delay is asked for, or if the program has
    /// its own policy.
    pub fn make_adaptive(&mut self) {
        if let (None, Some(options)) = (&self.policy, self.adaptive) {
            self.policy = Some(Arc::new(AdaptiveDelay::new(options)));
        }
    }

    /// Returns the seed that was set, or a seed that cannot be predicted. The latter is made from the keys of std's
    /// hasher. These keys are random numbers of the operating system, so no further dependency is needed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| RandomState::new().hash_one(()))
    }

    /// Makes the health of a new list. Nothing is known about its servers yet.
    #[must_use]
    pub fn health(&self) -> Health<Breaker> {
        let breaker = self.breaker.map_or(AnyBreaker::None, AnyBreaker::new);
        Health::new(Recovering::new(breaker, self.recovery), self.isolation_limit)
    }

    /// Makes the settings that all calls share.
    ///
    /// # Errors
    /// Returns an error for the first option that is invalid.
    pub fn into_settings(self, seed: u64) -> Result<Settings, ConfigError> {
        self.check()?;
        let balancer = self.balancer.as_ref().and_then(|name| name.parse().ok());
        let options = ReplaceableOptions {
            channel: self.options,
            attempt_timeout: self.attempt_timeout,
            limits: self.limits,
            breaker: self.breaker,
            isolation_limit: self.isolation_limit,
            recovery: self.recovery,
        };
        Settings::new(options, self.policy, self.on_end, self.observers, balancer, seed)
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
            .field("server_limits", &self.server_limits)
            .field("balancer", &self.balancer)
            .field("breaker", &self.breaker)
            .field("isolation_limit", &self.isolation_limit)
            .field("recovery", &self.recovery)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Defines the setters that all builders have. Use this macro in the `impl` of a builder whose field `setup` is a
/// [`Setup`]. The module of the builder needs an error type named `BuildError` with the variants `Options` and
/// `Balancer`. The setter `config` has further requirements:
///
/// - The crate that uses the macro must have a feature `serde`, and this feature must turn on `serde` of the core and
///   of hedge-fleet.
/// - The builder must have a method `applied(self, &ChannelConfig) -> Self`, which applies the rest of a file.
#[macro_export]
macro_rules! setters {
    () => {
        /// Replaces all options that calls inherit. Setters that are called after this one change single options.
        /// Default: the options of brpc.
        pub fn options(mut self, options: $crate::hedge_core::policy::ChannelOptions) -> Self {
            self.setup.options = options;
            self
        }

        /// Applies a configuration file. All options of calls and all limits are replaced. If the file does not name
        /// one of them, its value is that of the file's preset, not the value that was set before. Every other setting,
        /// such as the servers, the balancer or the circuit breaker, is replaced only if the file names it. Setters
        /// that are called after this one change single settings.
        ///
        /// The values of the file are checked when the builder builds, in the same way as the values of setters, with
        /// the same errors and warnings. An option that cannot be used gives [`BuildError::Options`].
        #[cfg(feature = "serde")]
        pub fn config(mut self, config: &$crate::hedge_core::config::ChannelConfig) -> Self {
            self.setup.apply(config);
            self.applied(config)
        }

        /// Sets how long a call may take from its start to its end, including retries and backups. Default: 500 ms. The
        /// value 0 gives [`BuildError::Options`].
        pub fn timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.options.timeout = $crate::hedge_core::time::Timeout::after(timeout);
            self
        }

        /// Sets how long one attempt may take, from its start to its result ([L21](hedge_core::rules#L21)). An attempt
        /// that reaches this limit is dropped and counts as a failure of its server. Then another server is tried, if
        /// the call may still retry. If the request may not be sent twice, the call ends together with the attempt.
        /// Default: as long as the call. The value 0 gives [`BuildError::Options`].
        pub fn attempt_timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.attempt_timeout = $crate::hedge_core::time::Timeout::after(timeout);
            self
        }

        /// Sets how many attempts may follow the first one; retries and backups both count. Default: 3. The value 0
        /// disables retries and backups. A value above 7 gives [`BuildError::Options`].
        pub fn max_retry(mut self, attempts: u8) -> Self {
            self.setup.options.max_retry = attempts;
            self
        }

        /// Sends a backup if no answer has come after `delay`. The backup goes to another server, if there is one.
        /// Default: no backup is sent.
        pub fn backup(mut self, delay: ::std::time::Duration) -> Self {
            self.setup.options.backup = $crate::hedge_core::policy::BackupDelay::after(delay);
            self
        }

        /// Sets how many backups a call may send. Each further backup is sent one backup delay after the previous one.
        /// Default: 1. The value 0 disables backups. A value above 4 gives [`BuildError::Options`].
        pub fn max_backups(mut self, backups: u8) -> Self {
            self.setup.options.max_backups = backups;
            self
        }

        /// Sets whether a request may be sent twice. This applies if neither the call's options nor the transport
        /// decide ([L15](hedge_core::rules#L15)). Default: `Unset`, which means that the request may be sent twice.
        pub fn idempotency(mut self, idempotency: $crate::hedge_core::policy::Idempotency) -> Self {
            self.setup.options.idempotency = idempotency;
            self
        }

        /// Sets the limits on backups and retries ([B3](hedge_core::rules#B3) to [B6](hedge_core::rules#B6)). Default:
        /// [`LimitOptions::SAFE`](hedge_core::limit::LimitOptions::SAFE). It allows backups for at most a tenth of the
        /// calls, and has a budget for retries and backups together ([B8](hedge_core::rules#B8)).
        /// [`LimitOptions::NONE`](hedge_core::limit::LimitOptions::NONE) means no limit: if every server is slow, every
        /// request is then sent twice.
        pub fn limits(mut self, limits: $crate::hedge_core::limit::LimitOptions) -> Self {
            self.setup.limits = limits;
            self
        }

        /// Sets how many attempts may be in flight at one server ([L22](hedge_core::rules#L22)). A server with this
        /// number of attempts is full. It gets no further attempt of any kind, even if many threads make calls at the
        /// same time. If every usable server is full, a call either ends with an error that says this, or waits
        /// ([`max_queued_calls`](Self::max_queued_calls)). A full server is not down: its health does not change.
        /// Default: any number. The value 0 gives [`BuildError::Options`].
        ///
        /// Each channel in each process counts only its own attempts. An attempt at a server that the call itself named
        /// ([S8](hedge_core::rules#S8)) counts if the server is in the list. An attempt whose reply streams counts
        /// until the body ends or is dropped. Health checks and probes do not count.
        ///
        /// Cost: the start of each attempt takes a compare-and-swap instead of an addition. A search for a server also
        /// reads the count of each server that it considers.
        pub fn max_in_flight_per_server(mut self, attempts: u32) -> Self {
            self.setup.server_limits.max_in_flight_per_server = Some(attempts);
            self
        }

        /// Sets how many calls may wait in a queue while every usable server is full ([L22](hedge_core::rules#L22)).
        /// The calls start in the order in which they came, as soon as a server has room. Each time a server gets room,
        /// one call is woken. The wait counts against the timeout of the call. The backup delay begins with the first
        /// attempt, not with the wait. When the queue is full, a further call ends at once with the same error as
        /// without a queue. Calls that name their own servers ([S8](hedge_core::rules#S8)), retries and backups do not
        /// wait in the queue. Default: 0, which means that no call waits.
        ///
        /// Cost: a call that waits takes a lock each time it joins, polls or leaves the queue, and it needs about 100
        /// bytes of memory.
        pub fn max_queued_calls(mut self, calls: u32) -> Self {
            self.setup.server_limits.max_queued_calls = calls;
            self
        }

        /// Sets how long a call may wait for a server with room ([`max_queued_calls`](Self::max_queued_calls)). After
        /// that, the call ends with the same error as without a queue. Default: as long as the call may take. The value
        /// 0 gives [`BuildError::Options`].
        pub fn max_queue_wait(mut self, wait: ::std::time::Duration) -> Self {
            self.setup.server_limits.max_queue_wait = $crate::hedge_core::time::Timeout::after(wait);
            self
        }

        /// Sets how long it takes until a server that is new in the list, or usable again, gets its full share of the
        /// calls ([S11](hedge_core::rules#S11)). The share of the server grows linearly from a tenth. So its caches,
        /// connection pools and just-in-time compilers can warm up. Servers of the first list begin with their full
        /// share. Default: the full share at once. The value 0 gives [`BuildError::Options`].
        ///
        /// A server is usable again in three cases: a probe after its isolation has succeeded
        /// ([H2](hedge_core::rules#H2)), a check or a call has found that its broken connection works again
        /// ([H1](hedge_core::rules#H1), [H5](hedge_core::rules#H5)), or the program has put the withdrawn server back.
        /// Under consistent hashing, the calls of a request code move to the server gradually. The calls that have not
        /// moved yet go to the next server of the ring. Under `wrr` the share begins at about a quarter instead of a
        /// tenth, since `wrr` soon comes back to a server that was skipped.
        ///
        /// Cost: while no server's share is growing, a search for a server reads one more number.
        pub fn slow_start(mut self, window: ::std::time::Duration) -> Self {
            self.setup.server_limits.slow_start = Some(window);
            self
        }

        /// Sets a backup policy of the program. The policy gives the backup delay. It may refuse backups and retries
        /// that the limits allow. It is notified of the end of every call, including dropped calls
        /// ([B2](hedge_core::rules#B2)). Default: no policy, so only the limits can refuse a backup or a retry.
        ///
        /// To read the measurements of the policy, keep an `Arc` of it. An
        /// [`AdaptiveDelay`](hedge_core::policy::AdaptiveDelay) has a delay that follows the latencies. A
        /// [`Shadow`](hedge_core::policy::Shadow) sends no backup and counts what backups would have done.
        pub fn backup_policy(
            mut self,
            policy: ::std::sync::Arc<dyn $crate::hedge_core::policy::BackupPolicy + Send + Sync>,
        ) -> Self {
            self.setup.policy = Some(policy);
            self
        }

        /// Sends a backup after a delay that follows the latencies of attempts ([B7](hedge_core::rules#B7)). This delay
        /// replaces the [policy](Self::backup_policy) and the fixed [delay](Self::backup). Default: no such delay. If a
        /// program wants to read the delay, it makes an [`AdaptiveDelay`](hedge_core::policy::AdaptiveDelay) itself and
        /// sets it as its policy.
        pub fn adaptive_backup(mut self, options: $crate::hedge_core::policy::AdaptiveOptions) -> Self {
            (self.setup.policy, self.setup.adaptive) = (None, Some(options));
            self
        }

        /// Calls `on_end` at the end of every call, before the caller gets the reply or the error. `on_end` gets the
        /// report, and the servers that the call tried. Default: nothing is called.
        ///
        /// `on_end` is not called for a dropped call; a [`backup_policy`](Self::backup_policy) is notified of dropped
        /// calls too. `on_end` is also not called for a call that is rejected because its options are invalid. For a
        /// call whose reply streams, `on_end` is called when the head of the reply has arrived. A panic of `on_end`
        /// changes neither the reply nor any count.
        ///
        /// `on_end` runs within the future of the call, on the thread that polls this future. So `on_end` should not
        /// block.
        pub fn on_end(mut self, on_end: impl Fn(&$crate::CallEnd<'_>) + Send + Sync + 'static) -> Self {
            self.setup.on_end = Some(::std::boxed::Box::new(on_end));
            self
        }

        /// Adds an observer, which is notified of the start and the end of each call and attempt, and of changes of
        /// servers. See [`Observer`](hedge_fleet::Observer). To add several observers, call this method several times.
        /// The observers are notified in the order in which they were added. Default: no observer.
        pub fn observer(mut self, observer: ::std::sync::Arc<dyn $crate::Observer>) -> Self {
            self.setup.observers.add(observer);
            self
        }

        /// Sets the balancer, which chooses servers ([S1](hedge_core::rules#S1)):
        ///
        /// | name | chooses | parameters |
        /// |---|---|---|
        /// | `rr` | the servers in turn | |
        /// | `wrr` | the servers in turn, by weight | `default_weight` |
        /// | `random` | at random, all with the same chance | |
        /// | `wr` | at random, by weight | `default_weight` |
        /// | `la` | in proportion to throughput / latency | |
        /// | `p2c` | among some random servers, the one with the least latency × load | `choices`, `tau_ms` |
        /// | `prequal` | by the load that probes report; if there are no probes, like `p2c` | |
        /// | `c_murmurhash`, `c_md5`, `c_ketama` | by the call's request code | `replicas` |
        ///
        /// Parameters follow the name: `p2c:choices=4 tau_ms=5000`. `p2c` and `la` learn from the result of every
        /// attempt. If servers differ or may fail, begin with `p2c`, not with `la`. `la` reacts more slowly if there are
        /// few calls, since it computes throughput from the last 128 answers of each server. An unknown name or
        /// parameter gives [`BuildError::Balancer`].
        pub fn load_balancer(mut self, name: &str) -> Self {
            self.setup.balancer = Some(name.into());
            self
        }

        /// Isolates servers that fail too often, and probes them when their isolation is over
        /// ([H2](hedge_core::rules#H2)). Default: no circuit breaker, as in brpc. Abandoned attempts are neither
        /// successes nor failures ([L13](hedge_core::rules#L13)).
        pub fn circuit_breaker(mut self, options: $crate::hedge_core::health::BreakerOptions) -> Self {
            self.setup.breaker = Some(options);
            self
        }

        /// Sets how many servers the circuit breaker may isolate at the same time ([H4](hedge_core::rules#H4)). Servers
        /// whose connections are broken do not count. Default: half of the servers.
        pub fn isolation_limit(mut self, limit: $crate::hedge_core::health::IsolationLimit) -> Self {
            self.setup.isolation_limit = limit;
            self
        }

        /// Sets the recovery after all servers were down. It admits a share of the calls that grows with the number of
        /// servers that are usable again ([H3](hedge_core::rules#H3)). A call that is not admitted ends as if all
        /// servers were still down. Default: all calls are admitted as soon as one server is usable.
        pub fn recovery(mut self, options: $crate::hedge_core::health::RecoveryOptions) -> Self {
            self.setup.recovery = Some(options);
            self
        }

        /// Sets the seed of all random numbers. Default: a seed that cannot be predicted.
        pub fn seed(mut self, seed: u64) -> Self {
            self.setup.seed = Some(seed);
            self
        }
    };
}

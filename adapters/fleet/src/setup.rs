//! What every builder sets: [`Setup`], and [`setters!`](crate::setters!), the setters that all builders have.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hedge_core::config::{self, ServerLimits};
use hedge_core::health::{
    AnyBreaker, BreakerOptions, Health, HealthError, IsolationLimit, Recovering, RecoveryOptions,
};
use hedge_core::limit::LimitOptions;
use hedge_core::policy::{
    AdaptiveDelay, AdaptiveError, AdaptiveOptions, BackupDelay, BackupPolicy as _, ChannelOptions, ConfigError,
};
use hedge_core::time::{Instant, Timeout};

use crate::Breaker;
use crate::caught::Guarded;
use crate::end::OnEnd;
use crate::observer::Observers;
use crate::replace::{self, ReplaceableOptions};
use crate::settings::{Settings, SharedPolicy};

/// What calls may do, and how servers are chosen. The defaults are brpc's: a timeout of 500 ms, 3 retries, no backups.
pub struct Setup {
    /// All of the core's options.
    pub options: ChannelOptions,
    /// How long one attempt may take ([L21](hedge_core::rules#L21)).
    pub attempt_timeout: Timeout,
    /// The limits of backups and retries.
    pub limits: LimitOptions,
    /// How much a single server gets ([L22](hedge_core::rules#L22), [S11](hedge_core::rules#S11)).
    pub server_limits: ServerLimits,
    /// The program's own backup policy. The limits apply as well.
    pub policy: Option<SharedPolicy>,
    /// A delay that follows the latencies. It is used if there is no policy.
    pub adaptive: Option<AdaptiveOptions>,
    /// The function that the program wants to be called at the end of each call.
    pub on_end: Option<OnEnd>,
    /// All that is told what happens.
    pub observers: Observers,
    /// The balancer: its name and its parameters.
    pub balancer: Option<Box<str>>,
    /// The circuit breaker. `None`: there is none.
    pub breaker: Option<BreakerOptions>,
    /// How many servers the circuit breaker may isolate.
    pub isolation_limit: IsolationLimit,
    /// How calls are admitted after all servers were down ([H3](hedge_core::rules#H3)).
    pub recovery: Option<RecoveryOptions>,
    /// The seed of all random numbers. `None`: an unpredictable seed.
    pub seed: Option<u64>,
}

impl Setup {
    /// The defaults.
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

    /// The input of the warnings about settings that are valid but contradict each other or have no effect. A host adds
    /// what it knows about its servers. This asks the policy for its delay once.
    #[must_use]
    pub fn warning_input(&self) -> config::Setup<'_> {
        let policy_delay = match &self.policy {
            Some(policy) => Guarded(&**policy).delay(Instant::ZERO),
            // An adaptive delay is not known before there were calls.
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

    /// Checks whether calls can have these options, with at most [`MAX_ATTEMPTS`](crate::MAX_ATTEMPTS) attempts, of which
    /// [`MAX_IN_FLIGHT`](crate::MAX_IN_FLIGHT) are in flight at once.
    ///
    /// # Errors
    /// The first option that cannot be carried out.
    pub fn check(&self) -> Result<(), ConfigError> {
        replace::check(&self.options, self.attempt_timeout)?;
        self.server_limits.validate()
    }

    /// Makes the policy of the adaptive delay, if one is asked for and the program brings no policy of its own.
    ///
    /// # Errors
    /// An option of the delay that is out of its range.
    pub fn make_adaptive(&mut self) -> Result<(), AdaptiveError> {
        if let (None, Some(options)) = (&self.policy, self.adaptive) {
            self.policy = Some(Arc::new(AdaptiveDelay::new(options)?));
        }
        Ok(())
    }

    /// The seed that was set, or an unpredictable one. That one comes from the keys of std's hasher, which are random
    /// numbers of the operating system. So no further dependency is needed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| RandomState::new().hash_one(()))
    }

    /// The health of a new list, about whose servers nothing is known yet.
    ///
    /// # Errors
    /// An invalid option of the breaker, of the isolation limit or of the recovery.
    pub fn health(&self) -> Result<Health<Breaker>, HealthError> {
        let breaker = self.breaker.map_or(Ok(AnyBreaker::None), AnyBreaker::new)?;
        Health::new(Recovering::new(breaker, self.recovery)?, self.isolation_limit)
    }

    /// The settings that all calls share.
    ///
    /// # Errors
    /// The first option that cannot be carried out.
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

/// The setters that all builders have. Use it in the `impl` of a builder whose field `setup` is a [`Setup`]. The module
/// needs an error type named `BuildError` with the variants `Options`, `Balancer`, `Health` and `Adaptive`. The setter
/// `config` needs the feature `serde` of the crate that uses the macro, and that feature must turn on `serde` of the core
/// and of hedge-fleet. It also needs a method `applied(self, &ChannelConfig) -> Self`, which takes over the rest of a file.
#[macro_export]
macro_rules! setters {
    () => {
        /// Sets all of the core's options at once. Setters that are called later change single options. Default:
        /// brpc's.
        pub fn options(mut self, options: $crate::hedge_core::policy::ChannelOptions) -> Self {
            self.setup.options = options;
            self
        }

        /// Sets everything that a file says. Options and limits are those of the file, whatever was set before. The rest
        /// of the file replaces what it names, such as the servers, the balancer or the circuit breaker; what it does not
        /// name stays as it is. Setters that are called later change single settings.
        ///
        /// The file's values are checked when this is built, as those of the setters are, with the same errors and the
        /// same warnings: an option that cannot be carried out is [`BuildError::Options`], one of health is
        /// [`BuildError::Health`], one of the adaptive delay [`BuildError::Adaptive`].
        #[cfg(feature = "serde")]
        pub fn config(mut self, config: &$crate::hedge_core::config::ChannelConfig) -> Self {
            self.setup.apply(config);
            self.applied(config)
        }

        /// How long a call may take from its start to its end, retries and backups included. Default: 500 ms. 0 is
        /// [`BuildError::Options`].
        pub fn timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.options.timeout = $crate::hedge_core::time::Timeout::after(timeout);
            self
        }

        /// How long one attempt may take, from its start to its result ([L21](hedge_core::rules#L21)). An attempt that
        /// reaches this limit is dropped and counts as a failure of its server. It is retried at another server if the
        /// call may still retry. A call whose request may not be sent twice ends with the attempt. Default: as long as
        /// the call. 0 is [`BuildError::Options`].
        pub fn attempt_timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.attempt_timeout = $crate::hedge_core::time::Timeout::after(timeout);
            self
        }

        /// How many attempts may follow the first, retries and backups together. Default: 3. 0 disables both. More than
        /// 7 is [`BuildError::Options`].
        pub fn max_retry(mut self, attempts: u8) -> Self {
            self.setup.options.max_retry = attempts;
            self
        }

        /// Sends a backup if no answer has come after `delay`. It goes to another server if there is one. Default: no
        /// backup is sent.
        pub fn backup(mut self, delay: ::std::time::Duration) -> Self {
            self.setup.options.backup = $crate::hedge_core::policy::BackupDelay::after(delay);
            self
        }

        /// How many backups a call may send, each one delay after the one before. Default: 1. 0 disables them. More
        /// than 4 is [`BuildError::Options`].
        pub fn max_backups(mut self, backups: u8) -> Self {
            self.setup.options.max_backups = backups;
            self
        }

        /// Whether a request may be sent twice if neither the call nor its transport says so
        /// ([L15](hedge_core::rules#L15)). Default: `Unset`, which means that it may.
        pub fn idempotency(mut self, idempotency: $crate::hedge_core::policy::Idempotency) -> Self {
            self.setup.options.idempotency = idempotency;
            self
        }

        /// The limits of backups and retries ([B3](hedge_core::rules#B3) to [B6](hedge_core::rules#B6)). Default:
        /// [`LimitOptions::SAFE`](hedge_core::limit::LimitOptions::SAFE), which allows backups for at most a tenth of
        /// the calls, and has a budget for retries and backups together ([B8](hedge_core::rules#B8)).
        /// [`LimitOptions::NONE`](hedge_core::limit::LimitOptions::NONE) sets no limit: when every server is slow,
        /// every request is sent twice.
        pub fn limits(mut self, limits: $crate::hedge_core::limit::LimitOptions) -> Self {
            self.setup.limits = limits;
            self
        }

        /// How many attempts may be in flight at one server ([L22](hedge_core::rules#L22)). A server with so many is
        /// full and gets no further attempt of any kind, however many threads make calls. If every usable server is
        /// full, a call ends with the error that says so, or waits ([`max_queued_calls`](Self::max_queued_calls)). A
        /// full server is not down: this says nothing about its health. Default: any number. 0 is
        /// [`BuildError::Options`].
        ///
        /// Each channel and each process counts its own attempts. A server that a call names itself
        /// ([S8](hedge_core::rules#S8)) counts too if it is in the list. A reply whose body streams counts until its
        /// body ends or is dropped. Health checks and probes do not count.
        ///
        /// Cost: one compare-and-swap in place of an addition at the start of each attempt, and a pick reads the count of
        /// each server that it looks at.
        pub fn max_in_flight_per_server(mut self, attempts: u32) -> Self {
            self.setup.server_limits.max_in_flight_per_server = Some(attempts);
            self
        }

        /// How many calls may wait while every usable server is full ([L22](hedge_core::rules#L22)). They start in the
        /// order in which they came, as soon as a server has room, and each freed place wakes one of them. The wait
        /// counts against the timeout of the call. A backup is due its delay after the first start, not after the wait
        /// began. When the queue is full, a further call ends at once with the same error as without a queue. Calls
        /// that name their own servers ([S8](hedge_core::rules#S8)), retries and backups do not wait here. Default: 0,
        /// so no call waits.
        ///
        /// Cost: a call that waits takes a lock at each step, and about 100 bytes.
        pub fn max_queued_calls(mut self, calls: u32) -> Self {
            self.setup.server_limits.max_queued_calls = calls;
            self
        }

        /// How long a call may wait for a server with room ([`max_queued_calls`](Self::max_queued_calls)). Then it ends with
        /// the same error as without a queue. Default: as long as the call may take. 0 is [`BuildError::Options`].
        pub fn max_queue_wait(mut self, wait: ::std::time::Duration) -> Self {
            self.setup.server_limits.max_queue_wait = $crate::hedge_core::time::Timeout::after(wait);
            self
        }

        /// How long it takes until a server that has come or returned gets its full share of the calls
        /// ([S11](hedge_core::rules#S11)). Its share grows linearly from a tenth, so that its caches, pools and
        /// compilers can warm up. Servers of the first list begin with their full share. Default: the full share at
        /// once. 0 is [`BuildError::Options`].
        ///
        /// Servers return when their breaker has let a probe succeed ([H2](hedge_core::rules#H2)), when a check or a
        /// call finds that their broken connection works again ([H1](hedge_core::rules#H1),
        /// [H5](hedge_core::rules#H5)), and when they were withdrawn by hand and are put back. Under consistent
        /// hashing, the calls of a request code move to such a server gradually, and go to the next server of the ring
        /// meanwhile. Under `wrr` the share begins at about a quarter, since `wrr` reaches a server that was passed
        /// over again sooner.
        ///
        /// Cost: while no server is ramping, a pick reads one number more.
        pub fn slow_start(mut self, window: ::std::time::Duration) -> Self {
            self.setup.server_limits.slow_start = Some(window);
            self
        }

        /// A policy of the program: it gives the backup delay, may refuse backups and retries that the limits allow,
        /// and is told of the end of every call, dropped calls included ([B2](hedge_core::rules#B2)). Default: no
        /// policy, so only the limits refuse.
        ///
        /// A program that keeps its own `Arc` of the policy can ask it for its measurements. An
        /// [`AdaptiveDelay`](hedge_core::policy::AdaptiveDelay) has a delay that follows the latencies. A
        /// [`Shadow`](hedge_core::policy::Shadow) sends no backup and counts what backups would have done.
        pub fn backup_policy(
            mut self,
            policy: ::std::sync::Arc<dyn $crate::hedge_core::policy::BackupPolicy + Send + Sync>,
        ) -> Self {
            self.setup.policy = Some(policy);
            self
        }

        /// Sends a backup after a delay that follows the latencies of attempts ([B7](hedge_core::rules#B7)). It
        /// replaces the [policy](Self::backup_policy) and the plain [delay](Self::backup). Default: no such delay. An
        /// option out of its range is [`BuildError::Adaptive`]. A program that wants to read the delay makes an
        /// [`AdaptiveDelay`](hedge_core::policy::AdaptiveDelay) itself and sets it as its policy.
        pub fn adaptive_backup(mut self, options: $crate::hedge_core::policy::AdaptiveOptions) -> Self {
            (self.setup.policy, self.setup.adaptive) = (None, Some(options));
            self
        }

        /// Calls `on_end` at every call's end, before the caller has its reply or error. It is told the report, and the servers
        /// that the call went to. Default: nothing is called.
        ///
        /// It is not called for a call that was dropped, of which a [`backup_policy`](Self::backup_policy) is told, and not for
        /// one whose options cannot be carried out. A call that streams ends with the head of its reply. If `on_end` panics,
        /// the reply and all counts are as if it had not.
        ///
        /// `on_end` runs within the call's future, on the thread that polls it: it should not block.
        pub fn on_end(mut self, on_end: impl Fn(&$crate::CallEnd<'_>) + Send + Sync + 'static) -> Self {
            self.setup.on_end = Some(::std::boxed::Box::new(on_end));
            self
        }

        /// Tells `observer` what happens: starts and ends of calls and attempts, and what becomes of servers. See
        /// [`Observer`](hedge_fleet::Observer). This may be called several times: observers are told in this order.
        /// Default: nothing is told.
        pub fn observer(mut self, observer: ::std::sync::Arc<dyn $crate::Observer>) -> Self {
            self.setup.observers.add(observer);
            self
        }

        /// How a server is chosen ([S1](hedge_core::rules#S1)):
        ///
        /// | name | chooses | parameters |
        /// |---|---|---|
        /// | `rr` | the servers in turn | |
        /// | `wrr` | the servers in turn, by weight | `default_weight` |
        /// | `random` | at random, all with the same chance | |
        /// | `wr` | at random, by weight | `default_weight` |
        /// | `la` | in proportion to throughput / latency | |
        /// | `p2c` | of some random servers, the one with the least latency × load | `choices`, `tau_ms` |
        /// | `prequal` | by probes; as `p2c` where there are none | |
        /// | `c_murmurhash`, `c_md5`, `c_ketama` | by the call's request code | `replicas` |
        ///
        /// Parameters follow the name: `p2c:choices=4 tau_ms=5000`. `p2c` and `la` learn from how every attempt ended.
        /// Where servers differ or may fail, begin with `p2c`: `la` favours the fastest server so much that the others
        /// get almost no calls in the end. An unknown name or parameter is [`BuildError::Balancer`].
        pub fn load_balancer(mut self, name: &str) -> Self {
            self.setup.balancer = Some(name.into());
            self
        }

        /// Isolates servers that fail too much, and probes them when their isolation is over
        /// ([H2](hedge_core::rules#H2)). Default: no circuit breaker, as in brpc. Abandoned attempts are neither
        /// successes nor failures ([L13](hedge_core::rules#L13)). An option out of its range is [`BuildError::Health`].
        pub fn circuit_breaker(mut self, options: $crate::hedge_core::health::BreakerOptions) -> Self {
            self.setup.breaker = Some(options);
            self
        }

        /// How many servers the circuit breaker may isolate at a time ([H4](hedge_core::rules#H4)). Default: half of
        /// them. Servers whose connections broke do not count.
        pub fn isolation_limit(mut self, limit: $crate::hedge_core::health::IsolationLimit) -> Self {
            self.setup.isolation_limit = limit;
            self
        }

        /// After all servers were down, admits a share of the calls that grows with the number of servers that are back
        /// ([H3](hedge_core::rules#H3)). A call that is not admitted ends as if all servers were still down. Default:
        /// all calls are admitted as soon as one server is back.
        pub fn recovery(mut self, options: $crate::hedge_core::health::RecoveryOptions) -> Self {
            self.setup.recovery = Some(options);
            self
        }

        /// The seed of all random numbers. Default: an unpredictable seed.
        pub fn seed(mut self, seed: u64) -> Self {
            self.setup.seed = Some(seed);
            self
        }
    };
}

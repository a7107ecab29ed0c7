//! What a layer or a set is made of: [`Builder`].

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hedge_core::balance::BalancerError;
use hedge_core::config::{Setup, Warnings};
use hedge_core::health::{
    AnyBreaker, BreakerOptions, Health, HealthError, IsolationLimit, Recovering, RecoveryOptions,
};
use hedge_core::limit::{Counted, LimitOptions, Limits};
use hedge_core::policy::{self, BackupDelay, BackupPolicy, CallLatencies, ChannelOptions, ConfigError, Idempotency};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

use crate::set::{SetBalancer, SetBreaker};
use crate::shared::{Judge, OnEnd, Settings, Shared};
use crate::{HedgeLayer, HedgeSet, MAX_ATTEMPTS, MAX_IN_FLIGHT, Plain, Report, RetryErrors};

/// Begins a layer or a set whose calls wait on `timer`.
pub fn builder<T>(timer: T) -> Builder<T> {
    Builder {
        timer,
        retry_policy: RetryErrors,
        protocol: Plain,
        options: ChannelOptions::brpc(),
        limits: LimitOptions::SAFE,
        policy: None,
        on_end: None,
        seed: None,
        servers: ServerOptions {
            balancer: "rr".into(),
            breaker: None,
            isolation: IsolationLimit::DEFAULT,
            recovery: None,
        },
    }
}

/// A [`HedgeLayer`] or [`HedgeSet`] to be. The defaults are brpc's: timeout 500 ms, 3 retries, backups off.
///
/// What is about the choice among servers counts for a set only: [`load_balancer`](Self::load_balancer),
/// [`circuit_breaker`](Self::circuit_breaker), [`isolation_limit`](Self::isolation_limit) and [`recovery`](Self::recovery).
#[must_use = "it is not built yet"]
pub struct Builder<T, R = RetryErrors, C = Plain> {
    timer: T,
    retry_policy: R,
    protocol: C,
    options: ChannelOptions,
    limits: LimitOptions,
    policy: Option<Arc<dyn BackupPolicy + Send + Sync>>,
    on_end: Option<OnEnd>,
    seed: Option<u64>,
    servers: ServerOptions,
}

/// How a set chooses among its servers.
#[derive(Debug)]
struct ServerOptions {
    balancer: Box<str>,
    breaker: Option<BreakerOptions>,
    isolation: IsolationLimit,
    recovery: Option<RecoveryOptions>,
}

impl<T, R, C> Builder<T, R, C> {
    /// All of the core's options at once; setters that follow change single ones. A connect timeout has no meaning here.
    pub fn options(mut self, options: ChannelOptions) -> Self {
        self.options = options;
        self
    }

    /// What a file says: all options and all limits, whatever was set before; setters that follow change single ones.
    /// Everything else stays as it is: a file does not speak of it.
    ///
    /// What cannot be carried out is [`BuildError::Options`], which names it: a timeout of 0, a `max_retry` above 7, a `max_backups` above
    /// 4, a backoff whose bounds contradict each other, a limit's option that is out of its range.
    ///
    /// ```
    /// use hedge_tower::hedge_core::config::ChannelConfig;
    /// use tower::{Layer, service_fn};
    ///
    /// let text = r#"{"preset": "trpc", "timeout": "200ms", "backup": "10ms", "limits": {"ratio": {"burst": 20}}}"#;
    /// let config: ChannelConfig = serde_json::from_str(text)?;
    /// let layer = hedge_tower::builder(hedge_tokio::Tokio::new()).config(&config).layer()?;
    /// let service = layer.layer(service_fn(|name: String| async move { Ok::<_, String>(format!("hello, {name}")) }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn config(mut self, config: &hedge_core::config::ChannelConfig) -> Self {
        self.options = config.options();
        self.limits = config.limits();
        self
    }

    /// From a call's start to its end, retries and backups included. Default 500 ms; 0 is [`BuildError::Options`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Timeout::After(timeout.into());
        self
    }

    /// How many attempts may follow the first, retries and backups together; at most 7. Default 3; 0 disables both, and
    /// then requests are not copied.
    pub fn max_retry(mut self, attempts: u8) -> Self {
        self.options.max_retry = attempts;
        self
    }

    /// Sends a backup after `delay` without an answer. Default: none is sent.
    pub fn backup(mut self, delay: Duration) -> Self {
        self.options.backup = BackupDelay::After(delay.into());
        self
    }

    /// How many backups a call may send, each a delay after the last; at most 4. Default 1.
    pub fn max_backups(mut self, backups: u8) -> Self {
        self.options.max_backups = backups;
        self
    }

    /// What calls are that do not say so themselves. Default: they may be sent twice.
    pub fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.options.idempotency = idempotency;
        self
    }

    /// What backups and retries are limited to. Default: [`LimitOptions::SAFE`], backups for at most a tenth of the calls, and
    /// a budget for retries and backups. [`LimitOptions::NONE`] is no limit: what is slow is sent everything twice.
    pub fn limits(mut self, limits: LimitOptions) -> Self {
        self.limits = limits;
        self
    }

    /// Who limits backups and retries, gives the delay, and hears of every call's end, dropped calls included (B2).
    ///
    /// A policy that is kept at hand too can be asked what it has seen: an [`AdaptiveDelay`](policy::AdaptiveDelay), whose
    /// delay follows the latencies, or a [`Shadow`](policy::Shadow), which sends no backup and counts what some would do.
    pub fn backup_policy(mut self, policy: Arc<dyn BackupPolicy + Send + Sync>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Calls `on_end` with each call's report before its response is handed over. Not of a call that was dropped: what is
    /// known of that is told to the policy; nor of one whose options cannot be carried out.
    pub fn on_end(mut self, on_end: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.on_end = Some(Box::new(on_end));
        self
    }

    /// How a set chooses a server: a name and its parameters, as [`BalancerName`](hedge_core::balance::BalancerName) reads
    /// them, such as `p2c:choices=4`. Default `rr`. What is wrong with it, [`set`](Self::set) says.
    ///
    /// `p2c` and `la` learn from how every attempt ended. Where servers differ or may fail, begin with `p2c`: `la` favours the
    /// quickest so much that in the end the others have next to nothing. `c_murmurhash`, `c_md5` and `c_ketama` need a
    /// [request code](crate::CallOptions::request_code) of each call. A set sends no probes, so that `prequal` is `p2c` here.
    pub fn load_balancer(mut self, name: &str) -> Self {
        self.servers.balancer = name.into();
        self
    }

    /// Isolates servers of a set that fail too much, and probes them when their isolation is over (H2). Default: none.
    ///
    /// Abandoned attempts count for nothing (L13); a server that is not ready in time is abandoned, so it is slow and not
    /// failing.
    pub fn circuit_breaker(mut self, options: BreakerOptions) -> Self {
        self.servers.breaker = Some(options);
        self
    }

    /// The share of a set that the breaker must leave (H4). Default 50 %.
    pub fn isolation_limit(mut self, limit: IsolationLimit) -> Self {
        self.servers.isolation = limit;
        self
    }

    /// After all servers of a set were down, lets calls in as servers come back; those that are not let in end as if all were
    /// down still (H3). Default: every call is let in as soon as one server is back.
    pub fn recovery(mut self, options: RecoveryOptions) -> Self {
        self.servers.recovery = Some(options);
        self
    }

    /// Where all chance comes from. Default: unpredictable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Who judges results. Default: [`RetryErrors`].
    pub fn retry_policy<Other>(self, retry_policy: Other) -> Builder<T, Other, C> {
        let Self { timer, retry_policy: _, protocol, options, limits, policy, on_end, seed, servers } = self;
        Builder { timer, retry_policy, protocol, options, limits, policy, on_end, seed, servers }
    }

    /// How requests are copied, and what they and their responses carry. Default: [`Plain`].
    pub fn protocol<Other>(self, protocol: Other) -> Builder<T, R, Other> {
        let Self { timer, retry_policy, protocol: _, options, limits, policy, on_end, seed, servers } = self;
        Builder { timer, retry_policy, protocol, options, limits, policy, on_end, seed, servers }
    }

    /// [`Http`](crate::Http) as protocol and retry policy.
    #[cfg(feature = "http")]
    pub fn http(self) -> Builder<T, crate::Http, crate::Http> {
        self.retry_policy(crate::Http::new()).protocol(crate::Http::new())
    }

    /// Settings that are valid and contradict each other or do nothing, such as a backup that is not below the timeout; each
    /// says what to write. None of them keeps a layer or a set from being built: a program should print them when it starts.
    ///
    /// The policy is asked for its delay once. How many servers there will be is not known.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = hedge_tower::builder(hedge_tokio::Tokio::new()).max_retry(0).backup(Duration::from_millis(10));
    /// for warning in builder.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        let ServerOptions { balancer, breaker, isolation, recovery: _ } = &self.servers;
        let setup = Setup {
            policy_delay: self.policy.as_ref().and_then(|policy| policy.delay(Instant::ZERO)),
            breaker: breaker.is_some(),
            isolation_limit: *isolation,
            balancer: balancer.parse().ok(),
            connects: false,
            ..Setup::new(&self.options, &self.limits)
        };
        setup.warnings()
    }

    /// A layer. Extra attempts go to the same service, so `same_server_backup` is set.
    ///
    /// # Errors
    /// [`BuildError::Options`].
    pub fn layer(mut self) -> Result<HedgeLayer<T, R, C>, BuildError> {
        self.options.same_server_backup = true;
        let seed = seed_or_any(self.seed);
        self.shared(seed).map(HedgeLayer::new).map_err(BuildError::Options)
    }

    /// A set without servers; see [`HedgeSet::insert`] and [`HedgeSet::follow`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn set<K, S>(self) -> Result<HedgeSet<K, S, T, R, C>, BuildError> {
        let seed = seed_or_any(self.seed);
        let ServerOptions { balancer: name, breaker, isolation, recovery } = &self.servers;
        let balancer = match SetBalancer::named(name, seed) {
            Ok(balancer) => balancer,
            Err(error) => return Err(BuildError::Balancer { name: name.clone(), error }),
        };
        let health = health(*breaker, *isolation, *recovery).map_err(BuildError::Health)?;
        let shared = self.shared(seed).map_err(BuildError::Options)?;
        Ok(HedgeSet::new(shared, balancer, health))
    }

    fn shared(self, seed: u64) -> Result<Shared<T, R, C>, ConfigError> {
        let Self { timer, retry_policy, protocol, options, limits, policy, on_end, .. } = self;
        options.validate(MAX_ATTEMPTS)?;
        if usize::from(options.max_backups) >= MAX_IN_FLIGHT {
            return Err(ConfigError::TooManyInFlight { max_backups: options.max_backups, slots: MAX_IN_FLIGHT });
        }
        let policy = Counted::new((Limits::new(limits)?, policy.map(policy::Shared)));
        let (latencies, seeds) = (CallLatencies::default(), Seeds::new(seed));
        let settings = Settings { options, policy, latencies, seeds, on_end };
        Ok(Shared { settings, timer, judge: Judge(retry_policy), protocol })
    }
}

/// std's own hasher keys are the operating system's randomness, so a dependency less.
fn seed_or_any(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| RandomState::new().hash_one(()))
}

fn health(
    breaker: Option<BreakerOptions>,
    isolation: IsolationLimit,
    recovery: Option<RecoveryOptions>,
) -> Result<Health<SetBreaker>, HealthError> {
    let breaker = breaker.map_or(Ok(AnyBreaker::None), AnyBreaker::new)?;
    Health::new(Recovering::new(breaker, recovery)?, isolation)
}

impl<T, R, C> fmt::Debug for Builder<T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("seed", &self.seed)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Why a layer or a set cannot be built.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No balancer has that name, or not with such parameters.
    Balancer {
        /// The name.
        name: Box<str>,
        /// What is wrong with it.
        error: BalancerError,
    },
    /// The breaker, its limit or the recovery cannot have such an option.
    Health(HealthError),
    /// Options that cannot be carried out.
    Options(ConfigError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancer { name, error } => write!(f, "load balancer {name:?}: {error}"),
            Self::Health(error) => error.fmt(f),
            Self::Options(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

//! What a layer or a set is made of: [`Builder`].

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hedge_core::balance::{AnyBalancer, Seeds};
use hedge_core::limit::{Counted, LimitOptions, Limits};
use hedge_core::policy::{self, BackupDelay, BackupPolicy, ChannelOptions, ConfigError, Idempotency, Timeout};

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
    }
}

/// A [`HedgeLayer`] or [`HedgeSet`] to be. The defaults are brpc's: timeout 500 ms, 3 retries, backups off.
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
}

impl<T, R, C> Builder<T, R, C> {
    /// All of the core's options at once; setters that follow change single ones. A connect timeout has no meaning here.
    pub fn options(mut self, options: ChannelOptions) -> Self {
        self.options = options;
        self
    }

    /// From a call's start to its end, retries and backups included. Default 500 ms.
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

    /// How many backups a call may send, each a delay after the last; at most 3. Default 1.
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

    /// Where all chance comes from. Default: unpredictable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Who judges results. Default: [`RetryErrors`].
    pub fn retry_policy<Other>(self, retry_policy: Other) -> Builder<T, Other, C> {
        let Self { timer, retry_policy: _, protocol, options, limits, policy, on_end, seed } = self;
        Builder { timer, retry_policy, protocol, options, limits, policy, on_end, seed }
    }

    /// How requests are copied, and what they and their responses carry. Default: [`Plain`].
    pub fn protocol<Other>(self, protocol: Other) -> Builder<T, R, Other> {
        let Self { timer, retry_policy, protocol: _, options, limits, policy, on_end, seed } = self;
        Builder { timer, retry_policy, protocol, options, limits, policy, on_end, seed }
    }

    /// [`Http`](crate::Http) as protocol and retry policy.
    #[cfg(feature = "http")]
    pub fn http(self) -> Builder<T, crate::Http, crate::Http> {
        self.retry_policy(crate::Http::new()).protocol(crate::Http::new())
    }

    /// A layer. Extra attempts go to the same service, so `same_server_backup` is set.
    ///
    /// # Errors
    /// Options that cannot be carried out.
    pub fn layer(mut self) -> Result<HedgeLayer<T, R, C>, ConfigError> {
        self.options.same_server_backup = true;
        Ok(HedgeLayer::new(self.shared()?.0))
    }

    /// A set without servers that balances by `rr`; see [`HedgeSet::insert`] and [`HedgeSet::follow`].
    ///
    /// # Errors
    /// Options that cannot be carried out.
    pub fn set<K, S>(self) -> Result<HedgeSet<K, S, T, R, C>, ConfigError> {
        let (shared, seed) = self.shared()?;
        let balancer = AnyBalancer::RoundRobin(hedge_core::balance::RoundRobin::new(seed));
        Ok(HedgeSet::new(shared, balancer))
    }

    /// A set without servers that chooses by `balancer`.
    ///
    /// # Errors
    /// Options that cannot be carried out.
    pub fn balanced_set<K, S>(self, balancer: AnyBalancer) -> Result<HedgeSet<K, S, T, R, C>, ConfigError> {
        Ok(HedgeSet::new(self.shared()?.0, balancer))
    }

    fn shared(self) -> Result<(Shared<T, R, C>, u64), ConfigError> {
        let Self { timer, retry_policy, protocol, options, limits, policy, on_end, seed } = self;
        options.validate(MAX_ATTEMPTS)?;
        if usize::from(options.max_backups) >= MAX_IN_FLIGHT {
            return Err(ConfigError::TooManyInFlight { max_backups: options.max_backups, slots: MAX_IN_FLIGHT });
        }
        // std's own hasher keys are the operating system's randomness, so a dependency less.
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(()));
        let policy = Counted::new((Limits::new(limits)?, policy.map(policy::Shared)));
        let settings = Settings { options, policy, seeds: Seeds::new(seed), on_end };
        Ok((Shared { settings, timer, judge: Judge(retry_policy), protocol }, seed))
    }
}

impl<T, R, C> fmt::Debug for Builder<T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).field("seed", &self.seed).finish_non_exhaustive()
    }
}

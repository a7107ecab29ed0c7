//! Finds settings that are each valid, but that together are probably a mistake: [`Setup::warnings`].

use super::{Origin, Preset, ServerLimits, Warning, Warnings};
use crate::balance::{BalancerName, BalancerSpec};
use crate::bounded::{Bounded, Ratio};
use crate::health::IsolationLimit;
use crate::limit::{BudgetOptions, LimitOptions, RatioMode, RatioOptions};
use crate::policy::{Backoff, BackupDelay, ChannelOptions, Idempotency, OnEarlyFailure, RetryTarget};
use crate::time::{Duration, Micros, Timeout};

/// The settings of a channel that can contradict each other.
///
/// Hosts fill this in from their builders. A program that has only the options can use it too.
///
/// ```
/// use hedge_core::config::Setup;
/// use hedge_core::limit::LimitOptions;
/// use hedge_core::policy::{BackupDelay, ChannelOptions};
/// use hedge_core::time::Duration;
///
/// let options = ChannelOptions { backup: BackupDelay::after(Duration::from_secs(1)), ..ChannelOptions::brpc() };
/// let warnings = Setup::new(&options, &LimitOptions::SAFE).warnings();
/// assert_eq!(
///     warnings[0].to_string(),
///     "backup 1000 ms: not below timeout 500 ms, so no backup is ever sent; write a shorter backup or a longer timeout"
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The channel's options.
    pub options: &'a ChannelOptions,
    /// The channel's limits.
    pub limits: &'a LimitOptions,
    /// How long one attempt may take ([L21](crate::rules#L21)).
    pub attempt_timeout: Timeout,
    /// The limits of a single server ([L22](crate::rules#L22), [S11](crate::rules#S11)).
    pub server_limits: ServerLimits,
    /// The backup delay that the channel's policy gives. `None` if there is no policy, or if the policy never gives a
    /// delay. [`BackupDelay::OFF`] means that the policy gives a delay only at some times.
    pub policy_delay: Option<BackupDelay>,
    /// How many addresses there are at the start. `None` if this number is unknown.
    pub addresses: Option<usize>,
    /// How many servers there are at the start. `None` if this number is unknown. Two servers that differ only by their
    /// tag count as two here, but as one in `addresses`.
    pub servers: Option<usize>,
    /// Whether there is a circuit breaker.
    pub breaker: bool,
    /// How many servers the breaker may isolate.
    pub isolation_limit: IsolationLimit,
    /// The balancer. `None` if it is unknown.
    pub balancer: Option<BalancerSpec>,
    /// Whether servers are probed.
    pub probes: bool,
    /// Whether the host makes connections. If it does not, the connect timeout is not used.
    pub connects: bool,
}

impl<'a> Setup<'a> {
    /// Makes a setup from options and limits. It has no policy, and its servers are unknown.
    #[must_use]
    pub const fn new(options: &'a ChannelOptions, limits: &'a LimitOptions) -> Self {
        Self {
            options,
            limits,
            attempt_timeout: Timeout::NEVER,
            server_limits: ServerLimits::NONE,
            policy_delay: None,
            addresses: None,
            servers: None,
            breaker: false,
            isolation_limit: IsolationLimit::DEFAULT,
            balancer: None,
            probes: false,
            connects: true,
        }
    }

    /// Returns all warnings about settings that contradict others or do nothing. Their order is: time limits, backups,
    /// retries, limits of servers, the ratio, the budget, the breaker, and probes. No [`Preset`] causes a warning.
    ///
    /// Cost: this takes some comparisons and divisions. Call it when a channel is made.
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        let mut found = Warnings::default();
        let backup = self.backup();
        self.times(&mut found);
        match backup {
            Some((origin, delay)) => self.backups(origin, delay, &mut found),
            None => self.without_backups(&mut found),
        }
        self.retries(&mut found);
        self.of_servers(&mut found);
        if let Some(ratio) = &self.limits.ratio {
            of_ratio(ratio, backup.is_some(), &mut found);
        }
        if let Some(budget) = &self.limits.budget {
            of_budget(budget, &mut found);
        }
        self.choice(&mut found);
        found
    }

    /// Returns the setting that gives the backup's delay ([B1](crate::rules#B1)), and the delay if it is known. Returns
    /// `None` if no backup is sent.
    fn backup(&self) -> Option<(Origin, Option<Duration>)> {
        let of_ratio = self.limits.ratio.and_then(|ratio| ratio.backup);
        match (of_ratio, self.policy_delay, self.options.backup) {
            (Some(delay), ..) => Some((Origin::Ratio, Some(delay))),
            (_, Some(policy), _) if policy.shadow_delay().is_some() => None,
            (_, Some(policy), _) => Some((Origin::Policy, policy.delay())),
            (_, None, plain) => plain.delay().map(|delay| (Origin::Options, Some(delay))),
        }
    }

    fn times(&self, found: &mut Warnings) {
        let limit = self.options.timeout.limit();
        if let (true, Some(connect_timeout), Some(timeout)) =
            (self.connects, self.options.connect_timeout.limit(), limit)
            && connect_timeout >= timeout
        {
            found.push(Warning::ConnectTimeoutPastTimeout { connect_timeout, timeout });
        }
        let Some(attempt_timeout) = self.attempt_timeout.limit() else { return };
        if let Some(timeout) = limit
            && attempt_timeout >= timeout
        {
            found.push(Warning::AttemptTimeoutPastTimeout { attempt_timeout, timeout });
        }
        if self.options.max_retry == 0 {
            found.push(Warning::AttemptTimeoutWithoutRetry { attempt_timeout });
        }
    }

    fn backups(&self, origin: Origin, delay: Option<Duration>, found: &mut Warnings) {
        let ChannelOptions { timeout, max_retry, backup, max_backups, same_server_backup, .. } = *self.options;
        if origin != Origin::Options && backup.delay().is_some() {
            found.push(Warning::BackupReplaced { by: origin });
        }
        if let (Some(delay), Some(timeout)) = (delay, timeout.limit()) {
            if delay >= timeout {
                found.push(Warning::BackupPastTimeout { origin, delay, timeout });
            } else if let Some(fit) =
                (Micros::from(timeout).as_micros() - 1).checked_div(Micros::from(delay).as_micros())
                && fit < max_backups.into()
            {
                // The number fits in 8 bits, since it is less than `max_backups`.
                let fit = u8::try_from(fit).unwrap_or(u8::MAX);
                found.push(Warning::MaxBackupsPastTimeout { max_backups, fit, timeout });
            }
        }
        if self.options.idempotency == Idempotency::NotIdempotent {
            found.push(Warning::BackupNotIdempotent { origin });
        }
        if self.addresses == Some(1) && !same_server_backup {
            found.push(Warning::BackupWithOneAddress { origin });
        }
        match (max_retry, max_backups) {
            (0, _) => found.push(Warning::BackupWithoutAttempt { origin }),
            (_, 0) => found.push(Warning::BackupWithoutBackups { origin }),
            _ if max_backups > max_retry => found.push(Warning::MaxBackupsAboveMaxRetry { max_backups, max_retry }),
            _ => {}
        }
    }

    fn without_backups(&self, found: &mut Warnings) {
        let ChannelOptions { max_backups, same_server_backup, on_early_failure, .. } = *self.options;
        if max_backups > 1 {
            found.push(Warning::MaxBackupsWithoutBackup { max_backups });
        }
        if same_server_backup {
            found.push(Warning::SameServerWithoutBackup);
        }
        if on_early_failure == OnEarlyFailure::Wait {
            found.push(Warning::WaitWithoutBackup);
        }
    }

    fn retries(&self, found: &mut Warnings) {
        let ChannelOptions { timeout, max_retry, ref backoff, no_backoff_remaining, retry_target, .. } = *self.options;
        if max_retry == 0 {
            // There is no warning for a backoff that comes from a preset, since the user did not set it on purpose.
            if *backoff != Backoff::OFF && Preset::ALL.iter().all(|preset| preset.options().backoff != *backoff) {
                found.push(Warning::BackoffWithoutRetry);
            }
            if retry_target == RetryTarget::Same {
                found.push(Warning::TargetWithoutRetry);
            }
            if self.options.pushback_for_service {
                found.push(Warning::PushbackWithoutRetry);
            }
        }
        if no_backoff_remaining > Duration::ZERO && *backoff == Backoff::OFF {
            found.push(Warning::RemainingWithoutBackoff { no_backoff_remaining });
        }
        let Some(timeout) = timeout.limit() else { return };
        let shortest = backoff.shortest();
        if shortest >= timeout {
            found.push(Warning::BackoffPastTimeout { shortest, timeout });
        } else if *backoff != Backoff::OFF && no_backoff_remaining >= timeout {
            found.push(Warning::RemainingPastTimeout { no_backoff_remaining, timeout });
        }
    }

    fn of_servers(&self, found: &mut Warnings) {
        let ServerLimits { max_in_flight_per_server, max_queued_calls, max_queue_wait, slow_start } =
            self.server_limits;
        if max_queued_calls > 0 && max_in_flight_per_server.is_none() {
            found.push(Warning::QueueWithoutCap { max_queued_calls });
        }
        if let Some(max_queue_wait) = max_queue_wait.limit() {
            if max_queued_calls == 0 {
                found.push(Warning::QueueWaitWithoutQueue { max_queue_wait });
            } else if let Some(timeout) = self.options.timeout.limit()
                && max_queue_wait >= timeout
            {
                found.push(Warning::QueueWaitPastTimeout { max_queue_wait, timeout });
            }
        }
        if let Some(slow_start) = slow_start
            && self.servers == Some(1)
        {
            found.push(Warning::SlowStartWithOneServer { slow_start });
        }
    }

    fn choice(&self, found: &mut Warnings) {
        let selectable_percent = self.isolation_limit.selectable_percent.get();
        match self.servers {
            _ if !self.breaker && self.isolation_limit != IsolationLimit::DEFAULT => {
                found.push(Warning::IsolationWithoutBreaker { selectable_percent });
            }
            _ if !self.breaker => {}
            Some(1) => found.push(Warning::BreakerWithOneServer),
            _ if selectable_percent == 100 => found.push(Warning::BreakerNeverIsolates),
            _ => {}
        }
        match (self.balancer.map(|spec| spec.of), self.probes) {
            (Some(BalancerName::Prequal(_)), false) => found.push(Warning::PrequalWithoutProbes),
            (Some(BalancerName::Prequal(_)), true) | (_, false) => {}
            (_, true) => found.push(Warning::ProbesWithoutPrequal),
        }
    }
}

fn of_ratio(ratio: &RatioOptions, backups: bool, found: &mut Warnings) {
    let RatioOptions { mode, max_backup_ratio, window, update_interval, burst, .. } = *ratio;
    let is_preset = Preset::ALL.iter().any(|preset| preset.limits().ratio == Some(*ratio));
    if !backups && !is_preset {
        found.push(Warning::RatioWithoutBackup);
    }
    match mode {
        RatioMode::Exact if max_backup_ratio == Ratio::WHOLE => found.push(Warning::RatioIsOff),
        RatioMode::Exact => {
            // The limit counts in millionths, so a ratio below one millionth counts as 0.
            if max_backup_ratio.get() < 0.000_001 && burst.get() == 0 {
                found.push(Warning::RatioNeverAllows);
            }
            if update_interval != RatioOptions::DEFAULT.update_interval {
                found.push(Warning::IntervalOfExact { update_interval: update_interval.get() });
            }
        }
        RatioMode::Cached => {
            if update_interval.get() > window.get() {
                let (update_interval, window) = (update_interval.get(), window.get());
                found.push(Warning::IntervalAboveWindow { update_interval, window });
            }
            if Preset::ALL.iter().filter_map(|preset| preset.limits().ratio).all(|preset| preset.burst != burst) {
                found.push(Warning::BurstOfCached { burst: burst.get() });
            }
        }
    }
}

fn of_budget(budget: &BudgetOptions, found: &mut Warnings) {
    let BudgetOptions { share, burst, minimum_per_second, maximum_per_second } = *budget;
    let minimum_per_second = minimum_per_second.get();
    // The budget counts in thousandths, so a share below one thousandth counts as 0.
    if share.get() < 0.001 && minimum_per_second == 0 {
        found.push(Warning::BudgetNeverRefills { burst: burst.get() });
    }
    if let Some(maximum_per_second) = maximum_per_second.map(Bounded::get).filter(|most| *most < minimum_per_second) {
        found.push(Warning::BudgetMaximumBelowMinimum { maximum_per_second, minimum_per_second });
    }
}

#[cfg(test)]
mod tests;

//! The warnings of [`Setup::warnings`](super::Setup::warnings). [`Warning`] is one warning, and [`Warnings`] is a list
//! of warnings without a heap.

use core::fmt;
use core::ops::Deref;

use heapless::Vec;

use crate::time::{Duration, Micros};

/// Where the delay of backups is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Origin {
    /// The delay is [`ChannelOptions::backup`](crate::policy::ChannelOptions::backup).
    Options,
    /// The delay is [`RatioOptions::backup`](crate::limit::RatioOptions::backup).
    Ratio,
    /// The channel's policy gives the delay.
    Policy,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Options => "backup",
            Self::Ratio => "limits.ratio.backup_request_ms",
            Self::Policy => "backup_policy",
        })
    }
}

/// The warnings of a [`Setup`](super::Setup), and further warnings that a host adds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Warnings(Vec<Warning, 32>);

impl Warnings {
    /// Adds a warning. There is room for all warnings that can occur together. If the list is full, the warning is
    /// dropped.
    pub fn push(&mut self, warning: Warning) {
        let _ = self.0.push(warning);
    }
}

impl Deref for Warnings {
    type Target = [Warning];

    fn deref(&self) -> &[Warning] {
        &self.0
    }
}

impl IntoIterator for Warnings {
    type Item = Warning;
    type IntoIter = heapless::vec::IntoIter<Warning, 32, usize>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Warnings {
    type Item = &'a Warning;
    type IntoIter = core::slice::Iter<'a, Warning>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A setting that contradicts another setting, or that does nothing. `Display` names the setting and says what to
/// write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are the settings that they are named after")]
pub enum Warning {
    /// The backup's delay is not below the timeout, so the deadline comes before any backup ([L4](crate::rules#L4)).
    BackupPastTimeout { origin: Origin, delay: Duration, timeout: Duration },
    /// A backup is asked for, but `max_retry` is 0, which allows neither retries nor backups ([L3](crate::rules#L3)).
    BackupWithoutAttempt { origin: Origin },
    /// A backup is asked for, but `max_backups` is 0, which allows no backup ([L6](crate::rules#L6)).
    BackupWithoutBackups { origin: Origin },
    /// A backup is asked for, but the channel's calls may not be sent twice ([L15](crate::rules#L15)).
    BackupNotIdempotent { origin: Origin },
    /// A backup is asked for, but there is only one address, and a backup may not go to the address of the first
    /// attempt ([L4](crate::rules#L4)).
    BackupWithOneAddress { origin: Origin },
    /// The fixed backup delay is not used, since a policy or a limit gives another delay ([B1](crate::rules#B1)).
    BackupReplaced { by: Origin },
    /// `max_backups` is above `max_retry`. Since `max_retry` bounds retries and backups together, not all of these
    /// backups can be sent ([L3](crate::rules#L3)).
    MaxBackupsAboveMaxRetry { max_backups: u8, max_retry: u8 },
    /// Only `fit` of the backups are due before the deadline ([L2](crate::rules#L2), [L6](crate::rules#L6)). The other
    /// backups are never sent.
    MaxBackupsPastTimeout { max_backups: u8, fit: u8, timeout: Duration },
    /// `max_backups` allows more than one backup, but backups are off.
    MaxBackupsWithoutBackup { max_backups: u8 },
    /// `same_server_backup` is set, but backups are off.
    SameServerWithoutBackup,
    /// `on_early_failure` lets failures wait for a backup, but backups are off ([L9](crate::rules#L9)).
    WaitWithoutBackup,
    /// The connect timeout is not below the timeout. So if a server cannot be reached, the call ends before another
    /// server is tried ([L2](crate::rules#L2)).
    ConnectTimeoutPastTimeout { connect_timeout: Duration, timeout: Duration },
    /// The attempt timeout is not below the timeout. The deadline comes first, so no attempt is ended early to make
    /// room for another attempt ([L21](crate::rules#L21)).
    AttemptTimeoutPastTimeout { attempt_timeout: Duration, timeout: Duration },
    /// There is an attempt timeout, but `max_retry` is 0. So no other attempt follows an attempt that was ended
    /// ([L21](crate::rules#L21)).
    AttemptTimeoutWithoutRetry { attempt_timeout: Duration },
    /// The shortest backoff is not below the timeout, so every backoff is skipped ([L18](crate::rules#L18)).
    BackoffPastTimeout { shortest: Duration, timeout: Duration },
    /// A backoff is set, but `max_retry` is 0, so no retry uses the backoff.
    BackoffWithoutRetry,
    /// `no_backoff_remaining` is not below the timeout, so every backoff is skipped ([L18](crate::rules#L18)).
    RemainingPastTimeout { no_backoff_remaining: Duration, timeout: Duration },
    /// `no_backoff_remaining` is set, but backoff is off, so there is no backoff to skip.
    RemainingWithoutBackoff { no_backoff_remaining: Duration },
    /// Retries should go to the same server, but `max_retry` is 0, so there are no retries.
    TargetWithoutRetry,
    /// A server's pushback should delay attempts at every server, but `max_retry` is 0, so no attempt follows the
    /// first.
    PushbackWithoutRetry,
    /// There is a queue, but no cap on the attempts in flight at a server. So no server is ever full, and no call waits
    /// ([L22](crate::rules#L22)).
    QueueWithoutCap { max_queued_calls: u32 },
    /// There is a limit on the wait in the queue, but there is no queue ([L22](crate::rules#L22)).
    QueueWaitWithoutQueue { max_queue_wait: Duration },
    /// The limit on the wait in the queue is not below the timeout. The deadline always comes first
    /// ([L22](crate::rules#L22)).
    QueueWaitPastTimeout { max_queue_wait: Duration, timeout: Duration },
    /// Slow start is on, but there is only one server, which gets every call anyway ([S11](crate::rules#S11)).
    SlowStartWithOneServer { slow_start: Duration },
    /// The update interval of mode `Cached` is above its window. So between two computations of the ratio, all earlier
    /// data leave the window.
    IntervalAboveWindow { update_interval: Duration, window: Duration },
    /// A ratio was chosen, but there are no backups to limit.
    RatioWithoutBackup,
    /// `max_backup_ratio` is 1, which turns mode `Exact` off ([B3](crate::rules#B3)).
    RatioIsOff,
    /// `max_backup_ratio` is rounded down to 0 and the burst is 0, so no backup is ever allowed.
    RatioNeverAllows,
    /// An update interval is set, but mode `Exact` has no such interval.
    IntervalOfExact { update_interval: Duration },
    /// A burst is set, but mode `Cached` has no burst.
    BurstOfCached { burst: u32 },
    /// The share and the minimum of the budget are 0. Once the burst is used up, the budget allows nothing any more.
    BudgetNeverRefills { burst: u32 },
    /// The maximum per second of the budget is below its minimum per second, so the minimum is never reached.
    BudgetMaximumBelowMinimum { maximum_per_second: u32, minimum_per_second: u32 },
    /// There is a breaker, but only one server. A share of the servers, rounded up, always stays selectable. So this
    /// server is never isolated ([H4](crate::rules#H4)).
    BreakerWithOneServer,
    /// There is a breaker, but all servers must stay selectable, so no server is ever isolated ([H4](crate::rules#H4)).
    BreakerNeverIsolates,
    /// The isolation limit is set, but there is no breaker to limit.
    IsolationWithoutBreaker { selectable_percent: u32 },
    /// Servers are probed, but the balancer does not use probes.
    ProbesWithoutPrequal,
    /// The balancer uses probes, but servers are not probed.
    PrequalWithoutProbes,
    /// There is a check by the application. Such a check is a part of the health checks, but the health checks are off.
    CheckWithoutChecks,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupPastTimeout { origin, delay, timeout } => write!(
                f,
                "{origin} {delay}: not below timeout {timeout}, so no backup is ever sent; write a shorter backup or a longer \
                 timeout",
                delay = shown(delay), timeout = shown(timeout),
            ),
            Self::BackupWithoutAttempt { origin } => write!(
                f,
                "max_retry 0: allows one attempt a call, so no backup is ever sent although {origin} asks for one; write \
                 max_retry 1 or more"
            ),
            Self::BackupWithoutBackups { origin } => write!(
                f,
                "max_backups 0: no backup is ever sent although {origin} asks for one; write max_backups 1 or more"
            ),
            Self::BackupNotIdempotent { origin } => write!(
                f,
                "idempotency not_idempotent: no backup is sent although {origin} asks for one, except by calls that say that \
                 they are idempotent; write idempotency idempotent if requests may be sent twice"
            ),
            Self::BackupWithOneAddress { origin } => write!(
                f,
                "{origin}: there is one server address, so no backup is sent; name another server, or write \
                 same_server_backup true"
            ),
            Self::BackupReplaced { by } => {
                write!(f, "backup: never used, since {by} gives the delay; leave one of them out")
            }
            Self::MaxBackupsAboveMaxRetry { max_backups, max_retry } => write!(
                f,
                "max_backups {max_backups}: above max_retry {max_retry}, which bounds retries and backups together; write \
                 max_retry {max_backups} or more"
            ),
            Self::MaxBackupsPastTimeout { max_backups, fit, timeout } => write!(
                f,
                "max_backups {max_backups}: only {fit} can be sent before timeout {timeout}, one after each backup delay; \
                 write a shorter backup, or max_backups {fit}",
                timeout = shown(timeout),
            ),
            Self::MaxBackupsWithoutBackup { max_backups } => {
                write!(f, "max_backups {max_backups}: does nothing without a backup; write a backup, such as 20ms")
            }
            Self::SameServerWithoutBackup => {
                f.write_str("same_server_backup true: does nothing without a backup; write a backup, such as 20ms")
            }
            Self::WaitWithoutBackup => {
                f.write_str("on_early_failure wait: does nothing without a backup; write a backup, such as 20ms")
            }
            Self::ConnectTimeoutPastTimeout { connect_timeout, timeout } => write!(
                f,
                "connect_timeout {connect_timeout}: not below timeout {timeout}, so a server that cannot be reached takes the \
                 whole call and nothing is retried; write a shorter connect_timeout",
                connect_timeout = shown(connect_timeout), timeout = shown(timeout),
            ),
            Self::AttemptTimeoutPastTimeout { attempt_timeout, timeout } => write!(
                f,
                "attempt_timeout {attempt_timeout}: not below timeout {timeout}, so it does nothing; write a shorter \
                 attempt_timeout",
                attempt_timeout = shown(attempt_timeout), timeout = shown(timeout),
            ),
            Self::AttemptTimeoutWithoutRetry { attempt_timeout } => write!(
                f,
                "attempt_timeout {attempt_timeout}: with max_retry 0 nothing follows an attempt that took too long; write a \
                 max_retry of at least 1, or a timeout",
                attempt_timeout = shown(attempt_timeout),
            ),
            Self::BackoffPastTimeout { shortest, timeout } => write!(
                f,
                "backoff {shortest}: not below timeout {timeout}, so every retry is sent at once; write a shorter backoff",
                shortest = shown(shortest), timeout = shown(timeout),
            ),
            Self::BackoffWithoutRetry => {
                f.write_str("backoff: does nothing, since max_retry 0 allows no retry; write max_retry 1 or more")
            }
            Self::RemainingPastTimeout { no_backoff_remaining, timeout } => write!(
                f,
                "no_backoff_remaining {no_backoff_remaining}: not below timeout {timeout}, so every retry is sent at once; \
                 write a shorter no_backoff_remaining",
                no_backoff_remaining = shown(no_backoff_remaining), timeout = shown(timeout),
            ),
            Self::RemainingWithoutBackoff { no_backoff_remaining } => {
                write!(f, "no_backoff_remaining {no_backoff_remaining}: does nothing without a backoff; write a backoff",
                no_backoff_remaining = shown(no_backoff_remaining),
            )
            }
            Self::TargetWithoutRetry => {
                f.write_str("retry_target same: does nothing, since max_retry 0 allows no retry; write max_retry 1 or more")
            }
            Self::PushbackWithoutRetry => f.write_str(
                "pushback_for_service true: does nothing, since max_retry 0 allows one attempt a call; write max_retry 1 or more",
            ),
            Self::QueueWithoutCap { max_queued_calls } => write!(
                f,
                "max_queued_calls {max_queued_calls}: does nothing without a cap, since no server is ever full; write a \
                 max_in_flight_per_server"
            ),
            Self::QueueWaitWithoutQueue { max_queue_wait } => write!(
                f,
                "max_queue_wait {}: does nothing without a queue; write a max_queued_calls of at least 1",
                shown(max_queue_wait)
            ),
            Self::QueueWaitPastTimeout { max_queue_wait, timeout } => write!(
                f,
                "max_queue_wait {}: not below timeout {}, so it does nothing; write a shorter \
                 max_queue_wait",
                shown(max_queue_wait),
                shown(timeout)
            ),
            Self::SlowStartWithOneServer { slow_start } => write!(
                f,
                "slow_start {}: does nothing, since there is only one server, which gets every call; name another server",
                shown(slow_start)
            ),
            Self::IntervalAboveWindow { update_interval, window } => write!(
                f,
                "limits.ratio.update_interval_seconds {}: above window_size_seconds {}, so the ratio is \
                 looked up less often than it changes; write at most {}",
                update_interval.as_secs_f64(),
                window.as_secs_f64(),
                window.as_secs_f64()
            ),
            Self::RatioWithoutBackup => f.write_str(
                "limits.ratio: limits nothing, since no backup is asked for, except by calls that ask for one; write a backup, \
                 such as 20ms",
            ),
            Self::RatioIsOff => f.write_str(
                "limits.ratio.max_backup_ratio 1: mode exact is off at 1; write a ratio below 1, or off for limits.ratio",
            ),
            Self::RatioNeverAllows => f.write_str(
                "limits.ratio.max_backup_ratio: below 0.000001 and burst is 0, so no backup is ever allowed; write a larger max_backup_ratio",
            ),
            Self::IntervalOfExact { update_interval } => write!(
                f,
                "limits.ratio.update_interval_seconds {}: does nothing in mode exact; leave it out, or \
                 write mode cached",
                update_interval.as_secs_f64()
            ),
            Self::BurstOfCached { burst } => write!(
                f,
                "limits.ratio.burst {burst}: does nothing in mode cached; leave it out, or write mode exact"
            ),
            Self::BudgetNeverRefills { burst } => write!(
                f,
                "limits.budget: share and minimum_per_second are 0, so that after a burst of {burst} no retry and no backup is \
                 ever allowed; write a share such as 0.2"
            ),
            Self::BudgetMaximumBelowMinimum { maximum_per_second, minimum_per_second } => write!(
                f,
                "limits.budget.maximum_per_second {maximum_per_second}: below minimum_per_second {minimum_per_second}; write \
                 at least {minimum_per_second}"
            ),
            Self::BreakerWithOneServer => f.write_str(
                "circuit_breaker: there is one server, which is never isolated, since a share of the servers must stay; name \
                 another server",
            ),
            Self::BreakerNeverIsolates => f.write_str(
                "isolation_limit selectable_percent 100: no server may be isolated, so the circuit_breaker does nothing; write \
                 a smaller share, such as 50",
            ),
            Self::IsolationWithoutBreaker { selectable_percent } => write!(
                f,
                "isolation_limit selectable_percent {selectable_percent}: does nothing without a circuit breaker; add a \
                 circuit_breaker"
            ),
            Self::ProbesWithoutPrequal => {
                f.write_str("probe_with: does nothing under another load balancer than prequal; write load_balancer prequal")
            }
            Self::PrequalWithoutProbes => {
                f.write_str("load_balancer prequal: no server is probed, so it chooses as p2c does; add probes, or write p2c")
            }
            Self::CheckWithoutChecks => {
                f.write_str("health_check_with: does nothing without health checks; leave out without_health_checks")
            }
        }
    }
}

/// Returns a span in the form that the messages show.
fn shown(span: &Duration) -> Micros {
    Micros::from_duration(*span)
}

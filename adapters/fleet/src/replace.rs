//! The options of a channel that can be replaced while it runs: [`ReplaceableOptions`].

use std::time::Duration;

use hedge_core::balance::BalancerSpec;
use hedge_core::config;
use hedge_core::health::{BreakerOptions, IsolationLimit, RecoveryOptions};
use hedge_core::limit::LimitOptions;
use hedge_core::policy::{BackupDelay, ChannelOptions, ConfigError};
use hedge_core::time::Timeout;

use crate::{MAX_ATTEMPTS, MAX_IN_FLIGHT};

/// The options that can be replaced while a channel, a layer or a set runs.
///
/// When a call starts, it takes [`channel`](Self::channel), [`attempt_timeout`](Self::attempt_timeout) and the delay of
/// `limits.ratio`. It keeps these to its end. The other options belong to all calls together: new limits, a new breaker
/// and a new recovery apply at once, and also to calls in flight.
///
/// A replacement keeps most of the state that the channel has built up:
///
/// | option | what stays |
/// |---|---|
/// | `limits.ratio` | the counts of the window, if its length stays the same; the unused burst, up to the new burst |
/// | `limits.budget` | the balance, up to the new burst; the count of attempts in this second |
/// | `limits.tokens` | the fill of the bucket, as a share of its size |
/// | `breaker` | whether a server is isolated, and until when; the counts of failures, if the windows stay the same |
/// | `recovery` | whether a recovery is under way |
/// | all | latencies, counts of refusals, what the balancer knows, broken connections, attempts in flight |
///
/// A limit that was on and stays on never gets a new full burst. If the window of a ratio gets another length, its
/// counts begin again: with no calls, and with one backup. A limit that was off begins as a new limit. If the breaker
/// is switched off, all isolated servers get calls again. If the breaker is switched on, or gets another kind, no
/// server is isolated at first. If more servers are isolated than the new `isolation_limit` allows, some of them get
/// calls again.
///
/// These settings cannot be replaced: the balancer, the seed, the transport, the policies, the limits of a single
/// server, and the maximum numbers of servers and of attempts. To change them, make a new channel.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplaceableOptions {
    /// The options that calls inherit, such as the timeout, the number of retries and the backup delay.
    pub channel: ChannelOptions,
    /// How long one attempt may take ([L21](hedge_core::rules#L21)).
    pub attempt_timeout: Timeout,
    /// The limits of backups and retries ([B3](hedge_core::rules#B3) to [B6](hedge_core::rules#B6)).
    pub limits: LimitOptions,
    /// The circuit breaker ([H2](hedge_core::rules#H2)). `None` means that failures isolate no server.
    pub breaker: Option<BreakerOptions>,
    /// How many servers the circuit breaker may isolate ([H4](hedge_core::rules#H4)).
    pub isolation_limit: IsolationLimit,
    /// How calls are admitted after all servers were down ([H3](hedge_core::rules#H3)). `None` means that all calls are
    /// admitted as soon as one server is usable.
    pub recovery: Option<RecoveryOptions>,
}

impl ReplaceableOptions {
    /// Returns these options with another timeout of calls.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.channel.timeout = Timeout::after(timeout);
        self
    }

    /// Returns these options with a timeout for each attempt.
    #[must_use]
    pub fn with_attempt_timeout(self, timeout: Duration) -> Self {
        Self { attempt_timeout: Timeout::after(timeout), ..self }
    }

    /// Returns these options with `delay` as the backup delay.
    #[must_use]
    pub fn with_backup(mut self, delay: Duration) -> Self {
        self.channel.backup = BackupDelay::after(delay);
        self
    }

    /// Checks whether calls can have these options. A call has at most [`MAX_ATTEMPTS`] attempts, and at most
    /// [`MAX_IN_FLIGHT`] of them are in flight at once.
    ///
    /// # Errors
    /// Returns an error for the first option that is invalid.
    pub fn check(&self) -> Result<(), ConfigError> {
        check(&self.channel, self.attempt_timeout)
    }

    /// Returns whether the breaker, the isolation limit and the recovery are the same as in `other`.
    pub(crate) fn has_health_of(&self, other: &Self) -> bool {
        let health = |it: &Self| (it.breaker, it.isolation_limit, it.recovery);
        health(self) == health(other)
    }

    /// Returns the backup delay that `limits.ratio` gives ([B1](hedge_core::rules#B1)).
    pub(crate) fn ratio_delay(&self) -> Option<BackupDelay> {
        self.limits.ratio.as_ref()?.backup.map(BackupDelay::after)
    }

    /// Returns the input for the configuration warnings. Facts that are not contained in these options, such as the
    /// number of servers, are missing in it.
    pub(crate) fn warning_input(
        &self,
        policy_delay: Option<BackupDelay>,
        balancer: Option<BalancerSpec>,
    ) -> config::Setup<'_> {
        config::Setup {
            attempt_timeout: self.attempt_timeout,
            policy_delay,
            breaker: self.breaker.is_some(),
            isolation_limit: self.isolation_limit,
            balancer,
            ..config::Setup::new(&self.channel, &self.limits)
        }
    }
}

/// Checks whether calls can have these options.
pub(crate) fn check(options: &ChannelOptions, attempt_timeout: Timeout) -> Result<(), ConfigError> {
    options.validate(MAX_ATTEMPTS)?;
    if attempt_timeout == Timeout::after(Duration::ZERO) {
        return Err(ConfigError::NoTime { field: "attempt_timeout" });
    }
    let max_backups = options.max_backups;
    if usize::from(max_backups) >= MAX_IN_FLIGHT {
        return Err(ConfigError::TooManyInFlight { max_backups, slots: MAX_IN_FLIGHT });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

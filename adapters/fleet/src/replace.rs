//! The options of a channel that runs: [`ReplaceableOptions`], and why new ones are refused, [`OptionsError`].

use std::fmt;
use std::time::Duration;

use hedge_core::balance::BalancerName;
use hedge_core::config;
use hedge_core::health::{BreakerOptions, HealthError, IsolationLimit, RecoveryOptions};
use hedge_core::limit::LimitOptions;
use hedge_core::policy::{BackupDelay, ChannelOptions, ConfigError};
use hedge_core::time::Timeout;

use crate::{MAX_ATTEMPTS, MAX_IN_FLIGHT};

/// The options that can be replaced while a channel, a layer or a set runs.
///
/// What a call inherits, [`channel`](Self::channel), [`attempt_timeout`](Self::attempt_timeout) and the delay of
/// `limits.ratio`, it takes once, when it starts. So a call in flight keeps its options to its end. The rest belongs to
/// all calls together: new limits, a new breaker and a new recovery apply at once, to calls in flight too.
///
/// What was learned stays:
///
/// | option | what stays |
/// |---|---|
/// | `limits.ratio` | the counts of the window, if its length stays the same; what is left of the burst, up to the new burst |
/// | `limits.budget` | what is saved up, up to the new burst; the attempts of this second |
/// | `limits.tokens` | how full the bucket is, in proportion |
/// | `breaker` | whether a server is isolated, and until when; the failures that were counted, if the windows stay the same |
/// | `recovery` | whether a recovery is under way |
/// | all | latencies, counts of refusals, what the balancer knows, broken connections, attempts in flight |
///
/// A change never gives a fresh burst. A ratio's window of another length begins anew, with one backup counted. A limit
/// that was off begins as a new one. If the breaker is switched off, its servers return. If it is switched on, or its kind
/// changes, no server is isolated at first. If `isolation_limit` is lower than what is isolated, servers return.
///
/// These cannot be replaced: the balancer, the seed, the transport, the policies, and how many servers and attempts there
/// is room for. Make a new channel for them.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplaceableOptions {
    /// All of the core's options.
    pub channel: ChannelOptions,
    /// How long one attempt may take ([L21](hedge_core::rules#L21)).
    pub attempt_timeout: Timeout,
    /// The limits of backups and retries ([B3](hedge_core::rules#B3) to [B6](hedge_core::rules#B6)).
    pub limits: LimitOptions,
    /// The circuit breaker ([H2](hedge_core::rules#H2)). `None`: there is none.
    pub breaker: Option<BreakerOptions>,
    /// How many servers the circuit breaker may isolate ([H4](hedge_core::rules#H4)).
    pub isolation_limit: IsolationLimit,
    /// How calls are admitted after all servers were down ([H3](hedge_core::rules#H3)). `None`: all at once.
    pub recovery: Option<RecoveryOptions>,
}

impl ReplaceableOptions {
    /// These options with a timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.channel.timeout = Timeout::after(timeout);
        self
    }

    /// These options with a timeout for each attempt.
    #[must_use]
    pub fn with_attempt_timeout(self, timeout: Duration) -> Self {
        Self { attempt_timeout: Timeout::after(timeout), ..self }
    }

    /// These options with a backup after `delay`.
    #[must_use]
    pub fn with_backup(mut self, delay: Duration) -> Self {
        self.channel.backup = BackupDelay::after(delay);
        self
    }

    /// Checks whether calls can have these options, with at most [`MAX_ATTEMPTS`] attempts, of which [`MAX_IN_FLIGHT`]
    /// are in flight at once. The limits and the health are checked when they are made.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check(&self.channel, self.attempt_timeout)
    }

    /// Whether breaker, isolation limit and recovery are the same.
    pub(crate) fn has_health_of(&self, other: &Self) -> bool {
        let health = |it: &Self| (it.breaker, it.isolation_limit, it.recovery);
        health(self) == health(other)
    }

    /// The backup delay that `limits.ratio` gives ([B1](hedge_core::rules#B1)).
    pub(crate) fn ratio_delay(&self) -> Option<BackupDelay> {
        self.limits.ratio.as_ref()?.backup.map(BackupDelay::after)
    }

    /// The input of the warnings, as far as these options give it.
    pub(crate) fn warning_input(
        &self,
        policy_delay: Option<BackupDelay>,
        balancer: Option<BalancerName>,
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

/// Why new options were refused. Nothing was changed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum OptionsError {
    /// An option that cannot be carried out, or an option of a limit that is out of its range.
    Options(ConfigError),
    /// An option of the circuit breaker, the isolation limit or the recovery that is out of its range.
    Health(HealthError),
}

impl From<ConfigError> for OptionsError {
    fn from(error: ConfigError) -> Self {
        Self::Options(error)
    }
}

impl From<HealthError> for OptionsError {
    fn from(error: HealthError) -> Self {
        Self::Health(error)
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Health(error) => write!(f, "health: {error}"),
        }
    }
}

impl std::error::Error for OptionsError {}

#[cfg(test)]
mod tests;

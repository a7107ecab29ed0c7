//! What breakers have in common: [`Breaker`], and [`AnyBreaker`] for configuration ([H2](crate::rules#H2)).

use core::fmt;

use super::{
    CircuitBreaker, CircuitOptions, CircuitState, ConsecutiveFailures, FailureOptions, Gate, HealthError,
    IsolationOptions, RecoveryOptions, RecoveryPolicy,
};
use crate::outcome::{Code, ErrorKind, Feedback};
use crate::time::{Duration, Instant, Micros};

/// How an attempt went, for a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// The server answered.
    Success {
        /// From the attempt's start to its end.
        latency: Micros,
    },
    /// The server did not answer, or its answer was a failure.
    Failure {
        /// From the attempt's start to its end.
        latency: Micros,
    },
    /// Neither: the attempt was abandoned ([L13](crate::rules#L13)), it failed at this client or by its caller's fault
    /// ([S7](crate::rules#S7)), or the server refused it because it is over its limit. Such a refusal comes at once,
    /// and often from the whole cluster. As a success it would distort the mean latency; as a failure it would isolate
    /// servers of a cluster that has too few.
    Uncounted {
        /// From the attempt's start to its end.
        age: Micros,
    },
}

impl Outcome {
    /// What an attempt's feedback and code mean for a breaker.
    #[must_use]
    pub fn new(feedback: Feedback, code: Code) -> Self {
        match feedback {
            Feedback::Abandoned { age } | Feedback::Local { age } => Self::Uncounted { age },
            Feedback::Success { latency } => Self::Success { latency },
            Feedback::Failure { latency } if code == ErrorKind::OverLimit.into() => Self::Uncounted { age: latency },
            Feedback::Failure { latency } => Self::Failure { latency },
        }
    }

    pub(super) const fn elapsed(self) -> Micros {
        match self {
            Self::Success { latency: elapsed }
            | Self::Failure { latency: elapsed }
            | Self::Uncounted { age: elapsed } => elapsed,
        }
    }
}

/// What an attempt's end has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BreakerChange {
    /// The server is isolated from now on, or again after a failed probe.
    Isolated {
        /// For how long, before it is probed.
        isolation: Duration,
    },
    /// A probe has succeeded: the server takes calls again.
    Returned,
}

/// A rule that isolates servers which fail, as a circuit breaker state machine. A channel has one, with a
/// [`State`](Self::State) for each server. The rule is told of the start and the end of every attempt. It has three
/// states for a server:
///
/// - Closed: the server takes calls, and its failures are counted.
/// - Open: the server is isolated, and nothing should be sent to it. An attempt that is sent all the same (`FailTry`)
///   decides nothing.
/// - Half-open: the isolation is over, and one attempt (or as many as [`IsolationOptions::probes`] says) is let through
///   as a probe. Its success closes the breaker, and its failure isolates the server for twice as long. If it is
///   abandoned, the next attempt is the probe. A probe no longer counts when nothing was heard of it for the longest
///   isolation. Attempts that began before the probing decide nothing. An attempt that is sent all the same is a probe
///   too.
///
/// All methods take `&self` and use atomics of 32 bits: threads and interrupts may share a breaker, and none waits for
/// another.
///
/// An implementation provides the first four methods; the others have defaults.
///
/// ```
/// use hedge_core::health::{Breaker, BreakerChange, ConsecutiveFailures, FailureOptions, FailureState, Outcome};
/// use hedge_core::time::{Duration, Instant, Micros};
///
/// let breaker = ConsecutiveFailures::new(FailureOptions { failures: 2, ..FailureOptions::DEFAULT })?;
/// let server = FailureState::default();
/// let (now, latency) = (Instant::from_millis(1_000), Micros::from_millis(1));
/// assert_eq!(breaker.finished(&server, now, Outcome::Failure { latency }, || true), None);
/// let change = breaker.finished(&server, now, Outcome::Failure { latency }, || true);
/// assert_eq!(change, Some(BreakerChange::Isolated { isolation: Duration::from_millis(100) }));
///
/// let later = now + Duration::from_millis(102);
/// assert!(!breaker.usable(&server, now) && breaker.usable(&server, later));
/// assert!(breaker.started(&server, later, false), "the probe");
/// assert!(!breaker.usable(&server, later), "one at a time");
/// let answered = later + latency;
/// let change = breaker.finished(&server, answered, Outcome::Success { latency }, || true);
/// assert_eq!(change, Some(BreakerChange::Returned));
/// # Ok::<(), hedge_core::health::HealthError>(())
/// ```
pub trait Breaker {
    /// What is known of a server.
    type State: Default + fmt::Debug;

    /// For how long it isolates. The options must be valid.
    fn isolation(&self) -> &IsolationOptions;

    /// The part of a server's state that says whether it is isolated; `None` for a breaker that never isolates.
    fn gate<'s>(&self, state: &'s Self::State) -> Option<&'s Gate>;

    /// Counts an attempt at a server that is not isolated. Returns whether the server is still healthy; the answer to a
    /// success is ignored.
    fn count(&self, state: &Self::State, failed: bool, latency: Micros) -> bool;

    /// Forgets the failures, since the server returns.
    fn reset(&self, state: &Self::State);

    /// How attempts are let in while servers come back after all were down ([H3](crate::rules#H3)); `None` lets all of
    /// them in.
    fn recovery(&self) -> Option<&RecoveryPolicy> {
        None
    }

    /// Whether an attempt may be sent. Cost: one load, or two while the server is isolated.
    #[inline]
    fn usable(&self, state: &Self::State, now: Instant) -> bool {
        self.gate(state).is_none_or(|gate| gate.usable(self.isolation(), now))
    }

    /// Records that an attempt is sent. Returns false and changes nothing if `insist` is false and the server is
    /// isolated, for example because another attempt has become the probe since the look. The end of every attempt that
    /// was let through must be told to [`finished`](Self::finished).
    fn started(&self, state: &Self::State, now: Instant, insist: bool) -> bool {
        self.gate(state).is_none_or(|gate| gate.started(self.isolation(), now, insist))
    }

    /// Records that an attempt is over. Before a closed breaker opens, `may_isolate` is asked, by one caller at a time;
    /// [`Health`](super::Health) asks its [`IsolationLimit`](super::IsolationLimit) there ([H4](crate::rules#H4)). If
    /// it refuses, it is asked again at the next failure.
    fn finished(
        &self,
        state: &Self::State,
        now: Instant,
        outcome: Outcome,
        may_isolate: impl FnOnce() -> bool,
    ) -> Option<BreakerChange> {
        let count = |failed, latency| self.count(state, failed, latency);
        self.gate(state)?.finished(self.isolation(), now, outcome, count, may_isolate, || self.reset(state))
    }

    /// Whether the server is isolated or being probed. Such a server counts against the limit of isolated servers
    /// ([H4](crate::rules#H4)).
    fn is_isolated(&self, state: &Self::State) -> bool {
        self.gate(state).is_some_and(Gate::is_isolated)
    }

    /// When the isolation will end, if the server is isolated now.
    fn isolated_until(&self, state: &Self::State, now: Instant) -> Option<Instant> {
        self.gate(state)?.isolated_until(self.isolation(), now)
    }

    /// Ends an isolation early, because too few servers are left ([H4](crate::rules#H4)). Returns false if there is
    /// none, or if another thread is just changing it.
    fn lift(&self, state: &Self::State, now: Instant) -> bool {
        self.gate(state).is_some_and(|gate| gate.lift(now, || self.reset(state)))
    }
}

/// No breaker: failures never isolate a server, and a server has no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoBreaker;

impl Breaker for NoBreaker {
    type State = ();

    fn isolation(&self) -> &IsolationOptions {
        const { &IsolationOptions::DEFAULT }
    }

    fn gate<'s>(&self, (): &'s ()) -> Option<&'s Gate> {
        None
    }

    fn count(&self, (): &(), _: bool, _: Micros) -> bool {
        true
    }

    fn reset(&self, (): &()) {}
}

/// A breaker with a careful return after all servers were down ([H3](crate::rules#H3)), if there are options for one.
#[derive(Debug)]
pub struct Recovering<K> {
    breaker: K,
    recovery: Option<RecoveryPolicy>,
}

impl<K> Recovering<K> {
    /// `breaker`, with a careful return if there are `options` for one.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(breaker: K, options: Option<RecoveryOptions>) -> Result<Self, HealthError> {
        Ok(Self { breaker, recovery: options.map(RecoveryPolicy::new).transpose()? })
    }

    /// Another breaker and other `options`. If a return is under way, it goes on under the new ones.
    pub(super) fn replaced(&self, breaker: K, options: Option<RecoveryOptions>) -> Result<Self, HealthError> {
        let new = Self::new(breaker, options)?;
        if let (Some(old), Some(new)) = (&self.recovery, &new.recovery) {
            new.goes_on_from(old);
        }
        Ok(new)
    }

    pub(super) const fn inner(&self) -> &K {
        &self.breaker
    }
}

impl<K: Breaker> Breaker for Recovering<K> {
    type State = K::State;

    fn isolation(&self) -> &IsolationOptions {
        self.breaker.isolation()
    }

    fn gate<'s>(&self, state: &'s K::State) -> Option<&'s Gate> {
        self.breaker.gate(state)
    }

    fn count(&self, state: &K::State, failed: bool, latency: Micros) -> bool {
        self.breaker.count(state, failed, latency)
    }

    fn reset(&self, state: &K::State) {
        self.breaker.reset(state);
    }

    fn recovery(&self) -> Option<&RecoveryPolicy> {
        self.recovery.as_ref()
    }
}

/// The options of an [`AnyBreaker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BreakerOptions {
    /// [`CircuitBreaker`]: brpc's.
    Circuit(CircuitOptions),
    /// [`ConsecutiveFailures`]: a number of failures in a row.
    ConsecutiveFailures(FailureOptions),
}

impl BreakerOptions {
    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        match self {
            Self::Circuit(options) => options.validate(),
            Self::ConsecutiveFailures(options) => options.validate(),
        }
    }
}

/// Any of this crate's breakers, for configuration. A server's state is as large as the largest.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum AnyBreaker {
    /// No breaker: no server is isolated.
    None,
    /// [`CircuitBreaker`]: brpc's.
    Circuit(CircuitBreaker),
    /// [`ConsecutiveFailures`]: a number of failures in a row.
    ConsecutiveFailures(ConsecutiveFailures),
}

impl AnyBreaker {
    /// The breaker of these options.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: BreakerOptions) -> Result<Self, HealthError> {
        Ok(match options {
            BreakerOptions::Circuit(options) => Self::Circuit(CircuitBreaker::new(options)?),
            BreakerOptions::ConsecutiveFailures(options) => {
                Self::ConsecutiveFailures(ConsecutiveFailures::new(options)?)
            }
        })
    }
}

impl Breaker for AnyBreaker {
    type State = CircuitState;

    fn isolation(&self) -> &IsolationOptions {
        match self {
            Self::None => NoBreaker.isolation(),
            Self::Circuit(breaker) => breaker.isolation(),
            Self::ConsecutiveFailures(breaker) => breaker.isolation(),
        }
    }

    fn gate<'s>(&self, state: &'s CircuitState) -> Option<&'s Gate> {
        match self {
            Self::None => None,
            Self::Circuit(_) | Self::ConsecutiveFailures(_) => Some(state.gate()),
        }
    }

    fn count(&self, state: &CircuitState, failed: bool, latency: Micros) -> bool {
        match self {
            Self::None => true,
            Self::Circuit(breaker) => breaker.count(state, failed, latency),
            Self::ConsecutiveFailures(breaker) => breaker.count_in(state.consecutive(), failed),
        }
    }

    fn reset(&self, state: &CircuitState) {
        match self {
            Self::None => {}
            Self::Circuit(breaker) => breaker.reset(state),
            Self::ConsecutiveFailures(_) => ConsecutiveFailures::reset_in(state.consecutive()),
        }
    }
}

#[cfg(test)]
mod tests;

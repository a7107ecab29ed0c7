//! What breakers have in common: [`Breaker`], and [`AnyBreaker`] for configuration (H2).

use core::fmt;

use super::{
    CircuitBreaker, CircuitOptions, CircuitState, ConsecutiveFailures, FailureOptions, Gate, HealthError,
    IsolationOptions, RecoveryOptions, RecoveryPolicy,
};
use crate::outcome::{Code, ErrorKind, Feedback};
use crate::time::{Duration, Instant};

/// How an attempt went, for a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// The server answered.
    Success {
        /// From the attempt's start to its end.
        latency: Duration,
    },
    /// It did not, or not well.
    Failure {
        /// From the attempt's start to its end.
        latency: Duration,
    },
    /// Neither: abandoned (L13), failed at this client or by its caller's fault (S7), or refused because the server is over its limit. Such a refusal comes at once and often
    /// from the whole cluster: as a success it would spoil the mean, as a failure it would take servers from a cluster that
    /// has too few.
    Uncounted {
        /// From the attempt's start to its end.
        age: Duration,
    },
}

impl Outcome {
    /// What an attempt's feedback and its code are for a breaker.
    #[must_use]
    pub fn new(feedback: Feedback, code: Code) -> Self {
        match feedback {
            Feedback::Abandoned { age } | Feedback::Local { age } => Self::Uncounted { age },
            Feedback::Success { latency } => Self::Success { latency },
            Feedback::Failure { latency } if code == ErrorKind::OverLimit.into() => Self::Uncounted { age: latency },
            Feedback::Failure { latency } => Self::Failure { latency },
        }
    }

    pub(super) const fn took(self) -> Duration {
        match self {
            Self::Success { latency: took } | Self::Failure { latency: took } | Self::Uncounted { age: took } => took,
        }
    }
}

/// What an attempt's end has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Change {
    /// The server is isolated from now on, or again after a failed probe.
    Isolated {
        /// For how long, before it is probed.
        isolation: Duration,
    },
    /// A probe has succeeded: the server takes calls again.
    Returned,
}

/// A rule by which servers that fail are isolated; one a channel, with a [`State`](Self::State) a server.
///
/// Told of every attempt's start and end. While a server is isolated nothing should be sent to it; when that is over one
/// attempt (or as many as [`IsolationOptions::probes`] says) is let through as a probe. Its success closes the breaker, its
/// failure isolates for twice as long, and if it is abandoned the next attempt is the probe. A probe that nothing is heard
/// of for the longest isolation no longer counts. Attempts that began before the probing decide nothing; what is sent to an
/// isolated server all the same (`FailTry`) decides nothing during the isolation, and probes after it.
///
/// All through `&self` and atomics of 32 bits: threads and interrupts may share it, none waits for another.
///
/// Whoever implements it gives the first four; the rest follows.
///
/// ```
/// use hedge_core::health::{Breaker, Change, ConsecutiveFailures, FailureOptions, FailureState, Outcome};
/// use hedge_core::time::{Duration, Instant};
///
/// let breaker = ConsecutiveFailures::new(FailureOptions { failures: 2, ..FailureOptions::DEFAULT })?;
/// let server = FailureState::default();
/// let (now, latency) = (Instant::from_millis(1_000), Duration::from_millis(1));
/// assert_eq!(breaker.finished(&server, now, Outcome::Failure { latency }, || true), None);
/// let change = breaker.finished(&server, now, Outcome::Failure { latency }, || true);
/// assert_eq!(change, Some(Change::Isolated { isolation: Duration::from_millis(100) }));
///
/// let later = now + Duration::from_millis(102);
/// assert!(!breaker.usable(&server, now) && breaker.usable(&server, later));
/// assert!(breaker.started(&server, later, false), "the probe");
/// assert!(!breaker.usable(&server, later), "one at a time");
/// let answered = later + latency;
/// assert_eq!(breaker.finished(&server, answered, Outcome::Success { latency }, || true), Some(Change::Returned));
/// # Ok::<(), hedge_core::health::HealthError>(())
/// ```
pub trait Breaker {
    /// What is known of a server.
    type State: Default + fmt::Debug;

    /// For how long it isolates: valid options.
    fn isolation(&self) -> &IsolationOptions;

    /// The part of a server's state that says whether it is isolated; `None` of a breaker that never isolates.
    fn gate<'s>(&self, state: &'s Self::State) -> Option<&'s Gate>;

    /// Counts an attempt at a server that is not isolated; whether the server is still healthy. Of a success the answer is
    /// not looked at.
    fn count(&self, state: &Self::State, failed: bool, latency: Duration) -> bool;

    /// Forgets the failures: the server returns.
    fn reset(&self, state: &Self::State);

    /// How attempts are let in as servers come back after all were down (H3); `None`: all of them.
    fn recovery(&self) -> Option<&RecoveryPolicy> {
        None
    }

    /// Whether an attempt may be sent. A load; two while isolated.
    #[inline]
    fn usable(&self, state: &Self::State, now: Instant) -> bool {
        self.gate(state).is_none_or(|gate| gate.usable(self.isolation(), now))
    }

    /// An attempt is sent. False, with nothing changed, if the server is isolated, as when another attempt has become the
    /// probe since the look, and `insist` is false. Every attempt that is told of here, `insist` or not, must be told of to
    /// [`finished`](Self::finished) too.
    fn started(&self, state: &Self::State, now: Instant, insist: bool) -> bool {
        self.gate(state).is_none_or(|gate| gate.started(self.isolation(), now, insist))
    }

    /// An attempt is over. `may_isolate` is asked, by one caller at a time, before a server that was not isolated is (H4,
    /// [`Health`](super::Health) asks its [`IsolationLimit`](super::IsolationLimit)); if it refuses, it is asked again at the next failure.
    fn finished(
        &self,
        state: &Self::State,
        now: Instant,
        outcome: Outcome,
        may_isolate: impl FnOnce() -> bool,
    ) -> Option<Change> {
        let count = |failed, latency| self.count(state, failed, latency);
        self.gate(state)?.finished(self.isolation(), now, outcome, count, may_isolate, || self.reset(state))
    }

    /// Whether the server is isolated, or being probed: whether it counts against H4.
    fn is_isolated(&self, state: &Self::State) -> bool {
        self.gate(state).is_some_and(Gate::is_isolated)
    }

    /// When an isolation that goes on will be over.
    fn isolated_until(&self, state: &Self::State, now: Instant) -> Option<Instant> {
        self.gate(state)?.isolated_until(self.isolation(), now)
    }

    /// Ends an isolation early: too few servers are left (H4). False if there is none, or if it is ending anyway.
    fn lift(&self, state: &Self::State, now: Instant) -> bool {
        self.gate(state).is_some_and(|gate| gate.lift(now, || self.reset(state)))
    }
}

/// No breaker: failures isolate nothing, and nothing is kept of a server.
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

    fn count(&self, (): &(), _: bool, _: Duration) -> bool {
        true
    }

    fn reset(&self, (): &()) {}
}

/// A breaker, and a careful return after all servers were down (H3) if there are options for one.
#[derive(Debug)]
pub struct Recovering<K> {
    breaker: K,
    recovery: Option<RecoveryPolicy>,
}

impl<K> Recovering<K> {
    /// A breaker with it.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(breaker: K, options: Option<RecoveryOptions>) -> Result<Self, HealthError> {
        Ok(Self { breaker, recovery: options.map(RecoveryPolicy::new).transpose()? })
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

    fn count(&self, state: &K::State, failed: bool, latency: Duration) -> bool {
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
    /// brpc's.
    Circuit(CircuitOptions),
    /// So many failures in a row.
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
    /// None: nothing is isolated.
    None,
    /// brpc's.
    Circuit(CircuitBreaker),
    /// So many failures in a row.
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

    fn count(&self, state: &CircuitState, failed: bool, latency: Duration) -> bool {
        match self {
            Self::None => true,
            Self::Circuit(breaker) => breaker.count(state, failed, latency),
            Self::ConsecutiveFailures(breaker) => breaker.count_in(state.row(), failed),
        }
    }

    fn reset(&self, state: &CircuitState) {
        match self {
            Self::None => {}
            Self::Circuit(breaker) => breaker.reset(state),
            Self::ConsecutiveFailures(_) => ConsecutiveFailures::reset_in(state.row()),
        }
    }
}

#[cfg(test)]
mod tests;

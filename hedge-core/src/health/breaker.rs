//! The trait of all circuit breakers, [`Breaker`], and [`AnyBreaker`], which is a breaker chosen by configuration
//! ([H2](crate::rules#H2)).

use core::fmt;

use super::{
    CircuitBreaker, CircuitOptions, CircuitState, ConsecutiveFailures, FailureOptions, Gate, IsolationOptions,
    RecoveryOptions, RecoveryPolicy,
};
use crate::outcome::{Code, ErrorKind, Feedback};
use crate::time::{Duration, Instant, Micros};

/// The result of an attempt, as a breaker counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// The server answered.
    Success {
        /// The time from the attempt's start to its end.
        latency: Micros,
    },
    /// The server did not answer, or its answer means that it has failed.
    Failure {
        /// The time from the attempt's start to its end.
        latency: Micros,
    },
    /// The attempt counts neither as a success nor as a failure. There are three kinds of such attempts:
    ///
    /// - The attempt was abandoned ([L13](crate::rules#L13)).
    /// - It failed at this client, or because of its caller ([S7](crate::rules#S7)).
    /// - The server refused it because the server is over its limit. Such a refusal comes at once. If a cluster is too
    ///   small, such refusals often come from every server. If a refusal counted as a success, it would distort the
    ///   mean latency. If it counted as a failure, it would isolate servers that are needed.
    Uncounted {
        /// The time from the attempt's start to its end.
        age: Micros,
    },
}

impl Outcome {
    /// Returns how a breaker counts an attempt with this feedback and code.
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

/// The change of a server's state that the end of an attempt has caused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BreakerChange {
    /// The server is now isolated, either because it failed too much or because a probe failed.
    Isolated {
        /// How long the isolation lasts. The server is probed after it.
        isolation: Duration,
    },
    /// The server takes calls again: a probe has succeeded, or an attempt at a broken server has succeeded
    /// ([H5](crate::rules#H5)).
    Returned,
}

/// A circuit breaker: a rule that isolates servers that fail. A channel has one breaker, and the breaker has a
/// [`State`](Self::State) for each server. The breaker is informed of the start and the end of every attempt. Each
/// server is in one of three states:
///
/// - Closed: the server takes calls, and its failures are counted.
/// - Open: the server is isolated, and no attempt should be sent to it. An attempt that is sent anyway (under
///   `FailTry`) does not change the state.
/// - Half-open: the isolation is over, and one attempt (or [`IsolationOptions::probes`] attempts) is let through as a
///   probe. If the probe succeeds, the breaker closes. If the probe fails, the server is isolated for twice as long. If
///   the probe is abandoned, the next attempt becomes the probe. If a probe has no result after the length of the
///   longest isolation, the probe counts as lost. Attempts that began before the probing do not change the state. An
///   attempt that is sent while all probes are already running counts as a probe too.
///
/// All methods take `&self` and use atomics of 32 bits. Threads and interrupts may share a breaker, and none of them
/// waits for another.
///
/// An implementation provides the first four methods. The other methods have defaults.
///
/// ```
/// use hedge_core::bounded::Bounded;
/// use hedge_core::health::{Breaker, BreakerChange, ConsecutiveFailures, FailureOptions, FailureState, Outcome};
/// use hedge_core::time::{Duration, Instant, Micros};
///
/// let breaker = ConsecutiveFailures::new(FailureOptions { failures: Bounded::of::<2>(), ..FailureOptions::DEFAULT });
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
/// ```
pub trait Breaker {
    /// The type of the state that the breaker keeps for a server.
    type State: Default + fmt::Debug;

    /// Returns the options that say how long the breaker isolates a server, and how it probes the server.
    fn isolation(&self) -> &IsolationOptions;

    /// Returns the part of a server's state that says whether the server is isolated. A breaker that never isolates
    /// returns `None`.
    fn gate<'s>(&self, state: &'s Self::State) -> Option<&'s Gate>;

    /// Returns whether the breaker may isolate servers. If not, nothing is counted for its limit of isolations
    /// ([H4](crate::rules#H4)).
    fn isolates(&self) -> bool {
        true
    }

    /// Counts an attempt at a server that is not isolated. `latency` is the time from the attempt's start to its end.
    /// Returns whether the server is still healthy. If `failed` is false, the caller ignores the result.
    fn count(&self, state: &Self::State, failed: bool, latency: Micros) -> bool;

    /// Deletes the counted failures of a server that takes calls again.
    fn reset(&self, state: &Self::State);

    /// Returns the policy that lets calls in while servers come back after all servers were down
    /// ([H3](crate::rules#H3)). `None` means that all calls are let in.
    fn recovery(&self) -> Option<&RecoveryPolicy> {
        None
    }

    /// Returns whether an attempt may be sent to the server. Cost: one load, or two loads while the server is isolated.
    #[inline]
    fn usable(&self, state: &Self::State, now: Instant) -> bool {
        self.gate(state).is_none_or(|gate| gate.usable(self.isolation(), now))
    }

    /// Records that an attempt is sent. Returns whether the attempt is let through. If the server is isolated and
    /// `insist` is false, this method returns false and changes nothing. This can happen although the server was usable
    /// when it was chosen: another attempt may have become the probe since then. For every attempt that was let
    /// through, call [`finished`](Self::finished) once.
    fn started(&self, state: &Self::State, now: Instant, insist: bool) -> bool {
        self.gate(state).is_none_or(|gate| gate.started(self.isolation(), now, insist))
    }

    /// Records that an attempt has ended. Returns the change of the server's state, or `None` if the state has not
    /// changed. Before the breaker isolates a server that takes calls, it calls `may_isolate`. For each server, only
    /// one thread does this at a time. [`Health`](super::Health) answers according to its
    /// [`IsolationLimit`](super::IsolationLimit) ([H4](crate::rules#H4)). If the answer is false, the breaker asks
    /// again at the next failure.
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

    /// Returns whether the server is isolated or being probed. Both states count as isolated for the limit of
    /// [H4](crate::rules#H4).
    fn is_isolated(&self, state: &Self::State) -> bool {
        self.gate(state).is_some_and(Gate::is_isolated)
    }

    /// Returns when the server's isolation will end. Returns `None` if the server is not isolated, or if the end has
    /// passed.
    fn isolated_until(&self, state: &Self::State, now: Instant) -> Option<Instant> {
        self.gate(state)?.isolated_until(self.isolation(), now)
    }

    /// Ends an isolation early, because too few other servers are left ([H4](crate::rules#H4)). Returns whether the
    /// isolation was ended. This is false if the server is not isolated, or if another thread is changing its state.
    fn lift(&self, state: &Self::State, now: Instant) -> bool {
        self.gate(state).is_some_and(|gate| gate.lift(now, || self.reset(state)))
    }
}

/// The breaker that does nothing: it never isolates a server, and keeps no state for servers.
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

    #[inline]
    fn isolates(&self) -> bool {
        false
    }

    fn count(&self, (): &(), _: bool, _: Micros) -> bool {
        true
    }

    fn reset(&self, (): &()) {}
}

/// A breaker with an optional recovery policy for the time after all servers were down ([H3](crate::rules#H3)).
#[derive(Debug)]
pub struct Recovering<K> {
    breaker: K,
    recovery: Option<RecoveryPolicy>,
}

impl<K> Recovering<K> {
    /// Combines `breaker` with a recovery policy that has these options. `None` means that there is no recovery policy,
    /// so all calls are let in.
    #[must_use]
    pub fn new(breaker: K, options: Option<RecoveryOptions>) -> Self {
        Self { breaker, recovery: options.map(RecoveryPolicy::new) }
    }

    /// Combines `breaker` with a recovery policy that has other `options`. If a recovery is running, it continues under
    /// the new options.
    pub(super) fn replaced(&self, breaker: K, options: Option<RecoveryOptions>) -> Self {
        let new = Self::new(breaker, options);
        if let (Some(old), Some(new)) = (&self.recovery, &new.recovery) {
            new.goes_on_from(old);
        }
        new
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

    #[inline]
    fn isolates(&self) -> bool {
        self.breaker.isolates()
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
    /// The options of brpc's breaker, [`CircuitBreaker`].
    Circuit(CircuitOptions),
    /// The options of [`ConsecutiveFailures`], which counts failures in a row.
    ConsecutiveFailures(FailureOptions),
}

/// Any of this crate's breakers, chosen by configuration. The state of a server takes as much memory as the largest
/// state of these breakers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum AnyBreaker {
    /// No breaker: no server is isolated.
    None,
    /// The breaker of brpc, [`CircuitBreaker`].
    Circuit(CircuitBreaker),
    /// The breaker [`ConsecutiveFailures`], which counts failures in a row.
    ConsecutiveFailures(ConsecutiveFailures),
}

impl AnyBreaker {
    /// Makes the breaker that these options describe.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        match options {
            BreakerOptions::Circuit(options) => Self::Circuit(CircuitBreaker::new(options)),
            BreakerOptions::ConsecutiveFailures(options) => {
                Self::ConsecutiveFailures(ConsecutiveFailures::new(options))
            }
        }
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

    fn isolates(&self) -> bool {
        !matches!(self, Self::None)
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

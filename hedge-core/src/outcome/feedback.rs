//! The result of an attempt, in the form for balancers and breakers: [`Finished`] and [`Feedback`].

use super::Code;
use crate::id::{AttemptId, ServerId};
use crate::time::{Instant, Micros, Timeout};

/// The result of an attempt, in the form for balancers ([S7](crate::rules#S7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Feedback {
    /// The server answered. The verdicts `Accept` and `Fatal` are both successes here, since `Fatal` is not the
    /// server's fault.
    Success {
        /// The time from the attempt's start to its end.
        latency: Micros,
    },
    /// The attempt failed: the verdict was `Retry` or `Wait`, or the call ended at its deadline. An attempt that was in
    /// flight at the deadline counts as failed only if it had run for at least half of the call's timeout and at least
    /// half of the channel's timeout ([L13](crate::rules#L13)).
    Failure {
        /// The time from the attempt's start to its end.
        latency: Micros,
    },
    /// The call ended before the attempt ended. This is neither a success nor a failure ([L13](crate::rules#L13)).
    Abandoned {
        /// The attempt's age when it was abandoned. The age is a lower bound of the latency.
        age: Micros,
    },
    /// The attempt failed at this client or because of its caller. Such a failure says nothing about the server
    /// ([S7](crate::rules#S7)).
    Local {
        /// The time from the attempt's start to its end.
        age: Micros,
    },
}

impl Feedback {
    /// Returns the time from the attempt's start to its end, for all four kinds of feedback.
    #[must_use]
    pub const fn elapsed(self) -> Micros {
        match self {
            Self::Success { latency: elapsed }
            | Self::Failure { latency: elapsed }
            | Self::Abandoned { age: elapsed }
            | Self::Local { age: elapsed } => elapsed,
        }
    }
}

/// An attempt that was sent to a server, in the form in which its host and its balancer see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SentAttempt {
    /// The server that the attempt was sent to.
    pub server: ServerId,
    /// The instant at which the attempt was sent. This is the `now` of [`Host::commit`](crate::call::Host::commit).
    pub at: Instant,
    /// The attempt's number in its call. The number equals the count of earlier attempts of the call.
    pub attempt: AttemptId,
    /// How many attempts may follow the first one of the call.
    pub max_retry: u8,
    /// The call's timeout.
    pub timeout: Timeout,
}

impl SentAttempt {
    /// Returns the record of this attempt's end. The attempt ended at `now`.
    #[must_use]
    pub const fn finished(self, now: Instant, feedback: Feedback, code: Code) -> Finished {
        Finished { sent: self, now, feedback, code }
    }
}

/// An attempt that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Finished {
    /// The attempt as it was sent.
    pub sent: SentAttempt,
    /// The instant at which the attempt ended.
    pub now: Instant,
    /// The result of the attempt.
    pub feedback: Feedback,
    /// The reason why the attempt failed, or [`Code::NONE`] if it did not fail.
    pub code: Code,
}

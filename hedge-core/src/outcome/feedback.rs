//! How an attempt at a server went, for balancers and breakers: [`Finished`] and [`Feedback`].

use super::Code;
use crate::id::{AttemptId, ServerId};
use crate::time::{Instant, Micros, Timeout};

/// How an attempt went, for the balancer ([S7](crate::rules#S7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Feedback {
    /// The server answered: `Accept`, or a `Fatal`, which is not the server's fault.
    Success {
        /// The time from the attempt's start to its end.
        latency: Micros,
    },
    /// The verdict was `Retry` or `Wait`, or the call's deadline passed and the attempt had had enough time
    /// ([L13](crate::rules#L13)).
    Failure {
        /// The time from the attempt's start to its end.
        latency: Micros,
    },
    /// Neither a success nor a failure ([L13](crate::rules#L13)): its age is only a lower bound of a latency.
    Abandoned {
        /// The time from the attempt's start to the moment when the call stopped waiting for the attempt.
        age: Micros,
    },
    /// It failed at this client or by its caller's fault: it says nothing of the server ([S7](crate::rules#S7)).
    Local {
        /// The time from the attempt's start to its end.
        age: Micros,
    },
}

impl Feedback {
    /// The time from the attempt's start to its end, however it ended.
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

/// An attempt at a server, as its host and balancer see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SentAttempt {
    /// The server.
    pub server: ServerId,
    /// When it was sent, as [`Host::commit`](crate::call::Host::commit) was told.
    pub at: Instant,
    /// Its number in its call, which is the number of attempts before it.
    pub attempt: AttemptId,
    /// How many attempts may follow the call's first.
    pub max_retry: u8,
    /// The call's timeout.
    pub timeout: Timeout,
}

impl SentAttempt {
    /// The same attempt, which ended at `now`.
    #[must_use]
    pub const fn finished(self, now: Instant, feedback: Feedback, code: Code) -> Finished {
        Finished { sent: self, now, feedback, code }
    }
}

/// An attempt that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Finished {
    /// The attempt.
    pub sent: SentAttempt,
    /// When it ended.
    pub now: Instant,
    /// How it went.
    pub feedback: Feedback,
    /// Why it failed; [`Code::NONE`] if it did not.
    pub code: Code,
}

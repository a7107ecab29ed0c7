//! What a call asks its driver to do, and what the driver tells it.

use crate::id::{AttemptId, ServerId};
use crate::outcome::{End, Judgement, Kind, Verdict};
use crate::time::{Instant, Micros};

/// What to do next, as [`Call::poll`](super::Call::poll) answers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Action {
    /// Send the request.
    Start(Start),
    /// The call no longer needs this attempt: drop, drain or reset it. Comes only after the call has ended.
    Abandon {
        /// The attempt.
        attempt: AttemptId,
    },
    /// There is nothing to do before something happens.
    Wait {
        /// Poll again at this instant at the latest; `None`: only when something happens.
        until: Option<Instant>,
    },
    /// The call is over; its [`Report`](super::Report) tells the rest.
    Done(End),
}

/// An attempt to be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Start {
    /// Which attempt; hand it back with the result.
    pub attempt: AttemptId,
    /// Why it is started.
    pub kind: Kind,
    /// Where it goes.
    pub server: ServerId,
    /// The time that is left until the deadline, now ([L2](crate::rules#L2)); `None` without a deadline.
    pub remaining: Option<Micros>,
    /// When the connection must be established at the latest: never after the deadline. `None`: no limit.
    pub connect_deadline: Option<Instant>,
}

/// What has happened, as [`Call::handle`](super::Call::handle) takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Input {
    /// An attempt has a result.
    Finished {
        /// Which attempt.
        attempt: AttemptId,
        /// What its result means.
        judgement: Judgement,
    },
    /// The caller no longer wants an answer ([L12](crate::rules#L12)).
    Cancel,
}

impl Input {
    /// An attempt's result that consists of the verdict alone.
    #[must_use]
    pub const fn finished(attempt: AttemptId, verdict: Verdict) -> Self {
        Self::Finished { attempt, judgement: Judgement::new(verdict, crate::outcome::Code::NONE) }
    }
}

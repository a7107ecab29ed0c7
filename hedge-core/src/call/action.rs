//! The messages between a call and its driver: what the call asks for ([`Action`]), and what the driver reports
//! ([`Input`]).

use crate::id::{AttemptId, ServerId};
use crate::outcome::{End, Judgement, Kind, Verdict};
use crate::time::{Instant, Micros};

/// The next thing that a driver should do. [`Call::poll`](super::Call::poll) returns this type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Action {
    /// Send the request as this attempt.
    Start(Start),
    /// The call no longer needs this attempt: the driver should drop, drain or reset it. This action comes only after
    /// the call has ended.
    Abandon {
        /// The attempt to abandon.
        attempt: AttemptId,
    },
    /// The call waits for a result or for a timer.
    Wait {
        /// The latest instant at which the driver should poll again. If it is `None`, the driver should poll again only
        /// when something happens.
        until: Option<Instant>,
    },
    /// The call is over. The call's [`Report`](super::Report) has the details.
    Done(End),
}

/// An attempt that the driver should start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Start {
    /// The attempt's number. The driver passes this number back together with the result.
    pub attempt: AttemptId,
    /// Whether this is a first attempt, a retry or a backup.
    pub kind: Kind,
    /// The server to which the request should be sent.
    pub server: ServerId,
    /// The time from the start of the attempt to the deadline ([L2](crate::rules#L2)). It is `None` if the call has no
    /// deadline.
    pub remaining: Option<Micros>,
    /// The latest instant at which the connection must be established. It is never after the deadline. `None` means
    /// that there is no limit.
    pub connect_deadline: Option<Instant>,
}

/// An input of a call, such as the result of an attempt. The driver passes it to [`Call::handle`](super::Call::handle).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Input {
    /// An attempt has a result.
    Finished {
        /// The attempt's number.
        attempt: AttemptId,
        /// The verdict on the attempt's result, with the reason.
        judgement: Judgement,
    },
    /// The caller no longer wants an answer ([L12](crate::rules#L12)).
    Cancel,
}

impl Input {
    /// Makes the input for a finished attempt from the verdict alone, without an error code and without a pushback.
    #[must_use]
    pub const fn finished(attempt: AttemptId, verdict: Verdict) -> Self {
        Self::Finished { attempt, judgement: Judgement::new(verdict, crate::outcome::Code::NONE) }
    }
}

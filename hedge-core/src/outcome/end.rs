//! How a call ended: [`End`].

use core::fmt;

/// The way in which a call ended ([L16](crate::rules#L16)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum End {
    /// A result was accepted. [`Report::winner`](crate::call::Report::winner) returns its attempt.
    Accepted,
    /// No attempt was accepted, and no further attempt is possible. The call's error is the last failure.
    Failed,
    /// The verdict on an attempt was `Fatal`, which ends the call at once.
    Fatal,
    /// The deadline passed before a result was accepted.
    Deadline,
    /// The caller cancelled or dropped the call.
    Cancelled,
    /// No attempt was started, because the list of servers is empty.
    NoServer,
    /// No attempt was started, because all servers of the list are down.
    AllDown,
    /// No attempt was started, because every server that is not down is full. A full server has as many attempts in
    /// flight as its cap allows ([L22](crate::rules#L22)).
    AllFull,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Fatal => "refused for good",
            Self::Deadline => "deadline passed",
            Self::Cancelled => "cancelled",
            Self::NoServer => "no server",
            Self::AllDown => "all servers down",
            Self::AllFull => "all servers full",
        })
    }
}

//! How a call ended: [`End`].

use core::fmt;

/// How a call ended ([L16](crate::rules#L16)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum End {
    /// A result was accepted: [`Report::winner`](crate::call::Report::winner).
    Accepted,
    /// No attempt was accepted and no further one is possible: the last failure is the call's.
    Failed,
    /// An attempt's verdict was `Fatal`.
    Fatal,
    /// The deadline passed.
    Deadline,
    /// The caller cancelled, or dropped the call.
    Cancelled,
    /// Nothing was started: the list of servers is empty.
    NoServer,
    /// Nothing was started: there are servers, and all are down.
    AllDown,
    /// Nothing was started: every server that is not down has as many attempts in flight as it may have
    /// ([L22](crate::rules#L22)).
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

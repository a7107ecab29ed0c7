//! Why a call sent no backup: [`NotHedged`].

use core::fmt;

use super::Denial;

/// Why a call sent no backup ([L19](crate::rules#L19)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NotHedged {
    /// No backup was asked for.
    Disabled,
    /// The call is one-way, a stream or a datagram ([L15](crate::rules#L15)).
    NotHedgeable,
    /// The request must not be sent twice.
    NotIdempotent,
    /// The delay is not below the timeout.
    DelayPastDeadline,
    /// No extra attempt is allowed, or retries used them up.
    NoAttemptLeft,
    /// There is no other address to send it to.
    NoOtherServer,
    /// Backups are only counted, and one would have been sent.
    Shadow,
    /// A limit refused.
    Denied(Denial),
    /// A server asked for a later backup, or for none ([R4](crate::rules#R4)).
    Pushback,
    /// The call ended before its timer fired, or started nothing at all.
    FinishedFirst,
}

impl fmt::Display for NotHedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled"),
            Self::NotHedgeable => f.write_str("not hedgeable"),
            Self::NotIdempotent => f.write_str("not idempotent"),
            Self::DelayPastDeadline => f.write_str("delay past deadline"),
            Self::NoAttemptLeft => f.write_str("no attempt left"),
            Self::NoOtherServer => f.write_str("no other server"),
            Self::Shadow => f.write_str("shadow"),
            Self::Denied(limit) => write!(f, "denied: {limit}"),
            Self::Pushback => f.write_str("pushback"),
            Self::FinishedFirst => f.write_str("finished first"),
        }
    }
}

//! The reason why a call sent no backup: [`NotHedged`].

use core::fmt;

use super::Denial;

/// The reason why a call sent no backup ([L19](crate::rules#L19)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NotHedged {
    /// The options ask for no backup.
    Disabled,
    /// The call is one-way, a stream or a datagram ([L15](crate::rules#L15)).
    NotHedgeable,
    /// The call is not idempotent, so its request may not be sent twice ([L15](crate::rules#L15)).
    NotIdempotent,
    /// The backup would be due at or after the deadline.
    DelayPastDeadline,
    /// No extra attempt was left: `max_retry` is 0, or retries have used all of them.
    NoAttemptLeft,
    /// There was no other address to which the backup could be sent.
    NoOtherServer,
    /// Backups are in shadow mode: they are only counted. Without shadow mode, this call would have sent a backup.
    Shadow,
    /// A limit refused the backup.
    Denied(Denial),
    /// A server asked the client to wait, or to send no further attempt ([R4](crate::rules#R4)).
    Pushback,
    /// The call ended before its backup timer fired, or it started nothing at all.
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

//! Who may send a backup, and when: the user's own hook (B2).

use core::fmt;

use crate::call::{Attempt, End};
use crate::time::{Duration, Instant};

/// After how long a call that has not been answered is sent to another server too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BackupDelay {
    /// No backup.
    #[default]
    Disabled,
    /// So long after the call's start; zero asks right after the first attempt started.
    After(Duration),
}

/// Which limit refused a backup or a retry, for the report and the counters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Denial {
    /// The user's own policy.
    Policy,
    /// A limit on the ratio of backups to calls.
    Ratio,
    /// A token bucket.
    Tokens,
    /// A retry budget.
    Budget,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "policy",
            Self::Ratio => "ratio",
            Self::Tokens => "tokens",
            Self::Budget => "budget",
        })
    }
}

/// What a policy is told when a call ended.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Ended<'a> {
    /// How it ended.
    pub end: End,
    /// When it ended.
    pub at: Instant,
    /// How long it took.
    pub elapsed: Duration,
    /// Its attempts, in the order of their starts.
    pub attempts: &'a [Attempt],
}

impl<'a> Ended<'a> {
    pub(crate) const fn new(end: End, at: Instant, elapsed: Duration, attempts: &'a [Attempt]) -> Self {
        Self { end, at, elapsed, attempts }
    }
}

/// The user's own hook on backups (B2): the delay, whether to send now, and a notice at every call's end.
///
/// One policy may serve several channels and is shared by threads: keep state in atomics. Every method has a default that
/// changes nothing. Which policy and delay count follows B1: the call's own, then the channel's; within each the policy
/// before the plain delay. The policy that counts for a call is also the one that is told of its end.
pub trait BackupPolicy {
    /// The delay for this call; `None` inherits the plain delay of the same level, then the channel's. Asked once, when
    /// the call starts.
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        let _ = now;
        None
    }

    /// Whether a backup may be sent now. Asked when the timer fires and a server is at hand (L5); granting counts.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Whether a retry may be sent now. Asked when it is due and a server is at hand; granting counts.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// A call that was polled at least once has ended, in whatever way: told once a call, not once an attempt.
    fn ended(&self, call: &Ended<'_>) {
        let _ = call;
    }
}

impl<P: BackupPolicy + ?Sized> BackupPolicy for &P {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        (**self).delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        (**self).may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        (**self).may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        (**self).ended(call);
    }
}

/// No policy: the plain delay counts, and nothing is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoPolicy;

impl BackupPolicy for NoPolicy {}

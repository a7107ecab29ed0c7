//! Which limit refused what: [`Denial`] and [`Extra`].

use core::fmt;

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
    /// A budget for retries and backups.
    Budget,
    /// The bound on the extra load of an adaptive delay.
    ExtraLoad,
}

impl Denial {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Policy, Self::Ratio, Self::Tokens, Self::Budget, Self::ExtraLoad];
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "policy",
            Self::Ratio => "ratio",
            Self::Tokens => "tokens",
            Self::Budget => "budget",
            Self::ExtraLoad => "extra_load",
        })
    }
}

/// What kind of attempt a permission is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Extra {
    /// After a failure.
    Retry,
    /// Because no answer had come in time.
    Backup,
}

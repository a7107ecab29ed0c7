//! The limit that refused an extra attempt ([`Denial`]), and the kind of the attempt ([`Extra`]).

use core::fmt;

/// The limit that refused a backup or a retry. Reports and counters use this type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Denial {
    /// The user's own policy refused the attempt.
    Policy,
    /// A limit on the ratio of backups to calls refused the attempt.
    Ratio,
    /// A token bucket refused the attempt.
    Tokens,
    /// A budget for retries and backups refused the attempt.
    Budget,
    /// The bound on the extra load of an adaptive delay refused the attempt.
    ExtraLoad,
}

impl Denial {
    /// All denials. Counters with one entry for each denial use this list.
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

/// The kinds of extra attempt that need a permission.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Extra {
    /// A retry, which follows a failure.
    Retry,
    /// A backup, which is sent if no answer has come within the delay.
    Backup,
}

//! Numbers for the attempts of a call: [`AttemptId`].

use core::fmt;

/// The number of an attempt within its call. Attempts are numbered in the order of their starts; the first is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AttemptId(u8);

impl AttemptId {
    /// The first attempt of every call.
    pub const FIRST: Self = Self(0);

    pub(crate) const fn new(index: u8) -> Self {
        Self(index)
    }

    pub(crate) const fn get(self) -> u8 {
        self.0
    }

    /// Returns the attempt's index in [`Report::attempts`](crate::call::Report::attempts).
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

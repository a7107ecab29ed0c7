//! What is wrong with a limit's options.

use core::fmt;

/// An option that a limit cannot have.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitError {
    /// Which limit of several, as in `limits.ratio.`; empty where there is one alone.
    pub limit: &'static str,
    /// Its name.
    pub field: &'static str,
    /// What it was.
    pub value: f64,
    /// What it may be, in mathematical notation.
    pub range: &'static str,
}

impl LimitError {
    pub(crate) const fn new(field: &'static str, value: f64, range: &'static str) -> Self {
        Self { limit: "", field, value, range }
    }

    /// The same, of one limit of several.
    pub(crate) const fn of(self, limit: &'static str) -> Self {
        Self { limit, ..self }
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}: must be in {}", self.limit, self.field, self.value, self.range)
    }
}

impl core::error::Error for LimitError {}

//! What is wrong with a limit's options.

use core::fmt;

/// An option of a limit that is out of its range.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitError {
    /// The prefix of the limit, such as `limits.ratio.`, if it is one of several; otherwise empty.
    pub limit: &'static str,
    /// The name of the option.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// The range of valid values, in mathematical notation.
    pub range: &'static str,
}

impl LimitError {
    pub(crate) const fn new(field: &'static str, value: f64, range: &'static str) -> Self {
        Self { limit: "", field, value, range }
    }

    /// The same, with the prefix of one limit of several.
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

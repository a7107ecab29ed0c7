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
    pub(super) const fn new(field: &'static str, value: f64, range: &'static str) -> Self {
        Self { limit: "", field, value, range }
    }

    /// The same, with the prefix of one limit of several.
    pub(super) const fn of(self, limit: &'static str) -> Self {
        Self { limit, ..self }
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}: must be in {}", self.limit, self.field, self.value, self.range)
    }
}

impl core::error::Error for LimitError {}

/// Options that are valid, but probably not what was meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitWarning {
    /// `update_interval_seconds` is above `window_size_seconds`: between two updates of the ratio, everything that it was
    /// computed from leaves the window.
    IntervalAboveWindow {
        /// `update_interval_seconds`.
        interval_s: u32,
        /// `window_size_seconds`.
        window_s: u32,
    },
}

impl fmt::Display for LimitWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::IntervalAboveWindow { interval_s, window_s } = self;
        write!(f, "update_interval_seconds {interval_s} is above window_size_seconds {window_s}")
    }
}

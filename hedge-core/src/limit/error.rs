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
    pub(super) const fn new(field: &'static str, value: f64, range: &'static str) -> Self {
        Self { limit: "", field, value, range }
    }

    /// The same, of one limit of several.
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

/// Options that are valid and probably not what was meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitWarning {
    /// `update_interval_seconds` is above `window_size_seconds`: the ratio is refreshed more seldom than all that it is
    /// made of has left the window.
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

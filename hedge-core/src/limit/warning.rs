//! What is valid of a limit's options and probably not meant.

use core::fmt;

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

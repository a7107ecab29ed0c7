//! Why options of this module are refused: [`HealthError`].

use core::fmt;

use crate::time::{Duration, Micros};

/// An option that is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HealthError {
    /// A number.
    Number {
        /// Its name.
        field: &'static str,
        /// What it was.
        value: u32,
        /// What it may be, in mathematical notation.
        range: &'static str,
    },
    /// A span of time.
    Span {
        /// Its name.
        field: &'static str,
        /// What it was.
        value: Duration,
        /// What it may be, in mathematical notation.
        range: &'static str,
    },
}

impl HealthError {
    /// Checks that a number is in a range.
    pub(super) const fn number(
        field: &'static str,
        value: u32,
        least: u32,
        most: u32,
        range: &'static str,
    ) -> Result<(), Self> {
        if least <= value && value <= most { Ok(()) } else { Err(Self::Number { field, value, range }) }
    }

    /// Checks that a span is in a range.
    pub(super) const fn span(
        field: &'static str,
        value: Duration,
        least: Duration,
        most: Duration,
        range: &'static str,
    ) -> Result<(), Self> {
        let micros = Micros::from_duration(value).as_micros();
        if Micros::from_duration(least).as_micros() <= micros && micros <= Micros::from_duration(most).as_micros() {
            Ok(())
        } else {
            Err(Self::Span { field, value, range })
        }
    }
}

impl fmt::Display for HealthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { field, value, range } => write!(f, "{field} {value}: must be in {range}"),
            Self::Span { field, value, range } => write!(f, "{field} {}: must be in {range}", Micros::from(*value)),
        }
    }
}

impl core::error::Error for HealthError {}

//! Reads times from the fields of files.

use core::fmt;

use super::{Duration, Micros, Timeout, text};
use crate::field::named::{FromScalar, Scalar};

/// Reads a duration from a number of milliseconds, or from text with a unit. Returns `None` if the value is not a
/// duration.
pub(crate) fn duration(scalar: &Scalar<'_>) -> Option<Micros> {
    match *scalar {
        Scalar::Integer(millis) => u64::try_from(millis).ok()?.checked_mul(1_000).map(Micros::from_micros),
        Scalar::Float(millis) => text::of_millis(millis).filter(|_| text::is_meant_in_millis(millis)),
        Scalar::Text(value) => text::parse(value),
        Scalar::Bool(_) => None,
    }
}

/// Writes a hint if the value is a number whose unit is missing. Writes nothing for other values.
pub(crate) fn unit_is_missing(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match *scalar {
        Scalar::Float(number) => text::fraction_hint(number, f),
        Scalar::Text(value) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
            write!(f, "; write \"{value}ms\" for milliseconds")
        }
        _ => Ok(()),
    }
}

impl FromScalar for Duration {
    type Binary = Micros;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        duration(scalar).map(Micros::to_duration)
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unit_is_missing(scalar, f)
    }
}

impl FromScalar for Timeout {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        match *scalar {
            Scalar::Text(Timeout::NEVER_IN_FILES) => Some(Self::NEVER),
            // A time limit that is written as 1.5 probably means seconds.
            Scalar::Float(millis) if millis % 1.0 != 0.0 => None,
            _ => duration(scalar).filter(|limit| *limit > Micros::ZERO).map(Self::from),
        }
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unit_is_missing(scalar, f)
    }
}

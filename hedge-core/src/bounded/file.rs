use core::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Bounded, BoundedSpan, Decimal, OutOfRange, Ratio, Whole};
use crate::field::named::{FromScalar, Ranged, Scalar};
use crate::time::{Micros, field};

/// Implements serde's traits for a type. Writing writes the inner value. Reading reads the inner value and checks it.
/// The functions of `fields!` read a value by [`FromScalar`] instead.
macro_rules! held {
    ($([$($parameters:tt)*] $type:ty, $held:ty, $get:expr, $new:expr;)*) => {$(
        impl<$($parameters)*> Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let get: fn(Self) -> $held = $get;
                get(*self).serialize(serializer)
            }
        }

        impl<'de, $($parameters)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let new: fn($held) -> Result<Self, OutOfRange> = $new;
                new(<$held>::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )*};
}

held! {
    [const MIN: u32, const MAX: u32] Bounded<MIN, MAX>, u32, Self::get, Self::new;
    [const MIN_MS: u64, const MAX_MS: u64] BoundedSpan<MIN_MS, MAX_MS>, Micros, Self::micros,
        |micros| Self::new(micros.to_duration());
    [] Ratio, f64, Self::get, Self::new;
    [const MIN: u32, const MAX: u32] Decimal<MIN, MAX>, f64, Self::get, Self::new;
}

impl<const MIN: u32, const MAX: u32> FromScalar for Bounded<MIN, MAX> {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        Self::new(u32::from_scalar(scalar)?).ok()
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u32::hint(scalar, f)
    }
}

impl<const MIN: u32, const MAX: u32> Ranged for Bounded<MIN, MAX> {
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer in [{MIN}, {MAX}]")
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> FromScalar for BoundedSpan<MIN_MS, MAX_MS> {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        Self::new(field::duration(scalar)?.to_duration()).ok()
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        field::unit_is_missing(scalar, f)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Ranged for BoundedSpan<MIN_MS, MAX_MS> {
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (Whole(Self::LEAST.to_duration()), Whole(Self::MOST.to_duration()));
        write!(f, "a duration such as \"20ms\" or \"2s\", in [{least}, {most}]")
    }
}

impl FromScalar for Ratio {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        Self::new(f64::from_scalar(scalar)?).ok()
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::hint(scalar, f)
    }
}

impl Ranged for Ratio {
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in (0, 1]")
    }
}

impl<const MIN: u32, const MAX: u32> FromScalar for Decimal<MIN, MAX> {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        Self::new(f64::from_scalar(scalar)?).ok()
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::hint(scalar, f)
    }
}

impl<const MIN: u32, const MAX: u32> Ranged for Decimal<MIN, MAX> {
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number in [{}, {}]", Self::LEAST, Self::MOST)
    }
}

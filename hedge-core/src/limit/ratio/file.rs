use core::fmt;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::{RatioBurst, RatioWindow, UpdateInterval};
use crate::bounded::{BoundedSpan, Ratio};
use crate::field::named::{FromScalar, Ranged, Scalar, fields};
use crate::time::Duration;

/// A span of time that a file gives as a whole number of seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Seconds<const MIN_MS: u64, const MAX_MS: u64>(BoundedSpan<MIN_MS, MAX_MS>);

impl<const MIN_MS: u64, const MAX_MS: u64> Seconds<MIN_MS, MAX_MS> {
    /// Returns the span.
    #[must_use]
    pub const fn span(self) -> BoundedSpan<MIN_MS, MAX_MS> {
        self.0
    }

    fn new(seconds: u32) -> Option<Self> {
        BoundedSpan::new(Duration::from_secs(seconds.into())).ok().map(Self)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> FromScalar for Seconds<MIN_MS, MAX_MS> {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        Self::new(u32::from_scalar(scalar)?)
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u32::hint(scalar, f)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Ranged for Seconds<MIN_MS, MAX_MS> {
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer in [{}, {}]", MIN_MS / 1_000, MAX_MS / 1_000)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Serialize for Seconds<MIN_MS, MAX_MS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0.get();
        let seconds = u32::try_from(span.as_secs()).ok().filter(|_| span.subsec_nanos() == 0);
        let wrong =
            || ser::Error::custom("a ratio's window or interval has no form in a file: it must be in whole seconds");
        serializer.serialize_u32(seconds.ok_or_else(wrong)?)
    }
}

impl<'de, const MIN_MS: u64, const MAX_MS: u64> Deserialize<'de> for Seconds<MIN_MS, MAX_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u32::deserialize(deserializer)?;
        let wrong = || D::Error::invalid_value(Unexpected::Unsigned(seconds.into()), &"seconds in their range");
        Self::new(seconds).ok_or_else(wrong)
    }
}

/// The delay that a file gives for a ratio limit. This is brpc's `backup_request_ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RatioBackup {
    /// The file says -1: the channel's options give the delay.
    Inherited,
    /// The file gives a delay, in whole milliseconds.
    After(Duration),
}

impl RatioBackup {
    /// Returns the delay as a value of [`RatioOptions::backup`](super::RatioOptions::backup): `None` for
    /// [`Inherited`](Self::Inherited).
    pub(crate) fn delay(self) -> Option<Duration> {
        match self {
            Self::Inherited => None,
            Self::After(delay) => Some(delay),
        }
    }

    fn new(millis: i32) -> Option<Self> {
        match u64::try_from(millis) {
            Ok(millis) => Some(Self::After(Duration::from_millis(millis))),
            Err(_) => (millis == -1).then_some(Self::Inherited),
        }
    }

    fn millis(self) -> Option<i32> {
        match self {
            Self::Inherited => Some(-1),
            Self::After(delay) if delay.subsec_nanos() % 1_000_000 == 0 => i32::try_from(delay.as_millis()).ok(),
            Self::After(_) => None,
        }
    }
}

impl FromScalar for RatioBackup {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        Self::new(i32::from_scalar(scalar)?)
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        i32::hint(scalar, f)
    }
}

impl Ranged for RatioBackup {
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer in [-1, 2147483647]")
    }
}

impl Serialize for RatioBackup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wrong = || ser::Error::custom("a ratio's backup has no form in a file: it must be in whole milliseconds");
        serializer.serialize_i32(self.millis().ok_or_else(wrong)?)
    }
}

impl<'de> Deserialize<'de> for RatioBackup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = i32::deserialize(deserializer)?;
        Self::new(millis).ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(millis.into()), &"-1 or more"))
    }
}

pub(super) fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RatioWindow, D::Error> {
    window_size_seconds(deserializer).map(Seconds::span)
}

pub(super) fn update_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UpdateInterval, D::Error> {
    update_interval_seconds(deserializer).map(Seconds::span)
}

pub(super) fn backup<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    backup_request_ms(deserializer).map(RatioBackup::delay)
}

pub(super) fn write_seconds<const MIN_MS: u64, const MAX_MS: u64, S: Serializer>(
    span: &BoundedSpan<MIN_MS, MAX_MS>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Seconds(*span).serialize(serializer)
}

pub(super) fn write_backup<S: Serializer>(delay: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    delay.map_or(RatioBackup::Inherited, RatioBackup::After).serialize(serializer)
}

fields! {
    max_backup_ratio: required, "limits.ratio.max_backup_ratio", Ratio;
    window_size_seconds: required, "limits.ratio.window_size_seconds", Seconds<1_000, 3_600_000>;
    update_interval_seconds: required, "limits.ratio.update_interval_seconds", Seconds<1_000, 4_294_967_295_000>;
    burst: required, "limits.ratio.burst", RatioBurst;
    backup_request_ms: required, "limits.ratio.backup_request_ms", RatioBackup;
}

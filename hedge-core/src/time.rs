//! Time in this crate. Programs write and read [`Duration`] of `core`. The state machine counts in whole microseconds,
//! [`Micros`], and gets the present time from its driver. No code in this crate reads a clock.
//!
//! An [`Instant`] is a point on the driver's own monotonic clock, counted from an origin that the driver chooses. Like
//! [`Micros`], it is a `u64` of microseconds, which is enough for 584,000 years. Every operation saturates, so nothing
//! overflows or panics.
//!
//! Every option, setter and result uses [`Duration`]. [`Micros`] is used only between the state machine, its driver and
//! its host: for [`Start::remaining`](crate::call::Start::remaining), for the latencies of
//! [`Feedback`](crate::outcome::Feedback) and of [`Outcome`](crate::health::Outcome), and for the data that a balancer
//! keeps for a server. A conversion in these places would cost time in every call. It would also cost flash memory on a
//! microcontroller, which has no 64-bit division.

use core::fmt;
use core::ops::{Add, Sub};

#[cfg(feature = "serde")]
pub(crate) mod field;
#[cfg(feature = "serde")]
pub(crate) mod text;
mod timeout;

pub use core::time::Duration;
pub use timeout::Timeout;

/// A point in time: microseconds since an origin that the driver chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Instant(u64);

impl Instant {
    /// The origin of the driver's clock.
    pub const ZERO: Self = Self(0);
    /// The value that means "never". It is later than every other instant.
    pub const NEVER: Self = Self(u64::MAX);
    /// The latest instant that is not [`NEVER`](Self::NEVER).
    pub(crate) const LAST: Self = Self(u64::MAX - 1);

    /// Returns the instant `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the instant `millis` milliseconds after the origin. The result saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Returns the instant `elapsed` after the origin, rounded down to a whole microsecond. Use this with a clock that
    /// measures the time since its start.
    #[must_use]
    pub const fn from_elapsed(elapsed: Duration) -> Self {
        Self(whole_micros(elapsed).saturating_add(elapsed.subsec_micros() as u64))
    }

    /// Returns how many microseconds this instant is after the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`. Returns zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.micros_since(earlier).to_duration()
    }

    /// Returns the time from `earlier` to `self` as [`Micros`], the unit of the state machine. Returns zero if
    /// `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Micros> for Instant {
    type Output = Self;

    // This function may be inlined on a host, since a function call would cost time. It is not inlined on a
    // microcontroller, where each copy would cost flash memory.
    #[cfg_attr(target_os = "none", inline(never))]
    fn add(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Returns the instant that is `span` after this instant. `span` is rounded up to a whole microsecond, so that a
    /// wait is never shortened.
    fn add(self, span: Duration) -> Self {
        self + Micros::from_duration(span)
    }
}

/// A span of time in whole microseconds. The value is a `u64`. The state machine counts in this unit. You need this
/// type to drive a call by hand, to implement a [`Host`](crate::call::Host), or to write a balancer. Other programs use
/// [`Duration`].
///
/// [`Micros::from_duration`] and [`Micros::to_duration`] convert between the two types, and so does `From`. `Debug` and
/// `Display` write the same text.
///
/// With the feature `serde`, human-readable formats hold a number of milliseconds (`20`, `1.5`) or text with a unit
/// (`"250us"`, `"1.5 ms"`, `"2s"`, `"1m"`, `"1h"`). A span is written as text in the largest unit that is exact. Binary
/// formats hold the microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(u64);

impl Micros {
    /// A span of zero length.
    pub const ZERO: Self = Self(0);
    /// The longest possible span.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns a span of `micros` microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns a span of `millis` milliseconds. The result saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Returns a span of `secs` seconds. The result saturates.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Returns `duration` in whole microseconds. It is rounded up, so that a wait is never shortened. The result
    /// saturates.
    #[must_use]
    pub const fn from_duration(duration: Duration) -> Self {
        Self(whole_micros(duration).saturating_add(duration.subsec_nanos().div_ceil(1_000) as u64))
    }

    /// Returns this span as a [`Duration`].
    #[must_use]
    pub const fn to_duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Returns the span in whole microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the span in whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns this span times `factor` / 65536, rounded down. The result saturates. The function shifts instead of
    /// dividing, since microcontrollers have no 64-bit division.
    #[inline(never)]
    pub(crate) const fn scale(self, factor: u32) -> Self {
        let (whole, rest) = (self.0 >> 16, self.0 & 0xFFFF);
        let factor = factor as u64;
        Self(whole.saturating_mul(factor).saturating_add((rest * factor) >> 16))
    }

    /// Returns this span times `fraction` / 2^32, rounded down.
    pub(crate) const fn share(self, fraction: u32) -> Self {
        let (whole, rest) = (self.0 >> 32, self.0 & 0xFFFF_FFFF);
        let fraction = fraction as u64;
        Self(whole * fraction + ((rest * fraction) >> 32))
    }
}

impl Add for Micros {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Micros {
    type Output = Self;

    // This function may be inlined on a host, since a function call would cost time. It is not inlined on a
    // microcontroller, where each copy would cost flash memory.
    #[cfg_attr(target_os = "none", inline(never))]
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Duration> for Micros {
    /// Makes the same value as [`Micros::from_duration`].
    fn from(duration: Duration) -> Self {
        Self::from_duration(duration)
    }
}

/// Returns the whole seconds of a span, in microseconds. The method `as_micros` of `core` computes in 128 bits, which
/// is too slow for a step that follows each reading of a clock.
const fn whole_micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000)
}

impl From<Micros> for Duration {
    /// Makes the same value as [`Micros::to_duration`].
    fn from(span: Micros) -> Self {
        span.to_duration()
    }
}

impl fmt::Display for Micros {
    /// Writes whole microseconds below a millisecond, and otherwise milliseconds with a decimal fraction: `250 us`,
    /// `1.5 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, rest) = (self.0 / 1_000, self.0 % 1_000);
        match (millis, rest) {
            (0, _) => write!(f, "{rest} us"),
            (_, 0) => write!(f, "{millis} ms"),
            _ => {
                let (digits, width) = match rest {
                    r if r % 100 == 0 => (r / 100, 1),
                    r if r % 10 == 0 => (r / 10, 2),
                    r => (r, 3),
                };
                write!(f, "{millis}.{digits:0width$} ms")
            }
        }
    }
}

impl fmt::Debug for Micros {
    /// Writes the same text as `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Instant {
    /// Writes the time since the driver's origin in the form of [`Micros`], or `never`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { self.micros_since(Self::ZERO).fmt(f) }
    }
}

impl fmt::Debug for Instant {
    /// Writes the same text as `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// The time is written in microseconds only, since microcontrollers have no 64-bit division.
#[cfg(feature = "defmt")]
impl defmt::Format for Micros {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=u64} us", self.0);
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Instant {
    fn format(&self, f: defmt::Formatter<'_>) {
        if *self == Self::NEVER {
            defmt::write!(f, "never");
        } else {
            defmt::write!(f, "{=u64} us", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::NEVER + Micros::from_secs(1), Instant::NEVER);
        assert_eq!(Instant::ZERO.micros_since(Instant::from_micros(5)), Micros::ZERO);
        assert_eq!(Micros::from_micros(1) - Micros::from_micros(2), Micros::ZERO);
        assert_eq!(Micros::from_secs(u64::MAX), Micros::MAX);
        assert_eq!(Micros::MAX.scale(1 << 17), Micros::MAX);
    }

    #[test]
    fn scaling_is_exact_to_a_microsecond() {
        assert_eq!(Micros::from_millis(10).scale(3 << 15), Micros::from_millis(15));
        assert_eq!(Micros::from_secs(5_000_000).scale(1 << 17), Micros::from_secs(10_000_000));
        assert_eq!(Micros::from_secs(8).share(1 << 31), Micros::from_secs(4));
        assert_eq!(Micros::MAX.share(u32::MAX).as_micros(), u64::MAX - (1 << 32));
    }

    #[test]
    fn a_conversion_never_shortens_a_wait() {
        let d: Micros = Duration::from_nanos(1_001).into();
        assert_eq!(d.as_micros(), 2);
        let elapsed = Duration::new(3, 1_999);
        assert_eq!(Instant::from_elapsed(elapsed).as_micros(), 3_000_001, "a clock has not come further than it has");
        assert_eq!(Instant::from_elapsed(Duration::MAX), Instant::NEVER);
        assert_eq!(Micros::from(Duration::MAX), Micros::MAX);
    }

    #[test]
    fn display_keeps_what_matters() {
        for (micros, text) in [
            (0, "0 us"),
            (250, "250 us"),
            (1_500, "1.5 ms"),
            (20_000, "20 ms"),
            (1_005, "1.005 ms"),
            (2_030, "2.03 ms"),
        ] {
            assert_eq!(Micros::from_micros(micros).to_string(), text);
            assert_eq!(std::format!("{:?}", Some(Micros::from_micros(micros))), std::format!("Some({text})"));
            assert_eq!(std::format!("{0} {0:?}", Instant::from_micros(micros)), std::format!("{text} {text}"));
        }
        assert_eq!(std::format!("{0} {0:?}", Instant::NEVER), "never never");
    }
}

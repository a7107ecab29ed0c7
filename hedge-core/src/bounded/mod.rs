//! Numbers, spans of time and shares that can only hold valid values. Options consist of these types, so options need
//! no further check.
//!
//! | type | holds |
//! |---|---|
//! | [`Bounded`] | a whole number from `MIN` to `MAX` |
//! | [`BoundedSpan`] | a time from `MIN_MS` to `MAX_MS` milliseconds |
//! | [`SpanRange`] | a shortest and a longest time within such bounds |
//! | [`Ratio`] | a share above 0 and up to 1 |
//! | [`Decimal`] | a number with decimals from `MIN` to `MAX` millionths |
//!
//! The compiler checks constants. The bounds of a constant follow from the type of the field. A value from outside the
//! program is checked once, by `new`.
//!
//! ```
//! use hedge_core::bounded::Bounded;
//! use hedge_core::health::FailureOptions;
//!
//! let options = FailureOptions { failures: Bounded::of::<3>(), ..FailureOptions::DEFAULT };
//! assert_eq!(options.failures.get(), 3);
//! let read = 0;
//! let error = Bounded::<1, 100>::new(read).unwrap_err();
//! assert_eq!(error.to_string(), "0: must be in [1, 100]");
//! ```
//!
//! A constant that is out of its bounds does not compile:
//!
//! ```compile_fail
//! let percent: hedge_core::bounded::Bounded<1, 100> = hedge_core::bounded::Bounded::of::<0>();
//! ```

// The bounds of a public field must be literals. If a bound is a named constant or a block, rustc 1.95 and earlier fail
// ("broken MIR") at a closure that captures fields of options, such as `|| Options { mode, ..base }`.

use core::fmt;

use crate::time::{Duration, Micros};

/// A whole number in \[`MIN`, `MAX`\].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// Makes the value from a number that is known only at run time. The number is checked.
    ///
    /// # Errors
    /// Returns an error if the number is out of its bounds.
    pub const fn new(value: u32) -> Result<Self, OutOfRange> {
        if MIN <= value && value <= MAX {
            Ok(Self(value))
        } else {
            Err(OutOfRange::Number { value, least: MIN, most: MAX })
        }
    }

    /// Makes the value from the constant `N`. The compiler checks that `N` is within the bounds.
    #[must_use]
    pub const fn of<const N: u32>() -> Self {
        const { assert!(MIN <= N && N <= MAX, "the number is out of its bounds") };
        Self(N)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Display for Bounded<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Debug for Bounded<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A span of time in \[`MIN_MS`, `MAX_MS`\], in milliseconds. The span is stored in whole microseconds; a fraction of a
/// microsecond is rounded up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundedSpan<const MIN_MS: u64, const MAX_MS: u64>(Micros);

impl<const MIN_MS: u64, const MAX_MS: u64> BoundedSpan<MIN_MS, MAX_MS> {
    const LEAST: Micros = Micros::from_millis(MIN_MS);
    const MOST: Micros = Micros::from_millis(MAX_MS);

    /// Makes the value from a span that is known only at run time. The span is checked.
    ///
    /// # Errors
    /// Returns an error if the span is out of its bounds.
    pub const fn new(span: Duration) -> Result<Self, OutOfRange> {
        let micros = Micros::from_duration(span);
        if Self::LEAST.as_micros() <= micros.as_micros() && micros.as_micros() <= Self::MOST.as_micros() {
            Ok(Self(micros))
        } else {
            let (least, most) = (Self::LEAST.to_duration(), Self::MOST.to_duration());
            Err(OutOfRange::Span { value: span, least, most })
        }
    }

    /// Makes the span of `MS` milliseconds. The compiler checks that the span is within the bounds.
    #[must_use]
    pub const fn of_millis<const MS: u64>() -> Self {
        const { assert!(MIN_MS <= MS && MS <= MAX_MS, "the span is out of its bounds") };
        Self(Micros::from_millis(MS))
    }

    /// Makes the span of `S` seconds. The compiler checks that the span is within the bounds.
    #[must_use]
    pub const fn of_secs<const S: u64>() -> Self {
        const { assert!(MIN_MS <= S * 1_000 && S * 1_000 <= MAX_MS, "the span is out of its bounds") };
        Self(Micros::from_secs(S))
    }

    /// Returns the span.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0.to_duration()
    }

    pub(crate) const fn micros(self) -> Micros {
        self.0
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> fmt::Display for BoundedSpan<MIN_MS, MAX_MS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> fmt::Debug for BoundedSpan<MIN_MS, MAX_MS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of time spans, given by the shortest and the longest span. Both spans are in \[`MIN_MS`, `MAX_MS`\], in
/// milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SpanRange<const MIN_MS: u64, const MAX_MS: u64> {
    min: BoundedSpan<MIN_MS, MAX_MS>,
    max: BoundedSpan<MIN_MS, MAX_MS>,
}

impl<const MIN_MS: u64, const MAX_MS: u64> SpanRange<MIN_MS, MAX_MS> {
    /// Makes the range from two spans that are known only at run time. The spans are checked.
    ///
    /// # Errors
    /// Returns an error if a span is out of its bounds, or if `min` is above `max`.
    pub const fn new(min: Duration, max: Duration) -> Result<Self, OutOfRange> {
        match (BoundedSpan::new(min), BoundedSpan::new(max)) {
            (Ok(min), Ok(max)) => Self::between(min, max),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Makes the range from two spans that are already known to be within the bounds.
    ///
    /// # Errors
    /// Returns an error if `min` is above `max`.
    pub const fn between(
        min: BoundedSpan<MIN_MS, MAX_MS>,
        max: BoundedSpan<MIN_MS, MAX_MS>,
    ) -> Result<Self, OutOfRange> {
        if min.0.as_micros() <= max.0.as_micros() {
            Ok(Self { min, max })
        } else {
            Err(OutOfRange::MinAboveMax { min: min.get(), max: max.get() })
        }
    }

    /// Makes the range from `MIN` to `MAX` milliseconds. The compiler checks that both are within the bounds, and that
    /// `MIN` is not above `MAX`.
    #[must_use]
    pub const fn of_millis<const MIN: u64, const MAX: u64>() -> Self {
        const { assert!(MIN <= MAX, "the shortest span is above the longest") };
        Self { min: BoundedSpan::of_millis::<MIN>(), max: BoundedSpan::of_millis::<MAX>() }
    }

    /// Returns the shortest span.
    #[must_use]
    pub const fn min(self) -> BoundedSpan<MIN_MS, MAX_MS> {
        self.min
    }

    /// Returns the longest span.
    #[must_use]
    pub const fn max(self) -> BoundedSpan<MIN_MS, MAX_MS> {
        self.max
    }
}

const MILLION: u32 = 1_000_000;

/// A share in (0, 1].
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// The largest share: 1.
    pub const WHOLE: Self = Self(1.0);

    /// Makes the share from a number that is known only at run time. The number is checked.
    ///
    /// # Errors
    /// Returns an error if the number is not above 0, or if it is above 1.
    pub const fn new(value: f64) -> Result<Self, OutOfRange> {
        if 0.0 < value && value <= 1.0 { Ok(Self(value)) } else { Err(OutOfRange::Ratio { value }) }
    }

    /// Makes the share of `N` per cent. The compiler checks that the share is above 0 and at most 1.
    #[must_use]
    pub const fn of_percent<const N: u32>() -> Self {
        const { assert!(0 < N && N <= 100, "the share is out of its bounds") };
        Self(N as f64 / 100.0)
    }

    /// Returns the share, above 0 and at most 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A number with decimals, from `MIN` to `MAX` millionths.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Decimal<const MIN: u32, const MAX: u32>(f64);

impl<const MIN: u32, const MAX: u32> Decimal<MIN, MAX> {
    const LEAST: f64 = MIN as f64 / MILLION as f64;
    const MOST: f64 = MAX as f64 / MILLION as f64;

    /// Makes the value from a number that is known only at run time. The number is checked.
    ///
    /// # Errors
    /// Returns an error if the number is out of its bounds.
    pub const fn new(value: f64) -> Result<Self, OutOfRange> {
        let (least, most) = (Self::LEAST, Self::MOST);
        if least <= value && value <= most { Ok(Self(value)) } else { Err(OutOfRange::Decimal { value, least, most }) }
    }

    /// Makes the number of `N` thousandths. The compiler checks that the number is within the bounds.
    #[must_use]
    pub const fn of_thousandths<const N: u32>() -> Self {
        const { assert!(MIN / 1_000 <= N && N <= MAX / 1_000, "the number is out of its bounds") };
        Self(N as f64 / 1_000.0)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Display for Decimal<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Debug for Decimal<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The error for a value that is out of its bounds.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OutOfRange {
    /// A whole number is out of its bounds.
    Number {
        /// The value that was rejected.
        value: u32,
        /// The smallest valid number.
        least: u32,
        /// The largest valid number.
        most: u32,
    },
    /// A span of time is out of its bounds.
    Span {
        /// The value that was rejected.
        value: Duration,
        /// The shortest valid span.
        least: Duration,
        /// The longest valid span.
        most: Duration,
    },
    /// The shortest span of a [`SpanRange`] is longer than its longest span.
    MinAboveMax {
        /// The shortest span.
        min: Duration,
        /// The longest span.
        max: Duration,
    },
    /// The number for a [`Ratio`] is not above 0, or is above 1.
    Ratio {
        /// The value that was rejected.
        value: f64,
    },
    /// A number with decimals is out of its bounds.
    Decimal {
        /// The value that was rejected.
        value: f64,
        /// The smallest valid number.
        least: f64,
        /// The largest valid number.
        most: f64,
    },
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Number { value, least, most } => write!(f, "{value}: must be in [{least}, {most}]"),
            Self::Span { value, least, most } => {
                write!(f, "{}: must be in [{}, {}]", Micros::from(value), Whole(least), Whole(most))
            }
            Self::MinAboveMax { min, max } => {
                write!(f, "min {}: must not be above max, which is {}", Micros::from(min), Micros::from(max))
            }
            Self::Ratio { value } => write!(f, "{value}: must be in (0, 1]"),
            Self::Decimal { value, least, most } => write!(f, "{value}: must be in [{least}, {most}]"),
        }
    }
}

impl core::error::Error for OutOfRange {}

/// Formats a span as a whole number of hours or seconds if it is one. Otherwise formats it as [`Micros`] does.
struct Whole(Duration);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (0, 0) => f.write_str("0"),
            (secs, 0) if secs.is_multiple_of(3_600) => write!(f, "{} h", secs / 3_600),
            (secs, 0) => write!(f, "{secs} s"),
            _ => Micros::from(self.0).fmt(f),
        }
    }
}

#[cfg(feature = "defmt")]
mod log {
    use super::{Bounded, BoundedSpan, Decimal, Ratio};

    impl<const MIN: u32, const MAX: u32> defmt::Format for Bounded<MIN, MAX> {
        fn format(&self, f: defmt::Formatter<'_>) {
            defmt::write!(f, "{=u32}", self.0);
        }
    }

    impl<const MIN_MS: u64, const MAX_MS: u64> defmt::Format for BoundedSpan<MIN_MS, MAX_MS> {
        fn format(&self, f: defmt::Formatter<'_>) {
            self.0.format(f);
        }
    }

    impl defmt::Format for Ratio {
        fn format(&self, f: defmt::Formatter<'_>) {
            defmt::write!(f, "{=f64}", self.0);
        }
    }

    impl<const MIN: u32, const MAX: u32> defmt::Format for Decimal<MIN, MAX> {
        fn format(&self, f: defmt::Formatter<'_>) {
            defmt::write!(f, "{=f64}", self.0);
        }
    }
}

/// Reads bounded values from files and writes bounded values to files, as plain numbers or durations.
#[cfg(feature = "serde")]
mod file;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn both_bounds_are_in_and_what_is_next_to_them_is_out() {
        type Number = Bounded<2, 64>;
        assert_eq!((Number::new(2), Number::new(64)), (Ok(Bounded::of::<2>()), Ok(Bounded::of::<64>())));
        for (value, text) in [(1, "1: must be in [2, 64]"), (65, "65: must be in [2, 64]")] {
            assert_eq!(Number::new(value).unwrap_err().to_string(), text);
        }
        type Span = BoundedSpan<10, 3_600_000>;
        assert_eq!(Span::new(MS(10)), Ok(BoundedSpan::of_millis::<10>()));
        assert_eq!(Span::new(Duration::from_secs(3_600)), Ok(BoundedSpan::of_secs::<3_600>()));
        for (value, text) in [
            (Duration::from_micros(9_999), "9.999 ms: must be in [10 ms, 1 h]"),
            (Duration::ZERO, "0 us: must be in [10 ms, 1 h]"),
            (Duration::new(3_600, 1), "3600000.001 ms: must be in [10 ms, 1 h]"),
        ] {
            assert_eq!(Span::new(value).unwrap_err().to_string(), text);
        }
        type Share = Decimal<1_000, 1_000_000_000>;
        assert_eq!(
            (Share::new(0.001).map(Decimal::get), Share::new(1_000.0).map(Decimal::get)),
            (Ok(0.001), Ok(1_000.0))
        );
        for (value, text) in [(0.0009, "0.0009: must be in [0.001, 1000]"), (f64::NAN, "NaN: must be in [0.001, 1000]")]
        {
            assert_eq!(Share::new(value).unwrap_err().to_string(), text);
        }
        assert_eq!(Ratio::new(1.0), Ok(Ratio::WHOLE));
        assert_eq!(Ratio::new(f64::MIN_POSITIVE).map(Ratio::get), Ok(f64::MIN_POSITIVE));
        for (value, text) in [(0.0, "0: must be in (0, 1]"), (1.1, "1.1: must be in (0, 1]")] {
            assert_eq!(Ratio::new(value).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_shortest_span_is_not_above_the_longest() {
        type Spans = SpanRange<10, 60_000>;
        let same = Spans::new(MS(10), MS(10)).unwrap();
        assert_eq!((same, same.min()), (SpanRange::of_millis::<10, 10>(), same.max()));
        for (min, max, text) in [
            (20, 19, "min 20 ms: must not be above max, which is 19 ms"),
            (9, 19, "9 ms: must be in [10 ms, 60 s]"),
            (10, 60_001, "60001 ms: must be in [10 ms, 60 s]"),
        ] {
            assert_eq!(Spans::new(MS(min), MS(max)).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn what_the_program_knows_is_the_nearest_float() {
        assert_eq!(Ratio::of_percent::<10>().get(), 0.1);
        assert_eq!(Ratio::of_percent::<100>(), Ratio::WHOLE);
        assert_eq!(Decimal::<0, 10_000_000>::of_thousandths::<200>().get(), 0.2);
    }
}

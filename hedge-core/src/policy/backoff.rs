//! How long to wait between a failure and its retry (R3).

use core::fmt;

use crate::time::Duration;

/// How long a retry waits after the failure that asks for it (R3). The call skips a wait that would not leave it time (L18).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Backoff {
    /// Retry at once.
    #[default]
    None,
    /// Always the same wait.
    Fixed(Duration),
    /// Uniform in `min..=max`. Made by [`Backoff::jittered`].
    Jittered {
        /// The shortest wait.
        min: Duration,
        /// The longest wait; at least `min`.
        max: Duration,
    },
    /// `min(initial * multiplier^(n-1), max)` before the n-th retry, times a uniform factor in 0.8..=1.2, as gRPC's A6
    /// does. Made by [`Backoff::exponential`].
    Exponential {
        /// The wait before the first retry, before the factor.
        initial: Duration,
        /// The growth a retry, in thousandths; at least 1000.
        multiplier_milli: u32,
        /// No wait is longer, before the factor.
        max: Duration,
    },
}

impl Backoff {
    /// Uniform in `min..=max`.
    ///
    /// # Errors
    /// [`BackoffError::MinAboveMax`].
    pub const fn jittered(min: Duration, max: Duration) -> Result<Self, BackoffError> {
        let backoff = Self::Jittered { min, max };
        match backoff.validate() {
            Ok(()) => Ok(backoff),
            Err(error) => Err(error),
        }
    }

    /// Exponential from `initial` to `max`, growing by `multiplier_milli / 1000` a retry (1600 is gRPC's 1.6).
    ///
    /// # Errors
    /// [`BackoffError::MultiplierBelowOne`] and [`BackoffError::MinAboveMax`].
    pub const fn exponential(initial: Duration, multiplier_milli: u32, max: Duration) -> Result<Self, BackoffError> {
        let backoff = Self::Exponential { initial, multiplier_milli, max };
        match backoff.validate() {
            Ok(()) => Ok(backoff),
            Err(error) => Err(error),
        }
    }

    /// Checks what the constructors promise, for a value that was written out or read from a file.
    ///
    /// # Errors
    /// The first rule that does not hold.
    #[inline(never)]
    pub const fn validate(&self) -> Result<(), BackoffError> {
        match self {
            Self::Jittered { min, max } if min.as_micros() > max.as_micros() => Err(BackoffError::MinAboveMax),
            Self::Exponential { multiplier_milli, .. } if *multiplier_milli < 1000 => {
                Err(BackoffError::MultiplierBelowOne)
            }
            Self::Exponential { initial, max, .. } if initial.as_micros() > max.as_micros() => {
                Err(BackoffError::MinAboveMax)
            }
            _ => Ok(()),
        }
    }

    /// The wait before retry number `retry` (from 1), drawing from `random` only where chance plays a part.
    pub(crate) fn delay(&self, retry: u8, random: impl FnOnce() -> u32) -> Duration {
        // 0.8 and 1.2 in 65536ths.
        const LOW: u32 = 52_429;
        const HIGH: u32 = 78_644;
        let (min, max) = match *self {
            Self::None => return Duration::ZERO,
            Self::Fixed(delay) => return delay,
            Self::Jittered { min, max } => (min, max),
            Self::Exponential { initial, multiplier_milli, max } => {
                let mut delay = initial;
                for _ in 1..retry {
                    delay = delay.scale(fixed_point(multiplier_milli));
                    if delay >= max {
                        break;
                    }
                }
                let delay = delay.min(max);
                (delay.scale(LOW), delay.scale(HIGH))
            }
        };
        min + (max - min + Duration::from_micros(1)).share(random())
    }
}

/// Thousandths as 65536ths, rounded down; saturates.
const fn fixed_point(milli: u32) -> u32 {
    let (whole, rest) = (milli / 1_000, milli % 1_000);
    let whole = if whole > 0xFFFF { 0xFFFF } else { whole };
    (whole << 16) | ((rest << 16) / 1_000)
}

/// What is wrong with a [`Backoff`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BackoffError {
    /// The shortest or initial wait is longer than the longest.
    MinAboveMax,
    /// The multiplier is below 1000 thousandths: waits would shrink.
    MultiplierBelowOne,
}

impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinAboveMax => "backoff: the shortest wait is longer than the longest",
            Self::MultiplierBelowOne => "backoff: the multiplier is below 1000 thousandths",
        })
    }
}

impl core::error::Error for BackoffError {}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn r3_fixed_and_none_draw_nothing() {
        let never = || -> u32 { panic!("drew a random number") };
        assert_eq!(Backoff::None.delay(1, never), Duration::ZERO);
        assert_eq!(Backoff::Fixed(MS(7)).delay(3, never), MS(7));
    }

    #[test]
    fn r3_jitter_covers_its_range_and_no_more() {
        let backoff = Backoff::jittered(MS(10), MS(20)).unwrap();
        assert_eq!(backoff.delay(1, || 0), MS(10));
        assert_eq!(backoff.delay(1, || u32::MAX), MS(20));
        let whole = Backoff::jittered(Duration::ZERO, Duration::MAX).unwrap();
        assert!(whole.delay(1, || u32::MAX) > Duration::from_secs(1));
    }

    #[test]
    fn r3_exponential_grows_to_its_maximum_within_a_fifth() {
        let backoff = Backoff::exponential(MS(10), 2_000, MS(35)).unwrap();
        let middle = || 1 << 31;
        for (retry, expected) in [(1, 10), (2, 20), (3, 35), (4, 35), (255, 35)] {
            assert_eq!(backoff.delay(retry, middle).as_millis(), expected, "retry {retry}");
        }
        assert_eq!(backoff.delay(1, || 0), MS(8));
        assert_eq!(backoff.delay(1, || u32::MAX), MS(12));
        let huge = Backoff::exponential(Duration::MAX, u32::MAX, Duration::MAX).unwrap();
        assert!(huge.delay(200, || u32::MAX) > Duration::from_secs(1_000));
    }

    #[test]
    fn bad_bounds_are_named() {
        assert_eq!(Backoff::jittered(MS(2), MS(1)), Err(BackoffError::MinAboveMax));
        assert_eq!(Backoff::exponential(MS(1), 999, MS(2)), Err(BackoffError::MultiplierBelowOne));
        assert_eq!(Backoff::exponential(MS(3), 1_000, MS(2)), Err(BackoffError::MinAboveMax));
        extern crate std;
        use std::string::ToString;
        let text = BackoffError::MinAboveMax.to_string();
        assert_eq!(text, "backoff: the shortest wait is longer than the longest");
        let text = BackoffError::MultiplierBelowOne.to_string();
        assert_eq!(text, "backoff: the multiplier is below 1000 thousandths");
    }
}

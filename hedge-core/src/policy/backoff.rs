//! How long to wait between a failure and its retry (R3).

use core::fmt;

use crate::time::Duration;

/// How long a retry waits after the failure that asks for it ([R3](crate::rules#R3)). The call skips a wait that would not
/// leave it time ([L18](crate::rules#L18)).
///
/// In a file: `"none"`, or a map with one key such as `{"fixed": "1ms"}` or `{"jittered": {"min": "1ms", "max": "2ms"}}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
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
        /// The growth from one retry to the next, in thousandths; at least 1000.
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

    /// Checks what the constructors guarantee, for a value that was built field by field or read from a file.
    ///
    /// # Errors
    /// The first rule that does not hold.
    #[inline(never)]
    pub const fn validate(&self) -> Result<(), BackoffError> {
        match *self {
            Self::Exponential { multiplier_milli, .. } if multiplier_milli < 1000 => {
                Err(BackoffError::MultiplierBelowOne)
            }
            Self::Exponential { initial, max, .. } if initial.as_micros() > max.as_micros() => {
                Err(BackoffError::InitialAboveMax)
            }
            Self::Jittered { min, max } if min.as_micros() > max.as_micros() => Err(BackoffError::MinAboveMax),
            _ => Ok(()),
        }
    }

    /// The wait before retry number `retry` (from 1). Calls `random` only if the wait is random.
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
    /// The shortest wait is longer than the longest.
    MinAboveMax,
    /// The first wait is longer than the longest.
    InitialAboveMax,
    /// The multiplier is below 1000 thousandths: waits would shrink.
    MultiplierBelowOne,
}

// The messages leave the values out: on a microcontroller they would cost 100 bytes in every call.
impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinAboveMax => "backoff.jittered.min: must be in [0, max]",
            Self::InitialAboveMax => "backoff.exponential.initial: must be in [0, max]",
            Self::MultiplierBelowOne => "backoff.exponential.multiplier_milli: must be in [1000, 4294967295]",
        })
    }
}

impl core::error::Error for BackoffError {}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Backoff {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WANTED: &str = "\"none\", or a map with one key: `fixed`, `jittered` or `exponential`";
        let missing = |field, such| {
            serde::de::Error::custom(format_args!("backoff.{field} is missing: write one such as {such}"))
        };
        Ok(match crate::field::tagged::read(deserializer, "backoff", WANTED)? {
            Written::None => Self::None,
            Written::Fixed(Fixed(delay)) => Self::Fixed(delay),
            Written::Jittered { min, max } => Self::Jittered {
                min: min.ok_or_else(|| missing("jittered.min", "\"1ms\""))?,
                max: max.ok_or_else(|| missing("jittered.max", "\"2ms\""))?,
            },
            Written::Exponential { initial, multiplier_milli, max } => Self::Exponential {
                initial: initial.ok_or_else(|| missing("exponential.initial", "\"1ms\""))?,
                multiplier_milli: multiplier_milli.ok_or_else(|| missing("exponential.multiplier_milli", "2000"))?,
                max: max.ok_or_else(|| missing("exponential.max", "\"100ms\""))?,
            },
        })
    }
}

/// A [`Backoff`] as serde's derive reads it. Missing fields are named afterwards.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    None,
    Fixed(Fixed),
    Jittered {
        #[serde(default, deserialize_with = "fields::jittered_min")]
        min: Option<Duration>,
        #[serde(default, deserialize_with = "fields::jittered_max")]
        max: Option<Duration>,
    },
    Exponential {
        #[serde(default, deserialize_with = "fields::exponential_initial")]
        initial: Option<Duration>,
        #[serde(default, deserialize_with = "fields::exponential_multiplier")]
        multiplier_milli: Option<u32>,
        #[serde(default, deserialize_with = "fields::exponential_max")]
        max: Option<Duration>,
    },
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Fixed(#[serde(deserialize_with = "fields::fixed")] Duration);

#[cfg(feature = "serde")]
mod fields {
    use super::Duration;
    use crate::field::named::{DURATION, fields};

    fields! {
        fixed: required, "backoff.fixed", Duration, DURATION;
        jittered_min: optional, "backoff.jittered.min", Duration, DURATION;
        jittered_max: optional, "backoff.jittered.max", Duration, DURATION;
        exponential_initial: optional, "backoff.exponential.initial", Duration, DURATION;
        exponential_multiplier: optional, "backoff.exponential.multiplier_milli", u32,
            "an integer of thousandths in [1000, 4294967295], such as 2000 to double";
        exponential_max: optional, "backoff.exponential.max", Duration, DURATION;
    }
}

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
        let by_a_fraction = Backoff::exponential(MS(10), 1_600, MS(100)).unwrap();
        let delays = [1, 2, 3, 4].map(|retry| by_a_fraction.delay(retry, middle).as_micros() / 10);
        assert_eq!(delays, [1_000, 1_599, 2_559, 4_095], "a factor of 1.6, rounded down");
        let huge = Backoff::exponential(Duration::MAX, u32::MAX, Duration::MAX).unwrap();
        assert!(huge.delay(200, || u32::MAX) > Duration::from_secs(1_000));
    }

    #[test]
    fn r3_bad_bounds_are_named_with_their_range() {
        extern crate std;
        use std::string::ToString;
        let text = |backoff: Result<Backoff, BackoffError>| backoff.unwrap_err().to_string();
        let error = text(Backoff::jittered(MS(2), MS(1)));
        assert_eq!(error, "backoff.jittered.min: must be in [0, max]");
        let error = text(Backoff::exponential(MS(1), 999, MS(2)));
        assert_eq!(error, "backoff.exponential.multiplier_milli: must be in [1000, 4294967295]");
        let error = text(Backoff::exponential(MS(3), 1_000, MS(2)));
        assert_eq!(error, "backoff.exponential.initial: must be in [0, max]");
        assert!(Backoff::jittered(MS(2), MS(2)).is_ok() && Backoff::exponential(MS(2), 1_000, MS(2)).is_ok());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn r3_a_file_has_text_or_a_map_with_one_key() {
        extern crate std;
        use std::string::ToString;
        let jittered = Backoff::jittered(MS(1), MS(2)).unwrap();
        let exponential = Backoff::exponential(MS(1), 1_600, MS(2)).unwrap();
        for (json, expected) in [
            (r#""none""#, Backoff::None),
            (r#"{"fixed":"1ms"}"#, Backoff::Fixed(MS(1))),
            (r#"{"jittered":{"min":"1ms","max":"2ms"}}"#, jittered),
            (r#"{"exponential":{"initial":"1ms","multiplier_milli":1600,"max":"2ms"}}"#, exponential),
        ] {
            assert_eq!(serde_json::from_str::<Backoff>(json).unwrap(), expected, "{json}");
            assert_eq!(serde_json::to_string(&expected).unwrap(), json);
        }
        let one = "write exactly one of `none`, `fixed`, `jittered`, `exponential`";
        let either = r#"must be "none", or a map with one key: `fixed`, `jittered` or `exponential`"#;
        for (json, texts) in [
            (r#"{"fixd": 1}"#, ["backoff has no `fixd`", one]),
            (r#""sometimes""#, ["backoff has no `sometimes`", one]),
            (r#"{"fixed": 1, "jittered": 2}"#, ["backoff has another key `jittered`", one]),
            ("{}", ["backoff is empty", one]),
            (r#"{"jittered": {"min": 1}}"#, ["backoff.jittered.max is missing", r#"write one such as "2ms""#]),
            (r#"{"jittered": {"min": 1, "max": 2, "mux": 2}}"#, ["unknown field `mux`", "`min` or `max`"]),
            (r#"{"jittered": [1, 2]}"#, ["backoff.jittered (a list)", "must be a map of its fields"]),
            (r#"{"jittered": null}"#, ["backoff.jittered null", "must be a map of its fields"]),
            (r#""fixed""#, ["backoff.fixed null", "must be a duration"]),
            ("7", ["backoff 7", either]),
            ("null", ["backoff null", either]),
            ("[]", ["backoff (a list)", either]),
        ] {
            let error = serde_json::from_str::<Backoff>(json).unwrap_err().to_string();
            assert!(texts.iter().all(|text| error.contains(text)), "{json}: {error}");
        }
    }
}

//! The wait between a failure and its retry: [`Backoff`] ([R3](crate::rules#R3)).

use core::fmt;

use crate::time::{Duration, Micros};

/// The time that a retry waits after a failure ([R3](crate::rules#R3)). A call skips the wait if too little time is
/// left ([L18](crate::rules#L18)). Only the constructors make a backoff, so every backoff is valid.
///
/// In a file, a backoff is `"off"`, or a map with one key such as `{"fixed": "1ms"}` or
/// `{"jittered": {"min": "1ms", "max": "2ms"}}`.
///
/// The times that the constructors get are rounded up to whole microseconds. `Debug` and `Display` write `off`, `1 ms`,
/// `1 ms to 2 ms`, or `1 ms, times 1.6, to 100 ms`.
///
/// ```
/// use hedge_core::policy::{Backoff, BackoffError};
/// use hedge_core::time::Duration;
///
/// const MS: fn(u64) -> Duration = Duration::from_millis;
/// let as_grpc = Backoff::exponential(MS(100), 1_600, MS(1_000))?;
/// assert_eq!(as_grpc.to_string(), "100 ms, times 1.6, to 1000 ms");
/// assert_eq!(Backoff::jittered(MS(2), MS(1)), Err(BackoffError::MinAboveMax));
/// # Ok::<(), BackoffError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff(Wait);

/// The content of a [`Backoff`], in the form that serde's derive writes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
enum Wait {
    #[default]
    Off,
    Fixed(Micros),
    /// The invariant is that `min` is at most `max`.
    Jittered {
        min: Micros,
        max: Micros,
    },
    /// The invariant is that `initial` is at most `max`, and that `multiplier_milli` is at least 1000.
    Exponential {
        initial: Micros,
        multiplier_milli: u32,
        max: Micros,
    },
}

impl Backoff {
    /// Each retry starts at once.
    pub const OFF: Self = Self(Wait::Off);

    /// Makes a backoff of a fixed length: each retry waits for the duration `wait`.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self(Wait::Fixed(Micros::from_duration(wait)))
    }

    /// Makes a random backoff: each retry waits for a random time, uniformly distributed in `min..=max`.
    ///
    /// # Errors
    /// Returns [`BackoffError::MinAboveMax`] if `min` is longer than `max`.
    pub const fn jittered(min: Duration, max: Duration) -> Result<Self, BackoffError> {
        Self::checked(Wait::Jittered { min: Micros::from_duration(min), max: Micros::from_duration(max) })
    }

    /// Makes a backoff whose waits grow by a factor from retry to retry, up to `max`, as in gRPC's proposal A6. Retry
    /// number n waits for `min(initial * (multiplier_milli / 1000)^(n-1), max)`, times a uniformly distributed factor
    /// in 0.8..=1.2. A `multiplier_milli` of 1600 means a multiplier of 1.6.
    ///
    /// # Errors
    ///
    /// - Returns [`BackoffError::MultiplierBelowOne`] if `multiplier_milli` is below 1000.
    /// - Returns [`BackoffError::InitialAboveMax`] if `initial` is longer than `max`.
    pub const fn exponential(initial: Duration, multiplier_milli: u32, max: Duration) -> Result<Self, BackoffError> {
        let (initial, max) = (Micros::from_duration(initial), Micros::from_duration(max));
        Self::checked(Wait::Exponential { initial, multiplier_milli, max })
    }

    const fn checked(wait: Wait) -> Result<Self, BackoffError> {
        match wait {
            Wait::Exponential { multiplier_milli, .. } if multiplier_milli < 1000 => {
                Err(BackoffError::MultiplierBelowOne)
            }
            Wait::Exponential { initial, max, .. } if initial.as_micros() > max.as_micros() => {
                Err(BackoffError::InitialAboveMax)
            }
            Wait::Jittered { min, max } if min.as_micros() > max.as_micros() => Err(BackoffError::MinAboveMax),
            wait => Ok(Self(wait)),
        }
    }

    /// Does the same as [`exponential`](Self::exponential), but replaces values out of range by the nearest valid
    /// values.
    #[cfg(feature = "serde")]
    pub(crate) fn exponential_within(initial: Micros, multiplier_milli: u32, max: Micros) -> Self {
        Self(Wait::Exponential { initial: initial.min(max), multiplier_milli: multiplier_milli.max(1000), max })
    }

    /// Returns the shortest wait before the first retry.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        self.delay(1, || 0).to_duration()
    }

    /// Returns the wait before retry number `retry` (counted from 1). Calls `random` only if the wait is random.
    pub(crate) fn delay(&self, retry: u8, random: impl FnOnce() -> u32) -> Micros {
        // These are 0.8 and 1.2 in 65536ths.
        const LOW: u32 = 52_429;
        const HIGH: u32 = 78_644;
        let (min, max) = match self.0 {
            Wait::Off => return Micros::ZERO,
            Wait::Fixed(delay) => return delay,
            Wait::Jittered { min, max } => (min, max),
            Wait::Exponential { initial, multiplier_milli, max } => {
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
        min + (max - min + Micros::from_micros(1)).share(random())
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Wait::Off => f.write_str("off"),
            Wait::Fixed(wait) => wait.fmt(f),
            Wait::Jittered { min, max } => write!(f, "{min} to {max}"),
            Wait::Exponential { initial, multiplier_milli, max } => {
                let (whole, milli) = (multiplier_milli / 1_000, multiplier_milli % 1_000);
                write!(f, "{initial}, times {whole}")?;
                match milli {
                    0 => {}
                    milli if milli % 100 == 0 => write!(f, ".{}", milli / 100)?,
                    milli if milli % 10 == 0 => write!(f, ".{:02}", milli / 10)?,
                    milli => write!(f, ".{milli:03}")?,
                }
                write!(f, ", to {max}")
            }
        }
    }
}

impl fmt::Debug for Backoff {
    /// Writes the same text as `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Backoff {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.0 {
            Wait::Off => defmt::write!(f, "off"),
            Wait::Fixed(wait) => wait.format(f),
            Wait::Jittered { min, max } => defmt::write!(f, "{} to {}", min, max),
            Wait::Exponential { initial, multiplier_milli, max } => {
                defmt::write!(f, "{}, times {} / 1000, to {}", initial, multiplier_milli, max);
            }
        }
    }
}

/// Converts thousandths into 65536ths, rounded down. The whole part saturates at 65535.
const fn fixed_point(milli: u32) -> u32 {
    let (whole, rest) = (milli / 1_000, milli % 1_000);
    let whole = if whole > 0xFFFF { 0xFFFF } else { whole };
    (whole << 16) | ((rest << 16) / 1_000)
}

/// The reason why a [`Backoff`] cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BackoffError {
    /// The shortest wait is longer than the longest wait.
    MinAboveMax,
    /// The first wait is longer than the longest wait.
    InitialAboveMax,
    /// The multiplier is below 1000 thousandths, so each wait would be shorter than the wait before.
    MultiplierBelowOne,
}

// The messages do not contain the values. Storing the values would cost a microcontroller 100 bytes in every call.
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
impl serde::Serialize for Backoff {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Backoff {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WANTED: &str = "\"off\", or a map with one key: `fixed`, `jittered` or `exponential`";
        let missing = |field, such| {
            serde::de::Error::custom(format_args!("backoff.{field} is missing: write one such as {such}"))
        };
        match crate::field::tagged::read(deserializer, "backoff", WANTED)? {
            Written::Off => Ok(Self::OFF),
            Written::Fixed(Fixed(wait)) => Ok(Self::fixed(wait)),
            Written::Jittered { min, max } => Self::jittered(
                min.ok_or_else(|| missing("jittered.min", "\"1ms\""))?,
                max.ok_or_else(|| missing("jittered.max", "\"2ms\""))?,
            ),
            Written::Exponential { initial, multiplier_milli, max } => Self::exponential(
                initial.ok_or_else(|| missing("exponential.initial", "\"1ms\""))?,
                multiplier_milli.ok_or_else(|| missing("exponential.multiplier_milli", "2000"))?,
                max.ok_or_else(|| missing("exponential.max", "\"100ms\""))?,
            ),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// The content of a [`Backoff`], in the form that serde's derive reads. All fields are optional here, so that the error
/// for a missing field can name it.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Off,
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
        assert_eq!(Backoff::OFF.delay(1, never), Micros::ZERO);
        assert_eq!(Backoff::fixed(MS(7)).delay(3, never), MS(7).into());
    }

    #[test]
    fn r3_jitter_covers_its_range_and_no_more() {
        let backoff = Backoff::jittered(MS(10), MS(20)).unwrap();
        assert_eq!(backoff.delay(1, || 0), MS(10).into());
        assert_eq!(backoff.delay(1, || u32::MAX), MS(20).into());
        let whole = Backoff::jittered(Duration::ZERO, Duration::MAX).unwrap();
        assert!(whole.delay(1, || u32::MAX) > Micros::from_secs(1));
    }

    #[test]
    fn r3_exponential_grows_to_its_maximum_within_a_fifth() {
        let backoff = Backoff::exponential(MS(10), 2_000, MS(35)).unwrap();
        let middle = || 1 << 31;
        for (retry, expected) in [(1, 10), (2, 20), (3, 35), (4, 35), (255, 35)] {
            assert_eq!(backoff.delay(retry, middle).as_millis(), expected, "retry {retry}");
        }
        assert_eq!(backoff.delay(1, || 0), MS(8).into());
        assert_eq!(backoff.delay(1, || u32::MAX), MS(12).into());
        let by_a_fraction = Backoff::exponential(MS(10), 1_600, MS(100)).unwrap();
        let delays = [1, 2, 3, 4].map(|retry| by_a_fraction.delay(retry, middle).as_micros() / 10);
        assert_eq!(delays, [1_000, 1_599, 2_559, 4_095], "a factor of 1.6, rounded down");
        let huge = Backoff::exponential(Duration::MAX, u32::MAX, Duration::MAX).unwrap();
        assert!(huge.delay(200, || u32::MAX) > Micros::from_secs(1_000));
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
            (r#""off""#, Backoff::OFF),
            (r#"{"fixed":"1ms"}"#, Backoff::fixed(MS(1))),
            (r#"{"jittered":{"min":"1ms","max":"2ms"}}"#, jittered),
            (r#"{"exponential":{"initial":"1ms","multiplier_milli":1600,"max":"2ms"}}"#, exponential),
        ] {
            assert_eq!(serde_json::from_str::<Backoff>(json).unwrap(), expected, "{json}");
            assert_eq!(serde_json::to_string(&expected).unwrap(), json);
        }
        let one = "write exactly one of `off`, `fixed`, `jittered`, `exponential`";
        let either = r#"must be "off", or a map with one key: `fixed`, `jittered` or `exponential`"#;
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

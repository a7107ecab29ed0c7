//! Reads and writes durations in files, for serde.
//!
//! Human-readable formats hold a number of milliseconds, or text with a unit. Binary formats hold a number of
//! microseconds. Text is read digit by digit, without floating point and without rounding. If a value is too large, or
//! is not a whole number of microseconds, the error quotes the value.

use core::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Micros;

/// The units that can be written, with the number of microseconds in each. The largest unit comes first.
const UNITS: [(&str, u64); 5] = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
/// The description of a valid duration. Errors for wrong values contain this text.
const WANTED: &str = "a duration: milliseconds such as 20 or 1.5, or text such as \"250us\", \"1.5ms\", \"2s\", \"1m\" or \
                      \"1h\", in whole microseconds";

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&Exact(*self))
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Human { word: None }).map(Option::unwrap_or_default)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

/// Functions for `serde(with)` at the fields of options. They write and read a [`Duration`] in the form of a
/// [`Micros`]. serde's own form is not used.
pub(crate) mod span {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::super::{Duration, Micros};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        Micros::from_duration(*span).serialize(serializer)
    }

    pub(crate) fn serialize_optional<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        span.map(Micros::from_duration).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Micros::deserialize(deserializer).map(Micros::to_duration)
    }
}

/// Writes a duration, or `word` if the value is `None`. Binary formats hold an `Option` instead.
pub(crate) fn serialize_or<S: Serializer>(
    duration: Option<Micros>,
    word: &'static str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match (serializer.is_human_readable(), duration) {
        (true, Some(duration)) => duration.serialize(serializer),
        (true, None) => serializer.serialize_str(word),
        (false, _) => duration.serialize(serializer),
    }
}

/// Reads a value that [`serialize_or`] has written.
pub(crate) fn deserialize_or<'de, D: Deserializer<'de>>(
    word: &'static str,
    deserializer: D,
) -> Result<Option<Micros>, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Human { word: Some(word) })
    } else {
        Option::deserialize(deserializer)
    }
}

/// Reads a duration from a human-readable format. If `word` is set, this word is read as `None`.
struct Human {
    word: Option<&'static str>,
}

impl Visitor<'_> for Human {
    type Value = Option<Micros>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)?;
        self.word.map_or(Ok(()), |word| write!(f, ", or \"{word}\""))
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Self::Value, E> {
        let micros = millis.checked_mul(1_000).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(millis), &self))?;
        Ok(Some(Micros(micros)))
    }

    fn visit_i64<E: Error>(self, millis: i64) -> Result<Self::Value, E> {
        match u64::try_from(millis) {
            Ok(millis) => self.visit_u64(millis),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(millis), &self)),
        }
    }

    fn visit_f64<E: Error>(self, millis: f64) -> Result<Self::Value, E> {
        if !is_meant_in_millis(millis) {
            return Err(E::custom(format_args!("{millis}: must be {WANTED}{}", Fraction(millis))));
        }
        of_millis(millis).map(Some).ok_or_else(|| E::invalid_value(Unexpected::Float(millis), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.word == Some(text) {
            return Ok(None);
        }
        parse(text).map(Some).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Converts a decimal number of milliseconds into a duration. Returns `None` if the duration is negative, too long, or
/// not a whole number of microseconds. A float cannot hold every decimal number exactly. So the number of microseconds
/// may differ from a whole number by up to a thousandth, or by the precision of the float.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked before"
)]
pub(crate) fn of_millis(millis: f64) -> Option<Micros> {
    const TOO_MUCH: f64 = u64::MAX as f64;
    let micros = millis * 1_000.0;
    if !(0.0..TOO_MUCH).contains(&micros) {
        return None;
    }
    // Above 2^52 every float is a whole number, and adding a half would only cause a rounding error.
    let nearest = if micros < 4.0e15 { (micros + 0.5) as u64 } else { micros as u64 };
    let exact = (nearest as f64 - micros).abs() <= f64::max(0.001, micros * f64::EPSILON);
    exact.then_some(Micros(nearest))
}

/// Returns whether a number without a unit can mean milliseconds. A number between 0 and 1, such as 0.2, probably means
/// seconds, so it needs a unit.
pub(crate) fn is_meant_in_millis(number: f64) -> bool {
    !(0.0 < number && number < 1.0)
}

/// Writes the end of an error message about a number without a unit: how to write the number as seconds or as
/// milliseconds. For a whole number, this writes nothing.
pub(crate) fn fraction_hint(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if number % 1.0 == 0.0 || !number.is_finite() {
        return Ok(());
    }
    f.write_str("; a number is milliseconds")?;
    let some = |millis| of_millis(millis).filter(|time| *time > Micros::ZERO).map(Exact);
    match (some(number * 1_000.0), some(number)) {
        (Some(seconds), Some(millis)) => {
            write!(f, ": write \"{seconds}\" for {number} s, or \"{millis}\" for {number} ms")
        }
        (Some(seconds), None) => write!(f, ": write \"{seconds}\" for {number} s"),
        (None, _) => Ok(()),
    }
}

struct Fraction(f64);

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fraction_hint(self.0, f)
    }
}

/// Parses text such as `1.5 ms`. Returns `None` if the text is not a duration in whole microseconds.
pub(crate) fn parse(text: &str) -> Option<Micros> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = match unit.strip_prefix(' ').unwrap_or(unit) {
        // The first pattern has the micro sign, the second one has the Greek letter that looks the same.
        "\u{b5}s" | "\u{3bc}s" => "us",
        unit => unit,
    };
    let (_, micros) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = decimal(number)?;
    let (fraction, rest) = scaled(fraction.trim_end_matches('0'), 6, micros)?;
    if rest != 0 {
        return None;
    }
    whole.checked_mul(micros)?.checked_add(fraction).map(Micros)
}

/// Parses a duration in the JSON form of protocol buffers: a number of seconds with at most nine digits after the
/// point, and then an `s`. Returns `None` if the text has another form, or if the duration is too long. A fraction of a
/// microsecond is rounded up, so that no wait is shortened or becomes zero.
pub(crate) fn parse_proto(text: &str) -> Option<Micros> {
    let (whole, fraction) = decimal(text.strip_suffix('s')?)?;
    let (fraction, rest) = scaled(fraction, 9, 1_000_000)?;
    whole.checked_mul(1_000_000)?.checked_add(fraction)?.checked_add(u64::from(rest != 0)).map(Micros)
}

/// Splits a decimal number into its whole part and the digits of its fraction. Returns `None` if the text has another
/// form, for example without a digit on one side of the point.
fn decimal(number: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if digits(fraction) => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    if digits(whole) { whole.parse().ok().map(|whole| (whole, fraction)) } else { None }
}

/// Returns the product of the fraction 0.`digits` and `unit`: its whole part, and a remainder that is 0 if the product
/// is a whole number. Returns `None` if there are more than `most` digits. `most` must be at most nine.
fn scaled(digits: &str, most: u32, unit: u64) -> Option<(u64, u64)> {
    let length = u32::try_from(digits.len()).ok().filter(|length| *length <= most)?;
    let (value, scale) = (if digits.is_empty() { 0 } else { digits.parse::<u64>().ok()? }, 10_u64.checked_pow(length)?);
    let product = value.checked_mul(unit)?;
    Some((product / scale, product % scale))
}

/// Formats a duration in the largest unit that is exact.
struct Exact(Micros);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Micros(micros)) = *self;
        match UNITS.into_iter().find(|(_, unit)| micros != 0 && micros.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", micros / unit),
            None => f.write_str("0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn read(json: &str) -> Result<u64, String> {
        serde_json::from_str::<Micros>(json).map(Micros::as_micros).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_milliseconds_and_text_has_a_unit() {
        for (json, micros) in [
            ("0", 0),
            ("20", 20_000),
            ("1.5", 1_500),
            ("2.3", 2_300),
            ("1e3", 1_000_000),
            ("18446744073709551", 18_446_744_073_709_551_000),
            ("1e16", 10_000_000_000_000_000_000),
            (r#""250us""#, 250),
            (r#""250 µs""#, 250),
            (r#""7μs""#, 7),
            (r#""1.5ms""#, 1_500),
            (r#""1.5 ms""#, 1_500),
            (r#""1.500000000ms""#, 1_500),
            (r#""2s""#, 2_000_000),
            (r#""0.000001s""#, 1),
            (r#""1.5m""#, 90_000_000),
            (r#""1h""#, 3_600_000_000),
            (r#""0s""#, 0),
            (r#""18446744073709551615us""#, u64::MAX),
        ] {
            assert_eq!(read(json), Ok(micros), "{json}");
        }
    }

    #[test]
    fn nonsense_is_quoted_and_told_what_is_wanted() {
        let texts = "|20|ms|1.5|.5s|1.s|1..5s|1.5.2s|-1s|+1s|1,5s|1e3s|20 parsecs|20  ms| 20ms|20ms |1 s 5 ms|0.5us|0.0001ms|\
                     1.0000001s|18446744073709551616us|5124095577h|never|٣s|1s2";
        for text in texts.split('|') {
            let json = serde_json::to_string(text).unwrap();
            let error = read(&json).unwrap_err();
            assert!(
                error.contains(&std::format!("string {json}")) && error.contains("a duration: milliseconds"),
                "{error}"
            );
        }
        for (json, hint) in [
            ("0.2", "\"200ms\" for 0.2 s, or \"200us\" for 0.2 ms"),
            ("0.0015", "\"1500us\" for 0.0015 s"),
            ("0.9995", "\"999500us\" for 0.9995 s"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.starts_with(&std::format!("{json}: must be a duration")), "{error}");
            assert!(error.contains(&std::format!("; a number is milliseconds: write {hint}")), "{error}");
        }
        for json in ["-1", "-1.5", "18446744073709552", "1e17", "true", "null", "[]"] {
            let error = read(json).unwrap_err();
            assert!(error.contains("expected a duration: milliseconds"), "{json}: {error}");
        }
        assert_eq!(
            read(r#""20 parsecs""#).unwrap_err(),
            "invalid value: string \"20 parsecs\", expected a duration: milliseconds such as 20 or 1.5, or text such as \
             \"250us\", \"1.5ms\", \"2s\", \"1m\" or \"1h\", in whole microseconds at line 1 column 12"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (micros, json) in [
            (0, r#""0s""#),
            (1, r#""1us""#),
            (1_500, r#""1500us""#),
            (20_000, r#""20ms""#),
            (2_000_000, r#""2s""#),
            (90_000_000, r#""90s""#),
            (120_000_000, r#""2m""#),
            (7_200_000_000, r#""2h""#),
            (u64::MAX, r#""18446744073709551615us""#),
        ] {
            assert_eq!(serde_json::to_string(&Micros(micros)).unwrap(), json);
            assert_eq!(read(json), Ok(micros));
        }
    }

    #[test]
    fn proto_durations_are_seconds_and_round_up() {
        for (text, micros) in [
            ("0s", Some(0)),
            ("1.5s", Some(1_500_000)),
            ("0.1s", Some(100_000)),
            ("0.000000001s", Some(1)),
            ("3.000001001s", Some(3_000_002)),
            ("315576000000s", Some(315_576_000_000_000_000)),
            ("18446744073710s", None),
            ("0.0000000001s", None),
            (".1s", None),
            ("1.s", None),
            ("-1s", None),
            ("1e1s", None),
            ("1 s", None),
            ("1ms", None),
            ("1", None),
            ("s", None),
            ("", None),
        ] {
            assert_eq!(parse_proto(text).map(Micros::as_micros), micros, "{text}");
        }
    }

    #[test]
    fn formats_that_nobody_reads_have_the_microseconds() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, U64Deserializer};

        struct Binary(U64Deserializer<Error>);

        impl<'de> Deserializer<'de> for Binary {
            type Error = Error;

            fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                self.0.deserialize_any(visitor)
            }

            fn is_human_readable(&self) -> bool {
                false
            }

            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
                newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }

        assert_eq!(Micros::deserialize(Binary(1_500_u64.into_deserializer())), Ok(Micros(1_500)));
    }

    #[test]
    fn a_word_may_stand_for_none() {
        let read = |json: &str| {
            let mut json = serde_json::Deserializer::from_str(json);
            deserialize_or("never", &mut json).map_err(|error| error.to_string())
        };
        assert_eq!(read(r#""never""#), Ok(None));
        assert_eq!(read(r#""1s""#), Ok(Some(Micros::from_secs(1))));
        let error = read(r#""nevr""#).unwrap_err();
        assert!(error.contains(r#"string "nevr""#) && error.contains(r#", or "never""#), "{error}");
        let write = |duration| {
            let mut written = Vec::new();
            serialize_or(duration, "never", &mut serde_json::Serializer::new(&mut written)).unwrap();
            String::from_utf8(written).unwrap()
        };
        assert_eq!((write(None), write(Some(Micros(1)))), (r#""never""#.into(), r#""1us""#.into()));
    }
}

//! Integers in files: [`integers`].

use core::fmt;
use core::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Functions for `deserialize_with`: `name: field, type, range`.
macro_rules! integers {
    ($($name:ident: $field:literal, $type:ty, $range:literal;)*) => {$(
        fn $name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<$type>, D::Error> {
            $crate::policy::integer::optional(deserializer, $field, $range)
        }
    )*};
}
pub(super) use integers;

/// Reads the integer of `field`; null is as if absent. What is none or does not fit is an error that names the field, its
/// value and its `range`.
pub(super) fn optional<'de, T: TryFrom<i128>, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
    range: &'static str,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(Named { field, range, of: PhantomData })
}

struct Named<T> {
    field: &'static str,
    range: &'static str,
    of: PhantomData<T>,
}

impl<T: TryFrom<i128>> Named<T> {
    fn fitting<E: Error>(&self, integer: i128) -> Result<Option<T>, E> {
        T::try_from(integer).map(Some).map_err(|_| self.error(integer))
    }

    fn error<E: Error>(&self, value: impl fmt::Display) -> E {
        E::custom(format_args!("{} {value}: must be in {}", self.field, self.range))
    }
}

impl<'de, T: TryFrom<i128>> Visitor<'de> for Named<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: an integer in {}", self.field, self.range)
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Option<T>, E> {
        self.fitting(integer.into())
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Option<T>, E> {
        self.fitting(integer.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        Err(self.error(number))
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    fn read<T: TryFrom<i128>>(json: &str) -> Result<Option<T>, String> {
        let mut json = serde_json::Deserializer::from_str(json);
        optional(&mut json, "field", "[its range]").map_err(|error| error.to_string())
    }

    #[test]
    fn what_fits_is_read_and_null_is_none() {
        assert_eq!([read("null"), read("0"), read("255")], [Ok(None), Ok(Some(0_u8)), Ok(Some(255))]);
        assert_eq!([read("-2147483648"), read("2147483647")], [Ok(Some(i32::MIN)), Ok(Some(i32::MAX))]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_value_and_range() {
        for json in ["256", "-1", "18446744073709551615", "1.5", "1e300"] {
            let value: f64 = json.parse().unwrap();
            let shown = if json.contains('e') { std::format!("{value}") } else { json.to_string() };
            let error = read::<u8>(json).unwrap_err();
            assert!(error.starts_with(&std::format!("field {shown}: must be in [its range]")), "{json}: {error}");
        }
        for json in ["true", r#""7""#, "[7]", "{}"] {
            let error = read::<u8>(json).unwrap_err();
            assert!(error.contains("expected field: an integer in [its range]"), "{json}: {error}");
        }
    }
}

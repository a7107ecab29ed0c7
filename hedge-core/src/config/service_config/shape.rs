//! Reads an object, a list or a single value. If the document has another kind of value in that place, this value is
//! stored instead: [`As`].

use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Value;

/// A `T`, or the wrong value that the document has in its place. With that value, an error can name the value and its
/// field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct As<'a, T>(pub(super) Result<T, Value<'a>>);

impl<T> Default for As<'_, T> {
    fn default() -> Self {
        Self(Err(Value::Missing))
    }
}

/// A type that can be read from a map or from a list. A value of another shape is kept as a [`Value`].
pub(super) trait Shape<'de>: Sized {
    fn of_map<A: MapAccess<'de>>(mut map: A) -> Result<Result<Self, Value<'de>>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(Value::Other))
    }

    fn of_seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Result<Self, Value<'de>>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Value::Other))
    }
}

impl<'de: 'a, 'a, T: Shape<'de>> Deserialize<'de> for As<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData)).map(Self)
    }
}

/// `As<Infallible>` keeps every value as a [`Value`]: a map or a list becomes `Other`.
impl Shape<'_> for Infallible {}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let As(Err(value)) = As::<Infallible>::deserialize(deserializer)?;
        Ok(value)
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for Any<T> {
    type Value = Result<T, Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Err(Value::Missing))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err(Value::Other))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is so large is out of every range")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Err(Value::Number(number as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is so large is out of every range")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Err(Value::Number(number as f64)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Err(Value::Number(number)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Err(Value::Text(text)))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err(Value::Escaped))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        T::of_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::of_map(map)
    }
}

//! Reads fields that must be maps ([`read`]). If a value is not a map, the error names the field.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::named::{Place, Scalar, refuse};
use super::tagged::Map;

/// Makes functions for `deserialize_with` from entries of the form `name: field, type;`. The value of each field must
/// be a map.
macro_rules! tables {
    ($($name:ident: $field:expr, $type:ty;)*) => {$(
        pub(super) fn $name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            $crate::field::table::read(deserializer, $field)
        }
    )*};
}
pub(crate) use tables;

/// Reads a struct from a map.
pub(crate) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
) -> Result<T, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Table { field, of: PhantomData })
    } else {
        T::deserialize(deserializer)
    }
}

/// Reads a struct from a map. Null reads as `None`.
pub(crate) fn read_optional<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
) -> Result<Option<T>, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_option(OptionalTable(Table { field, of: PhantomData }))
    } else {
        Option::deserialize(deserializer)
    }
}

struct OptionalTable<T>(Table<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OptionalTable<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self.0).map(Some)
    }
}

struct Table<T> {
    field: &'static str,
    of: PhantomData<T>,
}

impl<T> Table<T> {
    const fn place(&self) -> Place {
        Place::new(self.field, "a map of its fields")
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.place().wanted)
    }

    refuse!(scalars);
    refuse!(null);
    refuse!(list);

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Err(E::custom(self.place().refusal(&Scalar::Text(text))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(Map { map, field: self.field })
    }
}

//! A limit in a file: [`LimitSetting`].

use core::fmt;
use core::marker::PhantomData;

use serde::de::value::EnumAccessDeserializer;
use serde::de::{EnumAccess, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::field::named::{OFF, Place, Scalar, refuse};
use crate::field::tagged::Map;

/// A limit in a file. It is either off, or on with some fields that replace the preset's fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LimitSetting<T> {
    /// There is no such limit. A file writes this as `"off"`.
    Off,
    /// The limit is on, and these fields replace the preset's fields.
    On(T),
}

impl<T: Serialize> Serialize for LimitSetting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::On(patch) => patch.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for LimitSetting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer, "limit")
    }
}

impl<'de, T: Deserialize<'de>> LimitSetting<T> {
    /// Reads the value of `field`. Null is an error, since its meaning would be unclear: "no limit" or "the preset's
    /// limit".
    pub(crate) fn read<D: Deserializer<'de>>(deserializer: D, field: &'static str) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OffOrOn { field, of: PhantomData })
    }
}

/// Reads a limit. In text formats, this is a limit with all its fields, or `"off"`; null is an error here too. In
/// binary formats, it is an `Option`.
pub(crate) fn read_whole<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
) -> Result<Option<T>, D::Error> {
    if !deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    LimitSetting::read(deserializer, field).map(|setting| match setting {
        LimitSetting::Off => None,
        LimitSetting::On(limit) => Some(limit),
    })
}

/// Writes a limit in the form that [`read_whole`] reads.
pub(crate) fn write_whole<T: Serialize, S: Serializer>(limit: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        None if serializer.is_human_readable() => serializer.serialize_str(OFF),
        Some(limit) if serializer.is_human_readable() => limit.serialize(serializer),
        limit => limit.serialize(serializer),
    }
}

struct OffOrOn<T> {
    field: &'static str,
    of: PhantomData<T>,
}

impl<T> OffOrOn<T> {
    const fn place(&self) -> Place {
        let wanted = "a map of what differs from the preset, or \"off\" for no such limit";
        Place::new(self.field, wanted)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for OffOrOn<T> {
    type Value = LimitSetting<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.place().wanted)
    }

    refuse!(scalars);
    refuse!(null);
    refuse!(list);

    fn visit_str<E: Error>(self, text: &str) -> Result<LimitSetting<T>, E> {
        if text == OFF { Ok(LimitSetting::Off) } else { Err(E::custom(self.place().refusal(&Scalar::Text(text)))) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitSetting<T>, A::Error> {
        T::deserialize(Map { map, field: self.field }).map(LimitSetting::On)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tag: A) -> Result<LimitSetting<T>, A::Error> {
        T::deserialize(EnumAccessDeserializer::new(tag)).map(LimitSetting::On)
    }
}

//! A setting in a file that can be switched off: [`Setting`].

use core::fmt;
use core::marker::PhantomData;

use serde::de::value::EnumAccessDeserializer;
use serde::de::{EnumAccess, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::field::named::{OFF, Place, Scalar, refuse};
use crate::field::tagged::Map;

/// A setting in a file that can be switched off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Setting<T> {
    /// The setting is off. A file writes this as `"off"`.
    Off,
    /// The setting is on, with these options.
    On(T),
}

impl<T> Setting<T> {
    /// Returns the options. Returns `None` if the setting is off.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(options) => Some(options),
        }
    }
}

impl<T: Serialize> Serialize for Setting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::On(options) => options.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer, "setting", "a map of its options, or \"off\"")
    }
}

impl<'de, T: Deserialize<'de>> Setting<T> {
    /// Reads the value of `field`. Null is an error, since a reader could think that it means "off".
    pub(super) fn read<D: Deserializer<'de>>(
        deserializer: D,
        field: &'static str,
        wanted: &'static str,
    ) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OffOrOn { place: Place::new(field, wanted), of: PhantomData })
    }
}

struct OffOrOn<T> {
    place: Place,
    of: PhantomData<T>,
}

impl<T> OffOrOn<T> {
    const fn place(&self) -> Place {
        self.place
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for OffOrOn<T> {
    type Value = Setting<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.field, self.place.wanted)
    }

    refuse!(scalars);
    refuse!(null);
    refuse!(list);

    fn visit_str<E: Error>(self, text: &str) -> Result<Setting<T>, E> {
        if text == OFF { Ok(Setting::Off) } else { Err(E::custom(self.place.refusal(&Scalar::Text(text)))) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Setting<T>, A::Error> {
        T::deserialize(Map { map, field: self.place.field }).map(Setting::On)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tag: A) -> Result<Setting<T>, A::Error> {
        T::deserialize(EnumAccessDeserializer::new(tag)).map(Setting::On)
    }
}

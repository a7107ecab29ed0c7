//! Reads enums from files, in any self-describing format: [`read`]. In the file, the enum is a map with one key, and
//! the key names the variant.
//!
//! serde's own way to read enums is not enough here: in formats such as YAML, it needs a tag instead of a map, and in
//! other formats, it accepts a second key.

use core::convert::Infallible;
use core::fmt;
use core::iter::once;
use core::marker::PhantomData;

use serde::de::value::{EnumAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::named::{Place, refuse};

/// Reads an enum from a map with one key. The enum must have serde's derived `Deserialize`. A variant without content
/// is read from text.
///
/// An error names the `field` and says what is `wanted`. In formats that have tags, a tag is accepted too. Binary
/// formats are read in serde's own way.
pub(crate) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
    wanted: &'static str,
) -> Result<T, D::Error> {
    let place = Place::new(field, wanted);
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(TextOrMap { place, of: PhantomData })
    } else {
        T::deserialize(deserializer)
    }
}

struct TextOrMap<T> {
    place: Place,
    of: PhantomData<T>,
}

impl<T> TextOrMap<T> {
    const fn place(&self) -> Place {
        self.place
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrMap<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.field, self.place.wanted)
    }

    refuse!(scalars);
    refuse!(null);
    refuse!(list);

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.visit_map(MapDeserializer::new(once((text, ()))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(Map { map, field: self.place.field })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tag: A) -> Result<T, A::Error> {
        T::deserialize(EnumAccessDeserializer::new(tag))
    }
}

/// A map that is the value of a field. For an enum, the map has one key, which is the variant. For any other type, the
/// map is used without changes.
pub(crate) struct Map<A> {
    pub(crate) map: A,
    pub(crate) field: &'static str,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Map<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.map)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let Self { map, field } = self;
        visitor.visit_enum(OneKey { map, field, variants, variant: "" })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A map with one key. The key names a variant, and the value is the content of that variant.
struct OneKey<A> {
    map: A,
    field: &'static str,
    variants: &'static [&'static str],
    /// The name of the variant. It is empty until the key has been read.
    variant: &'static str,
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for OneKey<A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(mut self, seed: V) -> Result<(V::Value, Self), A::Error> {
        let (field, variants) = (self.field, OneOf(self.variants));
        match self.map.next_key_seed(Key { field, variants })? {
            Some(variant) => {
                self.variant = variant;
                Ok((seed.deserialize(StrDeserializer::new(variant))?, self))
            }
            None => Err(A::Error::custom(format_args!("{field} is empty: write {variants}"))),
        }
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for OneKey<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.newtype_variant_seed(PhantomData)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<T::Value, A::Error> {
        let content = self.map.next_value_seed(seed)?;
        match self.map.next_key_seed(AnotherKey(self.field, OneOf(self.variants)))? {
            None => Ok(content),
            Some(never) => match never {},
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        Err(A::Error::invalid_type(Unexpected::TupleVariant, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, A::Error> {
        let (field, variant) = (self.field, self.variant);
        self.newtype_variant_seed(Fields { visitor, field, variant })
    }
}

/// The names of the variants. A file must contain exactly one of them.
#[derive(Clone, Copy)]
struct OneOf(&'static [&'static str]);

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exactly one of ")?;
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Reads the first key, which must name a variant.
struct Key {
    field: &'static str,
    variants: OneOf,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.variants)
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        let Self { field, variants } = self;
        let known = variants.0.iter().copied().find(|variant| *variant == key);
        known.ok_or_else(|| E::custom(format_args!("{field} has no `{key}`: write {variants}")))
    }
}

/// Refuses a second key in a map that may have only one.
struct AnotherKey(&'static str, OneOf);

impl<'de> DeserializeSeed<'de> for AnotherKey {
    type Value = Infallible;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Infallible, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for AnotherKey {
    type Value = Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Infallible, E> {
        let Self(field, variants) = self;
        Err(E::custom(format_args!("{field} has another key `{key}`: write {variants}")))
    }
}

/// Reads the content of a variant with fields. The content must be a map; a list of the fields in order is refused.
struct Fields<V> {
    visitor: V,
    field: &'static str,
    variant: &'static str,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Fields<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        // This code asks for any value instead of a map: if it asked for a map, YAML would accept null as an empty map.
        deserializer.deserialize_any(self)
    }
}

impl<V> Fields<V> {
    fn refusal<E: Error>(&self, value: &str) -> E {
        E::custom(format_args!("{}.{} {value}: must be a map of its fields", self.field, self.variant))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Fields<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: a map of its fields", self.field, self.variant)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(map)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        Err(self.refusal("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<V::Value, A::Error> {
        Err(self.refusal("(a list)"))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    use serde::Serialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "snake_case")]
    enum Written {
        Nothing,
        Number(u8),
        Fields { a: u8 },
        Pair(u8, u8),
    }

    #[derive(Serialize, PartialEq, Debug)]
    #[serde(transparent)]
    struct Any(Written);

    impl<'de> Deserialize<'de> for Any {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            read(deserializer, "any", "something").map(Self)
        }
    }

    const ALL: [Written; 3] = [Written::Nothing, Written::Number(7), Written::Fields { a: 7 }];

    #[test]
    fn what_is_written_is_read_back_in_every_format() {
        #[derive(Serialize, Deserialize)]
        struct Table {
            any: Any,
        }
        for written in ALL.map(Any) {
            let text = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<Any>(&text).unwrap(), written, "{text}");
            let text = serde_yaml_ng::to_string(&written).unwrap();
            assert_eq!(serde_yaml_ng::from_str::<Any>(&text).unwrap(), written, "{text}");
            let table = Table { any: written };
            let text = toml::to_string(&table).unwrap();
            assert_eq!(toml::from_str::<Table>(&text).unwrap().any, table.any, "{text}");
        }
    }

    #[test]
    fn yaml_has_maps_tags_and_text() {
        for (text, expected) in [
            ("nothing", Written::Nothing),
            ("number: 7", Written::Number(7)),
            ("{fields: {a: 7}}", Written::Fields { a: 7 }),
            ("!number 7", Written::Number(7)),
            ("!fields {a: 7}", Written::Fields { a: 7 }),
        ] {
            assert_eq!(serde_yaml_ng::from_str::<Any>(text).unwrap(), Any(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_variant_or_more_than_one_is_named() {
        let names = "`nothing`, `number`, `fields`, `pair`";
        for (yaml, text) in [
            ("numbr: 7", std::format!("any has no `numbr`: write exactly one of {names}")),
            ("numbr", std::format!("any has no `numbr`: write exactly one of {names}")),
            ("{fields: {a: 7}, number: 7}", std::format!("any has another key `number`: write exactly one of {names}")),
            ("{number: 7, other: 7}", std::format!("any has another key `other`: write exactly one of {names}")),
            ("{}", std::format!("any is empty: write exactly one of {names}")),
            ("fields: [7]", "any.fields (a list): must be a map of its fields".into()),
            ("pair: [7, 7]", "invalid type: tuple variant".into()),
            ("number", "expected u8".into()),
            ("nothing: 7", "invalid".into()),
            ("7", "any 7: must be something".into()),
        ] {
            let error: String = serde_yaml_ng::from_str::<Any>(yaml).unwrap_err().to_string();
            assert!(error.contains(&text), "{yaml}: {error}");
            let json = serde_yaml_ng::from_str::<serde_json::Value>(yaml).unwrap().to_string();
            let error = serde_json::from_str::<Any>(&json).unwrap_err().to_string();
            assert!(error.contains(&text), "{json}: {error}");
        }
    }

    #[test]
    fn formats_that_nobody_reads_are_asked_for_an_enum() {
        use serde::de::value::{Error, StrDeserializer};

        struct Binary<'a>(StrDeserializer<'a, Error>);

        impl<'de> Deserializer<'de> for Binary<'_> {
            type Error = Error;

            fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
                Err(Error::custom("it does not describe itself"))
            }

            fn deserialize_enum<V: Visitor<'de>>(
                self,
                name: &'static str,
                variants: &'static [&'static str],
                visitor: V,
            ) -> Result<V::Value, Error> {
                self.0.deserialize_enum(name, variants, visitor)
            }

            fn is_human_readable(&self) -> bool {
                false
            }

            forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
                unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
            }
        }

        assert_eq!(Any::deserialize(Binary(StrDeserializer::new("nothing"))), Ok(Any(Written::Nothing)));
    }
}

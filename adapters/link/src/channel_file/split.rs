//! Reads a file that describes a whole channel. The fields of [`ChannelConfig`] go to its own reader, and the others are
//! read here. Nothing is copied in between, so errors keep their line.

use std::fmt;
use std::marker::PhantomData;

use hedge_core::config::{ChannelConfig, reading};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::ChannelFile;

/// The fields that are read here.
const OWN: [&str; 4] = ["name", "connections", "tls", "sources"];

impl<'de> Deserialize<'de> for ChannelFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut own = Own::default();
        let channel = ChannelConfig::deserialize(Whole { deserializer, own: &mut own })?;
        Ok(Self { channel, ..own.config })
    }
}

/// What was read here so far.
#[derive(Default)]
struct Own {
    config: ChannelFile,
    /// Which fields of [`OWN`] were read.
    seen: [bool; OWN.len()],
}

impl Own {
    fn read<'de, A: MapAccess<'de>>(&mut self, field: &'static str, map: &mut A) -> Result<(), A::Error> {
        for (name, seen) in OWN.iter().zip(&mut self.seen) {
            if *name == field && std::mem::replace(seen, true) {
                return Err(A::Error::duplicate_field(name));
            }
        }
        match field {
            "name" => self.config.name = map.next_value_seed(Text { field, wanted: "text, as in \"users\"" })?,
            "connections" => {
                let connections = map.next_value_seed(Table { field, of: PhantomData })?;
                self.config.connections = connections.unwrap_or_default();
            }
            "sources" => {
                let sources = map.next_value_seed(Table { field, of: PhantomData })?;
                self.config.sources = sources.unwrap_or_default();
            }
            #[cfg(feature = "_tls")]
            "tls" => self.config.tls = map.next_value_seed(Table { field, of: PhantomData })?,
            _ => {
                if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                    return Err(A::Error::custom("tls: needs the feature `tls` or `tls-aws-lc`"));
                }
            }
        }
        Ok(())
    }
}

/// Reads a text that may be absent.
struct Text {
    field: &'static str,
    wanted: &'static str,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<Box<str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        reading::optional(deserializer, self.field, self.wanted)
    }
}

/// Reads a map of fields that may be absent.
struct Table<T> {
    field: &'static str,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Table<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        reading::optional_table(deserializer, self.field)
    }
}

/// The whole file, of which the reader of [`ChannelConfig`] sees only its own fields.
struct Whole<'a, D> {
    deserializer: D,
    own: &'a mut Own,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Whole<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserializer.deserialize_map(Fields { visitor, fields, own: self.own })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_struct("", &[], visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.deserializer.is_human_readable()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Fields<'a, V> {
    visitor: V,
    /// The fields of [`ChannelConfig`].
    fields: &'static [&'static str],
    own: &'a mut Own,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Fields<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of the fields of a channel")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Split { map, fields: self.fields, own: self.own })
    }
}

/// The fields of [`ChannelConfig`]. The others are read when they come.
struct Split<'a, A> {
    map: A,
    fields: &'static [&'static str],
    own: &'a mut Own,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Split<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(field) = self.map.next_key_seed(Field(self.fields))? {
            if !OWN.contains(&field) {
                return seed.deserialize(StrDeserializer::new(field)).map(Some);
            }
            self.own.read(field, &mut self.map)?;
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads the name of a field: one of [`OWN`], or one of these.
struct Field(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Field {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Field {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'static str, E> {
        let known = || OWN.iter().chain(self.0);
        let found = known().find(|field| **field == name).copied();
        found.ok_or_else(|| {
            let known: Vec<_> = known().map(|field| format!("`{field}`")).collect();
            E::custom(format_args!("unknown field `{name}`, expected one of {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hedge_core::config::ServersConfig;

    use super::*;

    fn read(json: &str) -> Result<ChannelFile, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_may_mix_the_fields_of_both_readers() {
        let config = read(
            r#"{"timeout": "300ms", "name": "users", "servers": ["a:1"],
                "connections": {"idle_timeout": "30s"}, "max_retry": 1}"#,
        );
        let config = config.unwrap();
        assert_eq!(config.name.as_deref(), Some("users"));
        assert_eq!(config.connections.idle_timeout, Some(Duration::from_secs(30)));
        assert_eq!(config.channel.servers, Some(ServersConfig::Lines(vec!["a:1".into()])));
        assert_eq!(config.channel.options().timeout, Duration::from_millis(300).into());
        assert_eq!(config.channel.max_retry, Some(1));
        let alone = r#"{"preset": "trpc", "backup": "10ms"}"#;
        assert_eq!(read(alone).unwrap(), ChannelFile::from(serde_json::from_str::<ChannelConfig>(alone).unwrap()));
        for null in [
            r#"{"name": null, "connections": null, "tls": null, "sources": null}"#,
            r#"{"connections": {"keep_alive": null}}"#,
        ] {
            assert_eq!(read(null).unwrap(), ChannelFile::default(), "null says nothing");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (json, text, line) in [
            (
                "{\n\"timeuot\": 1}",
                "unknown field `timeuot`, expected one of `name`, `connections`, `tls`, `sources`, `servers`",
                2,
            ),
            ("{\n\n\"connections\": {\"idle\": 1}}", "unknown field `idle`, expected one of `max_idle_per_server`", 3),
            ("{\"connections\": 5}", "connections 5: must be a map of its fields", 1),
            ("{\"name\": \"a\",\n\"name\": \"b\"}", "duplicate field `name`", 2),
            ("{\"name\": 5}", "name 5: must be text, as in \"users\"", 1),
            ("{\n\"timeout\": \"soon\"}", "timeout \"soon\": must be a duration above 0", 2),
            ("{\n\"connections\": {\n\"idle_timeout\": \"soon\"}}", "connections.idle_timeout \"soon\": must be", 3),
            (
                "{\"connections\": {\"keep_alive\": {\"after\": true}}}",
                "connections.keep_alive.after true: must be a duration",
                1,
            ),
            ("{\"connections\": {\"local_address\": \"a\"}}", "connections.local_address \"a\": must be an IP", 1),
            ("5", "expected a map of the fields of a channel", 1),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(text) && error.contains(&format!(" at line {line} column ")), "{json}: {error}");
        }
    }
}

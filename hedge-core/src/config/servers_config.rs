//! The servers of a channel as a file describes them: [`ServersConfig`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::field::named::{Place, refuse};

/// The servers of a channel. They are given by a URL (of a list or of a source), or by a list of lines with one server
/// each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum ServersConfig {
    /// A URL such as `list://10.0.0.1:80,10.0.0.2:80`, or one `host:port`.
    Url(Box<str>),
    /// A list of lines. Each line has the form `host:port tag`.
    Lines(Vec<Box<str>>),
}

const PLACE: Place =
    Place::new("servers", "a URL such as \"list://10.0.0.1:80,10.0.0.2:80\", or a list of \"host:port tag\"");

impl<'de> Deserialize<'de> for ServersConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlOrLines)
    }
}

struct UrlOrLines;

impl UrlOrLines {
    const fn place(&self) -> Place {
        PLACE
    }
}

impl<'de> Visitor<'de> for UrlOrLines {
    type Value = ServersConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", PLACE.field, PLACE.wanted)
    }

    refuse!(scalars);
    refuse!(null);

    fn visit_str<E: Error>(self, url: &str) -> Result<ServersConfig, E> {
        Ok(ServersConfig::Url(url.into()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<ServersConfig, A::Error> {
        Err(A::Error::custom(PLACE.refusal(&"(a map)")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ServersConfig, A::Error> {
        let mut lines = Vec::new();
        while let Some(Line(line)) = list.next_element()? {
            lines.push(line);
        }
        Ok(ServersConfig::Lines(lines))
    }
}

struct Line(Box<str>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::new("servers, an entry", "text, as in \"10.0.0.1:80\"");
        crate::field::named::required::read(deserializer, place).map(Line)
    }
}

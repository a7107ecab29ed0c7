//! The servers of a channel as a file describes them: [`ServersConfig`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::field::named::{Place, refuse};

/// The servers of a channel. They are given by a URL (of a list or of a source), or by a list of lines with one server
/// each.
///
/// `Debug` hides a text with an `@`, which may have a password before it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ServersConfig {
    /// A URL such as `list://10.0.0.1:80,10.0.0.2:80`, or one `host:port`.
    Url(Box<str>),
    /// A list of lines. Each line has the form `host:port tag`.
    Lines(Vec<Box<str>>),
}

impl fmt::Debug for ServersConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Lines<'a>(&'a [Box<str>]);

        impl fmt::Debug for Lines<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.0.iter().map(|line| Shown(line))).finish()
            }
        }

        match self {
            Self::Url(url) => f.debug_tuple("Url").field(&Shown(url)).finish(),
            Self::Lines(lines) => f.debug_tuple("Lines").field(&Lines(lines)).finish(),
        }
    }
}

/// A text that names servers.
struct Shown<'a>(&'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains('@') { f.write_str("(hidden, since it has an '@')") } else { fmt::Debug::fmt(self.0, f) }
    }
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    #[test]
    fn n1_debug_shows_no_password() {
        let url = |url: &str| format!("{:?}", ServersConfig::Url(url.into()));
        assert_eq!(url("list://a:1"), "Url(\"list://a:1\")");
        assert_eq!(url("https://user:secret@h"), "Url((hidden, since it has an '@'))");
        let lines = ServersConfig::Lines(vec!["a:1 b".into(), "user:secret@h:1".into()]);
        assert_eq!(format!("{lines:?}"), "Lines([\"a:1 b\", (hidden, since it has an '@')])");
    }
}

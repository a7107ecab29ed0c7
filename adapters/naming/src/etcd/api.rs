//! What etcd's JSON gateway answers. Its 64-bit numbers are texts, its bytes are base64, and fields that are zero are left
//! out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::few::Few;

/// How many keys are read with one request.
pub(super) const PAGE: usize = 1_000;
/// The most changes of one message of a watch.
const MOST_EVENTS: usize = 100_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Few<KeyValue, PAGE>,
    #[serde(default)]
    pub(super) more: bool,
    #[serde(default)]
    pub(super) count: Number,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) revision: Number,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct KeyValue {
    #[serde(default)]
    pub(super) key: Base64,
    #[serde(default)]
    pub(super) value: Base64,
    #[serde(default)]
    pub(super) mod_revision: Number,
}

/// One message of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) result: Option<Watched>,
    pub(super) error: Option<StreamError>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    pub(super) header: Header,
    /// Whether this is the first message, which says that the watch has begun.
    #[serde(default)]
    pub(super) created: bool,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) compact_revision: Number,
    #[serde(default)]
    pub(super) cancel_reason: String,
    #[serde(default)]
    pub(super) events: Few<Event, MOST_EVENTS>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    /// `PUT` or `DELETE`. etcd leaves `PUT` out, so an empty text means `PUT`.
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) kv: KeyValue,
}

/// Why etcd ends a watch.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamError {
    #[serde(default)]
    pub(super) message: String,
    /// The code of gRPC. Newer versions call it `code`.
    grpc_code: Option<i64>,
    code: Option<i64>,
    http_code: Option<i64>,
}

impl StreamError {
    /// Whether the user may not read the keys.
    pub(super) fn is_denied(&self) -> bool {
        // PERMISSION_DENIED and UNAUTHENTICATED.
        [self.grpc_code, self.code].iter().flatten().any(|code| matches!(code, 7 | 16))
            || matches!(self.http_code, Some(401 | 403))
    }
}

/// The answer to a user and a password.
#[derive(Deserialize)]
pub(super) struct Authenticated {
    #[serde(default)]
    pub(super) token: String,
}

/// A 64-bit number, as a text or as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Number(pub(super) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;

        impl Visitor<'_> for Numbers {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                i64::try_from(number).map(Number).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Numbers)
    }
}

/// Bytes, as base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl Visitor<'_> for Texts {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Base64, E> {
                STANDARD.decode(text).map(Base64).map_err(|_| E::custom("not base64"))
            }
        }

        deserializer.deserialize_str(Texts)
    }
}

/// The bytes as base64.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The first key behind all that begin with this prefix, in etcd's order. If the prefix has only bytes 0xFF, there is
/// no such key. Then the result is one zero byte, which etcd reads as "no end".
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_answers_of_etcd_are_read_whatever_else_they_contain() {
        let text = r#"{"header":{"cluster_id":"148","revision":"5","raft_term":"2"},
            "kvs":[{"key":"YS8x","create_revision":"2","mod_revision":"4","version":"3","value":"eA=="}],"count":"1"}"#;
        let range: Range = serde_json::from_str(text).unwrap();
        assert_eq!((range.header.revision, range.count, range.more), (Number(5), Number(1), false));
        assert_eq!(
            (range.kvs.0[0].key.0.as_slice(), range.kvs.0[0].value.0.as_slice()),
            (b"a/1".as_slice(), b"x".as_slice())
        );
        let text = r#"{"result":{"header":{"revision":"6"},"events":[{"type":"DELETE","kv":{"key":"YS8x","mod_revision":6}}]}}"#;
        let message: Message = serde_json::from_str(text).unwrap();
        let watched = message.result.unwrap();
        assert_eq!((watched.events.0[0].kind.as_str(), watched.events.0[0].kv.mod_revision), ("DELETE", Number(6)));
        for bad in
            [r#"{"kvs":[{"key":"*"}]}"#, r#"{"count":"x"}"#, r#"{"count":99999999999999999999}"#, "[]x", "<html>"]
        {
            assert!(serde_json::from_str::<Range>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn n1_a_prefix_ends_where_the_next_one_begins() {
        assert_eq!(behind(b"a/"), b"a0");
        assert_eq!(behind(&[1, 255, 255]), [2]);
        assert_eq!(behind(&[255]), [0]);
    }
}

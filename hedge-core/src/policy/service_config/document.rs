//! The shape of a service config, as serde reads it, before anything in it is checked.

use core::fmt;

use heapless::Vec;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{StatusCodes, Value};

/// A service config that has been read and not been checked: [`ServiceConfig::try_from`](super::ServiceConfig) does that, and
/// says what is wrong as a type.
///
/// Only the shape is checked here, and not even that of single values.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a, const METHODS: usize = 16, const NAMES: usize = 8> {
    #[serde(borrow)]
    pub(super) method_config: Option<List<Method<'a, NAMES>, METHODS>>,
    pub(super) retry_throttling: Option<Throttling<'a>>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Method<'a, const NAMES: usize> {
    #[serde(borrow)]
    pub(super) name: Option<List<Name<'a>, NAMES>>,
    #[serde(default)]
    pub(super) timeout: Value<'a>,
    pub(super) retry_policy: Option<Retry<'a>>,
    pub(super) hedging_policy: Option<Hedging<'a>>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Name<'a> {
    #[serde(borrow)]
    pub(super) service: Value<'a>,
    pub(super) method: Value<'a>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Retry<'a> {
    #[serde(borrow)]
    pub(super) max_attempts: Value<'a>,
    pub(super) initial_backoff: Value<'a>,
    pub(super) max_backoff: Value<'a>,
    pub(super) backoff_multiplier: Value<'a>,
    pub(super) retryable_status_codes: Codes<'a>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Hedging<'a> {
    #[serde(borrow)]
    pub(super) max_attempts: Value<'a>,
    pub(super) hedging_delay: Value<'a>,
    pub(super) non_fatal_status_codes: Codes<'a>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Throttling<'a> {
    #[serde(borrow)]
    pub(super) max_tokens: Value<'a>,
    pub(super) token_ratio: Value<'a>,
}

/// A list of at most `N`, and whether there were more.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct List<T, const N: usize> {
    pub(super) items: Vec<T, N>,
    pub(super) more: bool,
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for List<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const N: usize>(List<T, N>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = List<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<List<T, N>, A::Error> {
                while let Some(item) = seq.next_element()? {
                    self.0.more |= self.0.items.push(item).is_err();
                }
                Ok(self.0)
            }
        }

        deserializer.deserialize_seq(Items(Self { items: Vec::new(), more: false }))
    }
}

/// A list of status codes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Codes<'a> {
    pub(super) set: StatusCodes,
    /// The first that is no code, or what there is in place of a list.
    pub(super) wrong: Option<Value<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Codes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed;

        impl<'de> Visitor<'de> for Listed {
            type Value = Codes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of status codes")
            }

            fn visit_unit<E: Error>(self) -> Result<Codes<'de>, E> {
                Ok(Codes::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Codes<'de>, A::Error> {
                let mut codes = Codes::default();
                while let Some(code) = seq.next_element()? {
                    if !codes.set.insert(code) {
                        codes.wrong = codes.wrong.or(Some(code));
                    }
                }
                Ok(codes)
            }
        }

        deserializer.deserialize_any(Listed)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, text without escapes, read from memory")
            }

            fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
                Ok(Value::Missing)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'de>, E> {
                Ok(Value::Other)
            }

            #[expect(clippy::cast_precision_loss, reason = "what is so large is out of every range")]
            fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "what is so large is out of every range")]
            fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number as f64))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
                Ok(Value::Number(number))
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

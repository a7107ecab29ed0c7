//! A service config as serde reads it, before its values are checked.

use heapless::Vec;
use serde::de::{MapAccess, SeqAccess};
use serde::{Deserialize, Deserializer};

use super::shape::{As, Shape};
use super::{StatusCodes, Value};
use crate::field::tagged::Map;

/// A service config that has been read but not checked. [`ServiceConfig::try_from`](super::ServiceConfig) checks it and
/// returns a typed error.
///
/// Values of a wrong shape are stored too, so that the error can name them.
#[derive(Clone, PartialEq, Debug)]
pub struct Document<'a, const METHODS: usize = 16, const NAMES: usize = 8>(pub(super) As<'a, Root<'a, METHODS, NAMES>>);

impl<'de: 'a, 'a, const METHODS: usize, const NAMES: usize> Deserialize<'de> for Document<'a, METHODS, NAMES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        As::deserialize(deserializer).map(Self)
    }
}

// `Root` and `Method` have `#[serde(default)]` at each field, since serde's derive does not support `#[serde(default)]`
// at a whole type that has const generics.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Root<'a, const METHODS: usize, const NAMES: usize> {
    #[serde(borrow, default)]
    pub(super) method_config: As<'a, List<'a, Method<'a, NAMES>, METHODS>>,
    #[serde(default)]
    pub(super) retry_throttling: As<'a, Throttling<'a>>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Method<'a, const NAMES: usize> {
    #[serde(borrow, default)]
    pub(super) name: As<'a, List<'a, Name<'a>, NAMES>>,
    #[serde(default)]
    pub(super) timeout: Value<'a>,
    #[serde(default)]
    pub(super) retry_policy: As<'a, Retry<'a>>,
    #[serde(default)]
    pub(super) hedging_policy: As<'a, Hedging<'a>>,
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
    pub(super) retryable_status_codes: As<'a, Codes<'a>>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Hedging<'a> {
    #[serde(borrow)]
    pub(super) max_attempts: Value<'a>,
    pub(super) hedging_delay: Value<'a>,
    pub(super) non_fatal_status_codes: As<'a, Codes<'a>>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Throttling<'a> {
    #[serde(borrow)]
    pub(super) max_tokens: Value<'a>,
    pub(super) token_ratio: Value<'a>,
}

/// Implements reading for types that are read from objects only. The `Deserialize` that serde derives would also accept
/// a list of the fields in order.
macro_rules! objects {
    ($($object:ident<$lifetime:lifetime $(, $size:ident)*>),*) => {$(
        impl<'de: $lifetime, $lifetime $(, const $size: usize)*> Shape<'de> for $object<$lifetime $(, $size)*> {
            fn of_map<A: MapAccess<'de>>(map: A) -> Result<Result<Self, Value<'de>>, A::Error> {
                Self::deserialize(Map { map, field: "" }).map(Ok)
            }
        }
    )*};
}

objects!(Root<'a, METHODS, NAMES>, Method<'a, NAMES>, Name<'a>, Retry<'a>, Hedging<'a>, Throttling<'a>);

/// A list of at most `N` items. `more` is true if the list in the document had more items.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct List<'a, T, const N: usize> {
    pub(super) items: Vec<T, N>,
    pub(super) more: bool,
    /// The first item of a wrong shape.
    pub(super) wrong: Option<Value<'a>>,
}

impl<'de: 'a, 'a, T: Shape<'de>, const N: usize> Shape<'de> for List<'a, T, N> {
    fn of_seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Result<Self, Value<'de>>, A::Error> {
        let mut list = Self { items: Vec::new(), more: false, wrong: None };
        while let Some(As(item)) = seq.next_element()? {
            match item {
                Ok(item) => list.more |= list.items.push(item).is_err(),
                Err(value) => list.wrong = list.wrong.or(Some(value.in_list())),
            }
        }
        Ok(Ok(list))
    }
}

/// A list of status codes in a document.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Codes<'a> {
    pub(super) set: StatusCodes,
    /// The first item that is not a code.
    pub(super) wrong: Option<Value<'a>>,
}

impl<'de: 'a, 'a> Shape<'de> for Codes<'a> {
    fn of_seq<A: SeqAccess<'de>>(mut seq: A) -> Result<Result<Self, Value<'de>>, A::Error> {
        let mut codes = Self::default();
        while let Some(code) = seq.next_element::<Value<'_>>()? {
            if !codes.set.insert(code) {
                codes.wrong = codes.wrong.or(Some(code.in_list()));
            }
        }
        Ok(Ok(codes))
    }
}

impl Value<'_> {
    /// Returns this value for use as an item of a list. No item of a list can be missing, so null is a wrong value
    /// there.
    fn in_list(self) -> Self {
        if self == Self::Missing { Self::Other } else { self }
    }
}

//! Mergers of JSON: [`JsonArrays`] and [`JsonObjects`].

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::mapper::BoxError;
use super::merger::Merger;
use super::parts::Parts;

/// A merger of replies that are JSON arrays. The elements are joined into one array, in the order of the sub-channels.
#[derive(Clone, Copy)]
pub struct JsonArrays<F>(F);

/// A merger of replies that are JSON objects. The members are joined into one object. Two parts must not have a member
/// of the same name.
#[derive(Clone, Copy)]
pub struct JsonObjects<F>(F);

impl<F> JsonArrays<F> {
    /// Makes the merger. `text` returns the JSON text of a reply.
    pub const fn new<Reply>(text: F) -> Self
    where
        F: Fn(&Reply) -> &[u8],
    {
        Self(text)
    }
}

impl<F> JsonObjects<F> {
    /// Makes the merger. `text` returns the JSON text of a reply.
    pub const fn new<Reply>(text: F) -> Self
    where
        F: Fn(&Reply) -> &[u8],
    {
        Self(text)
    }
}

/// Why replies cannot be joined as JSON. The text names the part.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// The reply of a part is not JSON, or not of the type that the merger expects.
    Invalid {
        /// The name of the part's sub-channel.
        part: Arc<str>,
        /// What is wrong, with the line and the column.
        error: serde_json::Error,
    },
    /// Two parts have a member of the same name.
    SameMember {
        /// The name of the member.
        member: String,
        /// The name of the sub-channel whose reply has the member a second time.
        part: Arc<str>,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { part, error } => write!(f, "reply of {part}: {error}"),
            Self::SameMember { member, part } => {
                write!(f, "reply of {part}: an earlier part has the member {member:?} too")
            }
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads the JSON text of each reply. Each comes with the name of its part.
fn read<'a, Reply, E, V: serde::de::DeserializeOwned>(
    parts: &'a Parts<Reply, E>,
    text: impl Fn(&Reply) -> &[u8] + 'a,
) -> impl Iterator<Item = Result<(&'a Arc<str>, V), JsonError>> + 'a {
    parts.replies().filter_map(move |(index, reply)| {
        let part = &parts.get(index)?.name;
        let value = serde_json::from_slice(text(reply));
        Some(value.map(|value| (part, value)).map_err(|error| JsonError::Invalid { part: Arc::clone(part), error }))
    })
}

impl<Reply, E, F: Fn(&Reply) -> &[u8] + Send + Sync> Merger<Reply, E> for JsonArrays<F> {
    type Merged = Vec<Value>;

    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Vec<Value>, BoxError> {
        let mut all = Vec::new();
        for part in read::<_, _, Vec<Value>>(parts, &self.0) {
            all.extend(part?.1);
        }
        Ok(all)
    }
}

impl<Reply, E, F: Fn(&Reply) -> &[u8] + Send + Sync> Merger<Reply, E> for JsonObjects<F> {
    type Merged = Map<String, Value>;

    fn merge(&self, parts: &Parts<Reply, E>) -> Result<Map<String, Value>, BoxError> {
        let mut all = Map::new();
        for part in read::<_, _, Map<String, Value>>(parts, &self.0) {
            let (part, members) = part?;
            for (member, value) in members {
                if all.contains_key(&member) {
                    return Err(JsonError::SameMember { member, part: Arc::clone(part) }.into());
                }
                all.insert(member, value);
            }
        }
        Ok(all)
    }
}

impl<F> fmt::Debug for JsonArrays<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonArrays").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for JsonObjects<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonObjects").finish_non_exhaustive()
    }
}

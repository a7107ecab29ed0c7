//! Reads the fields that another crate adds to the file of a channel, in the same way as the fields of
//! [`ChannelConfig`](super::ChannelConfig). An error names the field and its value, and says what to write.

use serde::{Deserialize, Deserializer};

pub use crate::field::named::{FromScalar, Ranged, Scalar};
use crate::field::named::{Place, optional as named};
use crate::field::table as tables;

/// Reads a field that may be absent or null. `wanted` says what its value must be.
///
/// # Errors
/// The value is not valid.
pub fn optional<'de, T: FromScalar, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
    wanted: &'static str,
) -> Result<Option<T>, D::Error> {
    named::read(deserializer, Place::new(field, wanted))
}

/// Reads a field that may be absent or null. Its type states what the value must be.
///
/// # Errors
/// The value is not valid.
pub fn optional_ranged<'de, T: FromScalar + Ranged, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
) -> Result<Option<T>, D::Error> {
    named::read(deserializer, Place::of::<T>(field))
}

/// Reads a field whose value is a map of fields, and that may be absent or null.
///
/// # Errors
/// The value is not a map, or a field in it is not valid.
pub fn optional_table<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    field: &'static str,
) -> Result<Option<T>, D::Error> {
    tables::read_optional(deserializer, field)
}

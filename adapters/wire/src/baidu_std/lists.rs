//! What comes any number of times in a meta: [`UserFields`] and [`Ids`]. Neither needs a heap: each is a slice of the
//! caller's, or the bytes of a meta that has been read once.

use core::fmt;

use crate::protobuf::{Field, Fields, Value};

/// Names and values that go along with a request or a response.
///
/// ```
/// use hedge_wire::baidu_std::UserFields;
///
/// let fields = UserFields::of(&[("region", b"eu"), ("region", b"us")]);
/// assert_eq!((fields.get("region"), fields.get("zone")), (Some(&b"us"[..]), None));
/// assert_eq!(fields.iter().count(), 2);
/// ```
#[derive(Clone, Copy)]
pub struct UserFields<'a> {
    pairs: &'a [(&'a str, &'a [u8])],
    meta: &'a [u8],
}

impl<'a> UserFields<'a> {
    /// The number of the field in a meta.
    pub(super) const FIELD: u32 = 9;

    /// These names and values.
    #[must_use]
    pub const fn of(pairs: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { pairs, meta: &[] }
    }

    /// The fields of a meta that has been read without an error.
    pub(super) const fn of_meta(meta: &'a [u8]) -> Self {
        Self { pairs: &[], meta }
    }

    /// All names and values, in the order of the wire. They are bytes: a peer may send what is not UTF-8. If a name
    /// comes twice, its last value counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let entries = Fields::new(self.meta).flatten().filter_map(|field| match (field.number, field.value) {
            (Self::FIELD, Value::Bytes(bytes)) => Some(entry(&field, bytes)),
            _ => None,
        });
        self.pairs.iter().map(|(name, value)| (name.as_bytes(), *value)).chain(entries)
    }

    /// The value of this name. This searches through the meta.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().filter(|(other, _)| *other == name.as_bytes()).last().map(|(_, value)| value)
    }
}

fn entry<'a>(field: &Field<'a>, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let (mut name, mut value) = (&[][..], &[][..]);
    for inner in field.fields(bytes).flatten() {
        match (inner.number, inner.value) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    (name, value)
}

impl Default for UserFields<'_> {
    /// No fields.
    fn default() -> Self {
        Self::of(&[])
    }
}

impl PartialEq for UserFields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserFields<'_> {}

impl fmt::Debug for UserFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            map.entry(&format_args!("{}", name.escape_ascii()), &format_args!("{}", value.escape_ascii()));
        }
        map.finish()
    }
}

/// The ids of streams.
#[derive(Clone, Copy)]
pub struct Ids<'a> {
    ids: &'a [i64],
    settings: &'a [u8],
}

impl<'a> Ids<'a> {
    /// The number of the field in the settings of a stream.
    pub(super) const FIELD: u32 = 4;

    /// These ids.
    #[must_use]
    pub const fn of(ids: &'a [i64]) -> Self {
        Self { ids, settings: &[] }
    }

    /// The ids in the settings of a stream that have been read without an error.
    pub(super) const fn of_settings(settings: &'a [u8]) -> Self {
        Self { ids: &[], settings }
    }

    /// All ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + use<'a> {
        let fields = Fields::new(self.settings).flatten().filter(|field| field.number == Self::FIELD);
        let read = fields.flat_map(|field| field.numbers()).flatten();
        self.ids.iter().copied().chain(read.map(u64::cast_signed))
    }
}

impl Default for Ids<'_> {
    /// No ids.
    fn default() -> Self {
        Self::of(&[])
    }
}

impl PartialEq for Ids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Ids<'_> {}

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

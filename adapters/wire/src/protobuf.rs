//! The wire format of protocol buffers, as far as the metas of RPC frames need it: fields one after another, borrowed.

use core::fmt;

/// The most bytes that a varint of 64 bits takes.
const MAX_VARINT: usize = 10;

/// The fields of a message, in their order. After an error there are no more fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    /// The place of the first of these bytes in the outermost message.
    at: usize,
}

/// A field of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// The place of its tag in the outermost message.
    pub(crate) at: usize,
    /// The place right behind it.
    pub(crate) end: usize,
}

/// The value of a field, as its tag says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// Four or eight bytes, which no meta uses.
    Fixed,
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The fields of an outermost message.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn read(&mut self) -> Result<Field<'a>, Malformed> {
        let at = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(Malformed::Tag { at })?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8, at).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX), at)?)
            }
            3 | 4 => return Err(Malformed::Group { at }),
            5 => self.take(4, at).map(|_| Value::Fixed)?,
            _ => return Err(Malformed::Tag { at }),
        };
        Ok(Field { number, value, at, end: self.at })
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let at = self.at;
        let mut value = 0_u64;
        for (index, byte) in self.bytes.iter().take(MAX_VARINT).enumerate() {
            let shift = u32::try_from(index).unwrap_or(0).saturating_mul(7);
            // The tenth byte has room for one bit.
            if shift == 63 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                self.take(index.saturating_add(1), at)?;
                return Ok(value);
            }
        }
        if self.bytes.len() < MAX_VARINT { Err(Malformed::Truncated { at }) } else { Err(Malformed::Varint { at }) }
    }

    /// Takes this many bytes, which belong to the field at that place.
    fn take(&mut self, length: usize, field: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Malformed::Truncated { at: field })?;
        self.bytes = rest;
        self.at = self.at.saturating_add(length);
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.bytes = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    /// The fields of the message that is the value of this field. `bytes` are that value.
    pub(crate) const fn fields(&self, bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: self.end.saturating_sub(bytes.len()) }
    }

    /// The numbers of a field that may come more than once: one number, or several that are packed.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Result<u64, Malformed>> + use<'a> {
        let (one, packed) = match self.value {
            Value::Varint(one) => (Some(Ok(one)), &[][..]),
            Value::Bytes(packed) => (None, packed),
            Value::Fixed => (None, &[][..]),
        };
        let mut packed = self.fields(packed);
        let packed = core::iter::from_fn(move || {
            let number = (!packed.bytes.is_empty()).then(|| packed.varint())?;
            if number.is_err() {
                packed.bytes = &[];
            }
            Some(number)
        });
        one.into_iter().chain(packed)
    }

    /// The value as text. `bytes` are that value.
    pub(crate) fn text(&self, bytes: &'a [u8]) -> Result<&'a str, Malformed> {
        core::str::from_utf8(bytes).map_err(|_| Malformed::Utf8 { at: self.at })
    }
}

/// A number of 32 bits as a varint carries it: its low bits.
pub(crate) const fn int32(varint: u64) -> i32 {
    let [a, b, c, d, ..] = varint.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Writes fields as long as they fit, and counts all bytes, so that an error can say how many are needed.
#[derive(Debug)]
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    length: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    /// How many bytes the fields take.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if let Some(to) = self.out.get_mut(self.length..).and_then(|rest| rest.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.put(&[low | 0x80]);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.put(&[low]);
    }

    pub(crate) fn number(&mut self, field: u32, value: Option<i64>) {
        if let Some(value) = value {
            self.varint(u64::from(field) << 3);
            self.varint(value.cast_unsigned());
        }
    }

    pub(crate) fn bytes(&mut self, field: u32, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.tag_of(field, value.len());
            self.put(value);
        }
    }

    /// Writes a message of the fields that `write` writes. It is called twice: first for the length.
    pub(crate) fn message(&mut self, field: u32, write: impl Fn(&mut Writer<'_>)) {
        let mut measure = Writer::new(&mut []);
        write(&mut measure);
        self.tag_of(field, measure.length);
        write(self);
    }

    fn tag_of(&mut self, field: u32, length: usize) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(u64::try_from(length).unwrap_or(u64::MAX));
    }
}

/// Why bytes are not the protocol buffer that they should be. Places count from the start of the outermost message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end within a field, or a field announces more bytes than there are.
    Truncated {
        /// Where the field or the number begins.
        at: usize,
    },
    /// A number takes more than 64 bits.
    Varint {
        /// Where the number begins.
        at: usize,
    },
    /// A tag has a field number or a type that does not exist.
    Tag {
        /// Where the tag begins.
        at: usize,
    },
    /// A group, which no message here has.
    Group {
        /// Where the group's tag begins.
        at: usize,
    },
    /// A text is not UTF-8.
    Utf8 {
        /// Where the text's field begins.
        at: usize,
    },
    /// A part that may come once comes twice.
    Twice {
        /// Where it begins for the second time.
        at: usize,
    },
    /// A part lacks a field that it must have, or that field is an empty text.
    Missing {
        /// The name of the field.
        field: &'static str,
        /// Where the part begins.
        at: usize,
    },
}

impl Malformed {
    /// The byte at which the fault was found, counted from the start of the outermost message.
    #[must_use]
    pub const fn at(&self) -> usize {
        match self {
            Self::Truncated { at }
            | Self::Varint { at }
            | Self::Tag { at }
            | Self::Group { at }
            | Self::Utf8 { at }
            | Self::Twice { at }
            | Self::Missing { at, .. } => *at,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at();
        match self {
            Self::Truncated { .. } => write!(f, "the field at byte {at} has no end"),
            Self::Varint { .. } => write!(f, "the number at byte {at} takes more than 64 bits"),
            Self::Tag { .. } => write!(f, "the tag at byte {at} has an unknown type or field number"),
            Self::Group { .. } => write!(f, "the field at byte {at} is a group, which is not accepted"),
            Self::Utf8 { .. } => write!(f, "the text at byte {at} is not UTF-8"),
            Self::Twice { .. } => write!(f, "the part at byte {at} came before"),
            Self::Missing { field, .. } => write!(f, "the part at byte {at} has no {field}"),
        }
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(bytes: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        Fields::new(bytes).collect()
    }

    #[test]
    fn fields_are_read_in_their_order() {
        let field = |number, value, at, end| Field { number, value, at, end };
        let bytes = b"\x08\x96\x01\x12\x02hi\x1d1234\x2112345678\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let expected = [
            field(1, Value::Varint(150), 0, 3),
            field(2, Value::Bytes(b"hi"), 3, 7),
            field(3, Value::Fixed, 7, 12),
            field(4, Value::Fixed, 12, 21),
            field(5, Value::Varint(u64::MAX), 21, 32),
        ];
        assert_eq!(read(bytes).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn p1_a_fault_says_its_place() {
        for (bytes, fault) in [
            (&b"\x08\x01\x80"[..], Malformed::Truncated { at: 2 }),
            (b"\x08\x01\x10", Malformed::Truncated { at: 3 }),
            (b"\x08\x01\x12\x05hi", Malformed::Truncated { at: 2 }),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi", Malformed::Truncated { at: 0 }),
            (b"\x1d123", Malformed::Truncated { at: 0 }),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", Malformed::Varint { at: 1 }),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Malformed::Varint { at: 1 }),
            (b"\x02\x00", Malformed::Tag { at: 0 }),
            (b"\x0e\x00", Malformed::Tag { at: 0 }),
            (b"\x80\x80\x80\x80\x10\x00", Malformed::Tag { at: 0 }),
            (b"\x08\x00\x0b\x0c", Malformed::Group { at: 2 }),
        ] {
            assert_eq!(read(bytes), Err(fault), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let write = |out: &mut [u8]| {
            let mut writer = Writer::new(out);
            writer.number(1, Some(-1));
            writer.number(2, None);
            writer.message(3, |inner| inner.bytes(16, Some(&[7; 200])));
            writer.length()
        };
        let mut out = [0; 300];
        let length = write(&mut out);
        assert_eq!((length, write(&mut [0; 3])), (11 + 3 + 4 + 200, length), "a short buffer is counted as well");
        let written = out.get(..length).unwrap_or(&[]);
        let mut fields = Fields::new(written);
        assert_eq!(fields.next(), Some(Ok(Field { number: 1, value: Value::Varint(u64::MAX), at: 0, end: 11 })));
        let outer = fields.next();
        let Some(Ok(outer @ Field { number: 3, value: Value::Bytes(inner), at: 11, .. })) = outer else {
            panic!("{outer:?}")
        };
        let inner: Vec<_> = outer.fields(inner).collect();
        assert_eq!(inner, [Ok(Field { number: 16, value: Value::Bytes(&[7; 200]), at: 14, end: length })]);
        assert_eq!(fields.next(), None);
    }

    #[test]
    fn numbers_come_one_by_one_or_packed() {
        let numbers =
            |bytes| Fields::new(bytes).flat_map(|field| field.unwrap().numbers()).collect::<Result<Vec<_>, _>>();
        assert_eq!(numbers(b"\x20\x01\x22\x03\x02\x80\x01\x20\x03"), Ok(std::vec![1, 2, 128, 3]));
        assert_eq!(numbers(b"\x20\x01\x22\x02\x02\x80\x20\x03"), Err(Malformed::Truncated { at: 5 }));
    }
}

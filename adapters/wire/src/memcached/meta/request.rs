//! Writes requests as bytes: [`Request`].

use core::fmt;

use super::super::{EncodeError, Key, MAX_VALUE};
use super::{Flag, base64};
use crate::write::{Writer, decimal};

/// A request: a command and its flags. It borrows all its parts.
///
/// ```
/// use hedge_wire::memcached::meta::{Flag, Mode, Operation, Request};
/// use hedge_wire::memcached::{EncodeError, Key};
///
/// let operation = Operation::Set { key: Key::new(b"a")?, value: b"hi" };
/// let flags = [Flag::Expires(60), Flag::Mode(Mode::Add)];
/// let mut out = [0; 64];
/// let length = Request { operation, flags: &flags }.encode(&mut out)?;
/// assert_eq!(&out[..length], b"ms a 2 T60 ME\r\nhi\r\n");
///
/// // A key of any bytes goes in base64. `t` does not belong to `ms`.
/// let operation = Operation::Set { key: Key::binary(b"a b")?, value: b"" };
/// let length = Request { operation, flags: &[] }.encode(&mut out)?;
/// assert_eq!(&out[..length], b"ms YSBi 0 b\r\n\r\n");
/// let error = Request { operation, flags: &[Flag::Remaining] }.encode(&mut out);
/// assert_eq!(error, Err(EncodeError::BadFlag { index: 0 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The command.
    pub operation: Operation<'a>,
    /// The flags, in any order, each at most once.
    pub flags: &'a [Flag<'a>],
}

/// The command of a [`Request`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// `mg`: reads a value, or what is known of it. Some flags make it change the value too.
    Get {
        /// The key.
        key: Key<'a>,
    },
    /// `ms`: stores a value.
    Set {
        /// The key.
        key: Key<'a>,
        /// The value, at most [`MAX_VALUE`] bytes.
        value: &'a [u8],
    },
    /// `md`: deletes a value.
    Delete {
        /// The key.
        key: Key<'a>,
    },
    /// `ma`: changes a counter.
    Arithmetic {
        /// The key.
        key: Key<'a>,
    },
    /// `mn`: does nothing, and has no flags. The answer tells that all requests before it were done.
    NoOp,
    /// `me`: asks for what the server knows of a key, as text for people. It has no flags.
    Debug {
        /// The key.
        key: Key<'a>,
    },
}

impl Request<'_> {
    /// Whether the request may be sent twice, or to two servers at once, with the same result. This is true only for
    /// reads whose flags change nothing. The caller may know that another request may be sent twice too.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        match self.operation {
            Operation::Get { .. } => !self.flags.iter().any(Flag::changes),
            Operation::NoOp | Operation::Debug { .. } => true,
            _ => false,
        }
    }

    /// Whether the server may send no answer.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.flags.contains(&Flag::Quiet)
    }

    /// How many bytes the request takes.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn length(&self) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(&mut []);
        self.write(&mut writer)?;
        Ok(writer.length)
    }

    /// Writes the request to `out`, and returns how many bytes were written.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        self.write(&mut writer)?;
        writer.finish().map_err(|needs| EncodeError::TooLong { needs })
    }

    /// Appends the request to `out`, which grows at most once.
    ///
    /// # Errors
    /// See [`EncodeError`]. `out` is as it was then.
    #[cfg(feature = "alloc")]
    pub fn append(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
        let (length, begin) = (self.length()?, out.len());
        out.resize(begin.saturating_add(length), 0);
        self.write(&mut Writer::new(out.get_mut(begin..).unwrap_or(&mut [])))
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let (letter, key, value) = self.operation.parts();
        self.check(letter)?;
        out.put(&[b'm', letter]);
        if let Some(key) = key {
            out.put(b" ");
            if key.is_binary() { base64::encode(key.bytes(), out) } else { out.put(key.bytes()) }
        }
        if let Some(value) = value {
            let too_long = EncodeError::ValueTooLong { length: value.len() };
            let length = u64::try_from(value.len()).ok().filter(|_| value.len() <= MAX_VALUE).ok_or(too_long)?;
            out.put(b" ");
            out.put(decimal(length, &mut [0; 20]));
        }
        if key.is_some_and(|key| key.is_binary()) {
            out.put(b" b");
        }
        for flag in self.flags {
            flag.write(out);
        }
        out.put(b"\r\n");
        if let Some(value) = value {
            out.put(value);
            out.put(b"\r\n");
        }
        Ok(())
    }

    /// Checks that each flag belongs to the command, and that none is repeated.
    fn check(&self, command: u8) -> Result<(), EncodeError> {
        let mut seen = 0_u128;
        for (index, flag) in self.flags.iter().enumerate() {
            let bit = 1_u128.checked_shl(u32::from(flag.letter())).unwrap_or(0);
            if seen & bit != 0 || !flag.is_allowed(command) {
                return Err(EncodeError::BadFlag { index });
            }
            seen |= bit;
        }
        Ok(())
    }
}

impl<'a> Operation<'a> {
    /// The letter, the key and the value.
    fn parts(&self) -> (u8, Option<Key<'a>>, Option<&'a [u8]>) {
        match *self {
            Self::Get { key } => (b'g', Some(key), None),
            Self::Set { key, value } => (b's', Some(key), Some(value)),
            Self::Delete { key } => (b'd', Some(key), None),
            Self::Arithmetic { key } => (b'a', Some(key), None),
            Self::NoOp => (b'n', None, None),
            Self::Debug { key } => (b'e', Some(key), None),
        }
    }
}

impl fmt::Debug for Operation<'_> {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, key, value) = self.parts();
        let key = key.map_or(&[][..], |key| key.bytes());
        write!(f, "m{}({}, {} bytes)", char::from(letter), key.escape_ascii(), value.unwrap_or(&[]).len())
    }
}

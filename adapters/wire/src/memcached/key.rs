//! Keys: [`Key`].

use core::fmt;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 250;

/// The longest key that may have any bytes. In base64, it takes no more than [`MAX_KEY`] bytes.
pub const MAX_BINARY_KEY: usize = 186;

/// A key that memcached accepts.
///
/// ```
/// use hedge_wire::memcached::{Key, KeyError};
///
/// assert_eq!(Key::new(b"user:7")?.bytes(), b"user:7");
/// assert_eq!(Key::new(b"user 7"), Err(KeyError::BadByte { byte: b' ', at: 4 }));
/// assert!(Key::binary(b"user 7").is_ok());
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    bytes: &'a [u8],
    is_binary: bool,
}

impl<'a> Key<'a> {
    /// A key of 1 to [`MAX_KEY`] bytes without blanks and control characters. Bytes above 127 are allowed.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, KeyError> {
        check_length(bytes, MAX_KEY)?;
        match bytes.iter().position(|&byte| byte <= b' ' || byte == 0x7f) {
            Some(at) => Err(KeyError::BadByte { byte: bytes.get(at).copied().unwrap_or(0), at }),
            None => Ok(Self { bytes, is_binary: false }),
        }
    }

    /// A key of 1 to [`MAX_BINARY_KEY`] bytes, which may be any bytes. `meta` sends it in base64 and says so, and
    /// `binary` sends it as it is. The server stores the same key.
    ///
    /// # Errors
    /// [`KeyError::Empty`] or [`KeyError::TooLong`].
    pub fn binary(bytes: &'a [u8]) -> Result<Self, KeyError> {
        check_length(bytes, MAX_BINARY_KEY)?;
        Ok(Self { bytes, is_binary: true })
    }

    /// The key.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether this is a key of any bytes.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.is_binary
    }
}

fn check_length(bytes: &[u8], limit: usize) -> Result<(), KeyError> {
    match bytes.len() {
        0 => Err(KeyError::Empty),
        length if length > limit => Err(KeyError::TooLong { length, limit }),
        _ => Ok(()),
    }
}

/// Why a key is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum KeyError {
    /// The key has no bytes.
    Empty,
    /// The key is too long.
    TooLong {
        /// The length of the key.
        length: usize,
        /// The limit: [`MAX_KEY`] or [`MAX_BINARY_KEY`].
        limit: usize,
    },
    /// The key has a blank or a control character.
    BadByte {
        /// The first of them.
        byte: u8,
        /// Its offset in the key.
        at: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("key: empty"),
            Self::TooLong { length, limit } => write!(f, "key: has {length} bytes, more than {limit}"),
            Self::BadByte { byte, at } => {
                write!(f, "key: byte {at} is a blank or control character, '{}'", byte.escape_ascii())
            }
        }
    }
}

impl core::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_keys_that_memcached_would_misread_are_refused() {
        let long = [b'k'; 251];
        assert_eq!(Key::new(b""), Err(KeyError::Empty));
        assert_eq!(Key::new(&long[..250]).map(|key| key.bytes().len()), Ok(250));
        assert_eq!(Key::new(&long), Err(KeyError::TooLong { length: 251, limit: 250 }));
        for byte in (0..=b' ').chain([0x7f]) {
            assert_eq!(Key::new(&[b'a', byte, b' ']), Err(KeyError::BadByte { byte, at: 1 }));
        }
        for byte in (b'!'..0x7f).chain(0x80..=0xff) {
            assert!(Key::new(&[byte]).is_ok(), "{byte}");
        }
        assert_eq!(Key::binary(&long[..187]), Err(KeyError::TooLong { length: 187, limit: 186 }));
        assert!(Key::binary(&[0; 186]).is_ok_and(|key| key.is_binary()));
    }
}

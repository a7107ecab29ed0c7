//! What a caller sends along with its call ([W3](hedge_core::rules#W3)): the checked text of a [`RequestId`], and
//! [`random_key`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hedge_core::id::IdempotencyKey;

/// The caller's id of its request, in a form that every protocol can carry: 1 to 256 printable ASCII characters, and
/// none of the blanks at the start or the end. Clones share the text.
///
/// ```
/// use hedge_fleet::RequestId;
///
/// let id = RequestId::new("order-4711/2")?;
/// assert_eq!(id.as_str(), "order-4711/2");
///
/// let error = RequestId::new("a\r\nx-role: admin").unwrap_err();
/// assert_eq!(error.to_string(), "request id: byte 1 is not a printable ascii character");
/// # Ok::<(), hedge_fleet::RequestIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestId(Arc<str>);

/// The largest number of bytes of a request id.
const MAX_BYTES: usize = 256;

impl RequestId {
    /// Makes the id of this text.
    ///
    /// # Errors
    /// Returns an error if the text is empty or longer than 256 bytes, has a character that is not printable ASCII
    /// (such as a line break), or begins or ends with a blank.
    pub fn new(text: &str) -> Result<Self, RequestIdError> {
        if text.is_empty() {
            return Err(RequestIdError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(RequestIdError::TooLong { bytes: text.len() });
        }
        if let Some(at) = text.bytes().position(|byte| !matches!(byte, b' '..=b'~')) {
            return Err(RequestIdError::NotPrintable { at });
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err(RequestIdError::OuterBlank);
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text cannot be a [`RequestId`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RequestIdError {
    /// It is empty.
    Empty,
    /// It is longer than 256 bytes.
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// It has a character that is not printable ASCII.
    NotPrintable {
        /// The index of the byte.
        at: usize,
    },
    /// It begins or ends with a blank, which some protocols remove.
    OuterBlank,
}

impl fmt::Display for RequestIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("request id: it is empty"),
            Self::TooLong { bytes } => write!(f, "request id: {bytes} bytes are over the limit of {MAX_BYTES}"),
            Self::NotPrintable { at } => write!(f, "request id: byte {at} is not a printable ascii character"),
            Self::OuterBlank => f.write_str("request id: it begins or ends with a blank"),
        }
    }
}

impl Error for RequestIdError {}

/// Draws a key for one call from the random source of the operating system, which cannot be predicted. So a stranger
/// cannot guess the key of a call and have its copies dropped ([Y1](hedge_core::rules#Y1)), and even a server that has
/// seen many keys of this client cannot guess the next one. Balancers and backoffs use cheaper random numbers that
/// follow from a seed of 64 bits; a key must not.
///
/// `None` if the operating system has no random numbers, which does not happen on usual systems. A call then goes
/// without a key.
///
/// # Cost
/// One system call, below a microsecond. It may block only while the machine boots.
#[must_use]
pub fn random_key() -> Option<IdempotencyKey> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(IdempotencyKey::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn w3_a_request_id_has_nothing_that_a_protocol_could_misread() {
        for (text, expected) in [
            ("", RequestIdError::Empty),
            ("a\nb", RequestIdError::NotPrintable { at: 1 }),
            ("a\rb", RequestIdError::NotPrintable { at: 1 }),
            ("\0", RequestIdError::NotPrintable { at: 0 }),
            ("ab\t", RequestIdError::NotPrintable { at: 2 }),
            ("é", RequestIdError::NotPrintable { at: 0 }),
            ("a\u{7f}", RequestIdError::NotPrintable { at: 1 }),
            (" a", RequestIdError::OuterBlank),
            ("a ", RequestIdError::OuterBlank),
            (&"x".repeat(257), RequestIdError::TooLong { bytes: 257 }),
        ] {
            assert_eq!(RequestId::new(text), Err(expected), "{text:?}");
        }
        for text in ["a", "a b", "!~", &"x".repeat(256)] {
            assert_eq!(RequestId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn w3_no_two_keys_are_equal() {
        let keys: HashSet<_> = (0..1_000).map(|_| random_key().unwrap()).collect();
        assert_eq!(keys.len(), 1_000);
    }
}

//! What a caller sends along with its call ([W3](hedge_core::rules#W3)): [`AlongOptions`], the checked text of a
//! [`RequestId`], and [`random_key`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hedge_core::drive::CallAlong;
use hedge_core::id::IdempotencyKey;

/// What a caller sends along with each attempt of a call, in [`CallOptions::along`](crate::CallOptions::along). A
/// transport that has no room for these data does not send them. A channel over HTTP sends them only if an option says
/// so.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlongOptions {
    /// An id for logs. A service should pass it on to the services that it calls, so that their logs can be joined, as
    /// in brpc.
    pub log_id: Option<u64>,
    /// The caller's id of its request.
    pub request_id: Option<RequestId>,
    /// The key of the call, which is the same on each of its attempts. If it is `None` and the channel sends keys, a new
    /// one is drawn by [`random_key`]. A program sets its own key if it repeats a call itself and servers should treat
    /// both calls as one. `Debug` does not show the key. The sub-calls of a `Selective` carry the call's key. The parts
    /// of a parallel call are different requests, so each of them has a key of its own, and this one is not used.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl AlongOptions {
    /// Returns what goes along with each attempt of a call with these options. `None` if there is nothing. If `wants_key`
    /// is true and the options have no key, a key is drawn. A host calls this once for each call, before its first
    /// attempt, and lends the result to the attempts ([`CallAlong::of_attempt`]).
    ///
    /// # Cost
    /// Two comparisons if there is nothing. Else one allocation, which keeps the futures of other calls small.
    #[inline]
    #[must_use]
    pub fn call_along(options: Option<&Self>, wants_key: bool) -> Option<Box<CallAlong<'_>>> {
        if options.is_some() || wants_key { Some(Self::make(options, wants_key)) } else { None }
    }

    #[cold]
    fn make(options: Option<&Self>, wants_key: bool) -> Box<CallAlong<'_>> {
        let own_key = options.and_then(|options| options.idempotency_key);
        let key = own_key.or_else(|| if wants_key { random_key() } else { None });
        let request_id = options.and_then(|options| options.request_id.as_ref());
        let log_id = options.and_then(|options| options.log_id);
        Box::new(CallAlong::new(log_id, request_id.map(RequestId::as_str), key))
    }
}

/// The caller's id of its request, in a form that every protocol can carry: 1 to 256 printable ASCII characters,
/// without a blank at the start or the end. Clones share the text.
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
/// cannot guess the key of a call and make servers drop its copies ([Y1](hedge_core::rules#Y1)). Even a server that has
/// seen many keys of this client cannot guess the next one. Balancers and backoffs use cheaper random numbers, which
/// follow from a seed of 64 bits. Such numbers are not safe enough for a key.
///
/// `None` if the operating system has no random numbers, which does not happen on usual systems. The call then has no
/// key.
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
    fn w3_a_key_is_drawn_only_if_it_is_wanted_and_the_caller_has_none() {
        let key =
            |options: Option<&AlongOptions>, wants| AlongOptions::call_along(options, wants).map(|along| along.key);
        assert_eq!(key(None, false), None);
        assert!(key(None, true).flatten().is_some());
        let mut own = AlongOptions { log_id: Some(7), ..AlongOptions::default() };
        assert_eq!(key(Some(&own), false), Some(None));
        own.idempotency_key = Some(IdempotencyKey::from_bytes([0xab; 16]));
        assert_eq!(
            (key(Some(&own), false), key(Some(&own), true)),
            (Some(own.idempotency_key), Some(own.idempotency_key))
        );
        let shown = format!("{own:?} {:?}", AlongOptions::call_along(Some(&own), false));
        assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
    }

    #[test]
    fn w3_no_two_keys_are_equal() {
        let keys: HashSet<_> = (0..1_000).map(|_| random_key().unwrap()).collect();
        assert_eq!(keys.len(), 1_000);
    }
}

//! Reads of many keys at once: [`GetMany`].

use super::super::{EncodeError, Key};
use super::{HEAD, Opcode, Operation, Request, Response, Status};
use crate::write::Writer;

/// A read of many keys: one quiet request for each key, and a no-op at the end. A quiet request is answered only if the
/// value is found. The answer to the no-op is the last answer.
///
/// ```
/// use hedge_wire::memcached::binary::{Found, GetMany, Response};
/// use hedge_wire::memcached::{Key, Progress};
///
/// let keys = [Key::new(b"a")?, Key::new(b"b")?];
/// let many = GetMany { keys: &keys, opaque: 100 };
/// let mut out = [0; 128];
/// assert_eq!(many.encode(&mut out)?, 25 + 25 + 24);
///
/// // Only the second key is found.
/// let received = b"\x81\x0d\0\x01\x04\0\0\0\0\0\0\x07\0\0\0\x65\0\0\0\0\0\0\0\x01\0\0\0\0bhi\
///     \x81\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\x66\0\0\0\0\0\0\0\0";
/// let Progress::Done { response, length } = Response::decode(received, 1024)? else { return Err("not complete".into()) };
/// assert_eq!((many.found(&response), response.value()), (Some(Found::Key(1)), &b"hi"[..]));
/// let Progress::Done { response, .. } = Response::decode(&received[length..], 1024)? else { return Err("not complete".into()) };
/// assert_eq!(many.found(&response), Some(Found::End));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetMany<'a> {
    /// The keys, or none.
    pub keys: &'a [Key<'a>],
    /// The opaque of the first key. Each key has the next number, and the no-op has the one after the last key's. They wrap
    /// at 32 bits.
    pub opaque: u32,
}

/// What an answer to a [`GetMany`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Found {
    /// The value of the key with this index.
    Key(usize),
    /// An error for the key with this index. The status says which.
    Failed(usize),
    /// No more answers come. Keys without an answer have no value.
    End,
}

impl GetMany<'_> {
    /// How many bytes the requests take.
    #[must_use]
    pub fn length(&self) -> usize {
        let keys = self.keys.iter().map(|key| HEAD.saturating_add(key.bytes().len()));
        keys.fold(HEAD, usize::saturating_add)
    }

    /// Writes all requests to `out`, and returns how many bytes were written.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        self.write(&mut writer)?;
        writer.finish().map_err(|needs| EncodeError::TooLong { needs })
    }

    /// Appends all requests to `out`, which grows at most once.
    ///
    /// # Errors
    /// As for [`Request::append`]. Keys alone cause none.
    #[cfg(feature = "alloc")]
    pub fn append(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
        let begin = out.len();
        out.resize(begin.saturating_add(self.length()), 0);
        self.write(&mut Writer::new(out.get_mut(begin..).unwrap_or(&mut [])))
    }

    /// What this answer is. `None` if it answers no request of these: then the connection is of no further use, since its
    /// answers are not in the order of the requests.
    #[must_use]
    pub fn found(&self, response: &Response<'_>) -> Option<Found> {
        let index = usize::try_from(response.opaque().wrapping_sub(self.opaque)).ok()?;
        match (response.opcode(), self.keys.get(index)) {
            (Opcode::NoOp, None) if index == self.keys.len() => Some(Found::End),
            (Opcode::GetKQ, Some(key)) if response.status() == Status::Ok => {
                (response.key() == key.bytes()).then_some(Found::Key(index))
            }
            (Opcode::GetKQ, Some(_)) => Some(Found::Failed(index)),
            _ => None,
        }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut opaque = self.opaque;
        for key in self.keys {
            let operation = Operation::Get { key: *key, with_key: true };
            Request { operation, is_quiet: true, opaque }.write(out)?;
            opaque = opaque.wrapping_add(1);
        }
        Request { operation: Operation::NoOp, is_quiet: false, opaque }.write(out)
    }
}

//! The number of bytes that wait to be written on a connection ([C7](hedge_core::rules#C7)): [`Unwritten`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that calls have given to a connection and that are not written yet. If the count would exceed its
/// limit, a call fails with [`Overcrowded`]. No part of its request has left this client.
///
/// # Cost
/// Each message costs two atomic operations.
///
/// ```
/// use hedge_link::Unwritten;
///
/// let unwritten = Unwritten::new(1_000);
/// let message = unwritten.add(800)?;
/// assert_eq!(unwritten.add(300).unwrap_err().to_string(), "overcrowded: 800 of 1000 bytes wait to be written, 300 more do not fit");
/// // The message is written, or its call has ended before that.
/// drop(message);
/// assert!(unwritten.add(300).is_ok());
/// # Ok::<(), hedge_link::Overcrowded>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unwritten {
    limit: usize,
    bytes: Arc<AtomicUsize>,
}

impl Unwritten {
    /// The default limit: 64 MiB, as in brpc's `socket_max_unwritten_bytes`.
    pub const DEFAULT_LIMIT: usize = 64 << 20;

    /// Makes a counter whose count is 0. `limit` is in bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: Arc::default() }
    }

    /// Counts the bytes of a message until the result is dropped. The caller must drop the result when the message is
    /// written or thrown away. If no bytes wait, a message is counted even if it is larger than the limit.
    ///
    /// # Errors
    /// Returns an error if other bytes wait, and the count would exceed the limit with this message.
    pub fn add(&self, bytes: usize) -> Result<UnwrittenMessage, Overcrowded> {
        let grown = |before: usize| {
            let after = before.checked_add(bytes)?;
            (before == 0 || after <= self.limit).then_some(after)
        };
        match self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown) {
            Ok(_) => Ok(UnwrittenMessage { bytes, of: Arc::clone(&self.bytes) }),
            Err(unwritten) => Err(Overcrowded { unwritten, bytes, limit: self.limit }),
        }
    }

    /// Returns how many bytes wait to be written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A message that is not written yet.
#[derive(Debug)]
pub struct UnwrittenMessage {
    bytes: usize,
    of: Arc<AtomicUsize>,
}

impl UnwrittenMessage {
    /// Subtracts bytes of the message that have been written. If `bytes` is more than the rest of the message, the rest
    /// is subtracted.
    pub fn wrote(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.of.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for UnwrittenMessage {
    fn drop(&mut self) {
        self.wrote(self.bytes);
    }
}

/// The error of a message for which there is no room, since too many bytes wait to be written on the connection. No
/// part of the message has left this client. The kind of the error is
/// [`Overcrowded`](hedge_core::outcome::ErrorKind::Overcrowded).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overcrowded {
    /// How many bytes waited to be written.
    pub unwritten: usize,
    /// How many bytes the message has.
    pub bytes: usize,
    /// The limit, in bytes.
    pub limit: usize,
}

impl fmt::Display for Overcrowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unwritten, bytes, limit } = self;
        write!(f, "overcrowded: {unwritten} of {limit} bytes wait to be written, {bytes} more do not fit")
    }
}

impl Error for Overcrowded {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn c7_unwritten_bytes_are_bounded() {
        let unwritten = Unwritten::new(100);
        let mut first = unwritten.add(60).unwrap();
        assert_eq!(unwritten.add(41).unwrap_err(), Overcrowded { unwritten: 60, bytes: 41, limit: 100 });
        first.wrote(20);
        first.wrote(usize::MAX);
        assert_eq!(unwritten.bytes(), 0);
        let large = unwritten.add(1_000).expect("it goes alone");
        assert!(unwritten.add(1).is_err() && unwritten.add(usize::MAX).is_err());
        drop((first, large));
        assert_eq!(unwritten.bytes(), 0);
    }

    #[test]
    fn c7_threads_never_exceed_the_limit() {
        let unwritten = Unwritten::new(100);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let message = unwritten.add(40);
                        assert!(unwritten.bytes() <= 100);
                        drop(message);
                    }
                });
            }
        });
        assert_eq!(unwritten.bytes(), 0);
    }
}

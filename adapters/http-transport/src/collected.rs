//! The part of a reply's body that has been read so far: [`Collected`].

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::Frame;

/// A body in memory. A single piece is not copied. Several pieces are copied into one buffer, whose capacity doubles,
/// but never beyond the limit. While it grows, the old and the new buffer exist: together at most twice the limit.
pub(super) struct Collected {
    limit: usize,
    first: Bytes,
    rest: Vec<u8>,
    trailers: Option<Box<HeaderMap>>,
}

/// The body is longer than its limit.
pub(super) struct TooLarge;

impl Collected {
    /// `length` is the length that the server announced. It only lowers the limit; nothing is allocated for it in
    /// advance.
    pub(super) fn new(limit: usize, length: Option<u64>) -> Self {
        let limit = length.and_then(|length| usize::try_from(length).ok()).map_or(limit, |length| length.min(limit));
        Self { limit, first: Bytes::new(), rest: Vec::new(), trailers: None }
    }

    pub(super) fn add(&mut self, frame: Frame<Bytes>) -> Result<(), TooLarge> {
        match frame.into_data() {
            Ok(data) => {
                let held = self.first.len().max(self.rest.len());
                let length = held.checked_add(data.len()).filter(|length| *length <= self.limit).ok_or(TooLarge)?;
                if held == 0 {
                    self.first = data;
                    return Ok(());
                }
                self.grow(length);
                let first = std::mem::take(&mut self.first);
                self.rest.extend_from_slice(&first);
                self.rest.extend_from_slice(&data);
            }
            Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
        }
        Ok(())
    }

    fn grow(&mut self, length: usize) {
        if length > self.rest.capacity() {
            let capacity = self.rest.capacity().saturating_mul(2).min(self.limit).max(length);
            self.rest.reserve_exact(capacity.saturating_sub(self.rest.len()));
        }
    }

    pub(super) fn into_parts(self) -> (Bytes, Option<Box<HeaderMap>>) {
        (if self.rest.is_empty() { self.first } else { self.rest.into() }, self.trailers)
    }
}

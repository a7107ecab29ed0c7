//! Reads bytes into a response: [`Receiver`].

use core::fmt;

use super::chunks::Chunks;
use super::head::{Framing, Head, MAX_HEADERS, Scan};
use super::{Layout, Response};

/// The maximum number of bytes of a response that are dropped: interim responses, chunk extensions and trailers. They
/// take no room in the buffer, so without this limit a server could send them without end.
pub const MAX_DROPPED: usize = 16 * 1024;

/// Reads one response into a buffer that the caller lends. The caller reads bytes from a connection into
/// [`space`](Self::space) and passes their number to [`received`](Self::received), until that returns
/// [`Progress::Done`].
///
/// ```
/// use hedge_wire::http1::{DecodeError, Progress, Receiver};
///
/// let mut buffer = [0; 64];
/// let mut receiver = Receiver::new(&mut buffer, false);
/// for piece in ["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 5\r\n\r\nhel"] {
///     receiver.space()[..piece.len()].copy_from_slice(piece.as_bytes());
///     assert_eq!(receiver.received(piece.len())?, Progress::More);
/// }
/// assert_eq!(receiver.closed(), Err(DecodeError::Truncated));
/// # Ok::<(), DecodeError>(())
/// ```
pub struct Receiver<'b> {
    buffer: &'b mut [u8],
    /// The end of the bytes that are kept.
    filled: usize,
    /// The end of the head, once it is known.
    head_end: usize,
    head: Option<Head>,
    dropped: usize,
    surplus: usize,
    request_was_head: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head(Scan),
    /// A body that ends at this position of the buffer.
    Until(usize),
    Chunked(Chunks),
    UntilClosed,
    Done,
    Failed(DecodeError),
}

/// Whether a response is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Progress {
    /// The response is not complete: more bytes must be read.
    More,
    /// The response is complete.
    Done,
}

impl<'b> Receiver<'b> {
    /// Reads one response into `buffer`. Say with `request_was_head` whether this is the response to a `HEAD` request,
    /// since such a response has no body.
    #[must_use]
    pub fn new(buffer: &'b mut [u8], request_was_head: bool) -> Self {
        let state = if buffer.is_empty() {
            State::Failed(DecodeError::TooLarge { capacity: 0 })
        } else {
            State::Head(Scan::LineStart)
        };
        Self { buffer, filled: 0, head_end: 0, head: None, dropped: 0, surplus: 0, request_was_head, state }
    }

    /// The space into which the next bytes must be read. It is empty only when the response is complete, or after an
    /// error.
    #[must_use]
    pub fn space(&mut self) -> &mut [u8] {
        match self.state {
            State::Done | State::Failed(_) => &mut [],
            _ => self.buffer.get_mut(self.filled..).unwrap_or(&mut []),
        }
    }

    /// Processes the bytes that were read to the start of [`space`](Self::space); `bytes` is their number. 0 means that
    /// the peer has closed the connection, as when [`closed`](Self::closed) is called. A number above the size of the
    /// space counts as that size.
    ///
    /// # Errors
    /// See [`DecodeError`]. After an error, every further call returns the same error. The connection is of no further
    /// use.
    pub fn received(&mut self, bytes: usize) -> Result<Progress, DecodeError> {
        if bytes == 0 {
            return self.closed();
        }
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let end = self.filled.saturating_add(bytes).min(self.buffer.len());
        match self.advance(end) {
            Ok(Progress::More) if self.filled == self.buffer.len() => self.fail(self.too_large()),
            Ok(progress) => Ok(progress),
            Err(error) => self.fail(error),
        }
    }

    /// Call this when the peer has closed the connection, or its sending side. This is the end of a body that has
    /// neither a length nor chunks.
    ///
    /// # Errors
    /// [`DecodeError::Closed`] or [`DecodeError::Truncated`] if the response is not complete. After an error, the same
    /// error again.
    pub fn closed(&mut self) -> Result<Progress, DecodeError> {
        match self.state {
            State::Done => Ok(Progress::Done),
            State::UntilClosed => Ok(self.done()),
            State::Failed(error) => Err(error),
            State::Head(_) if self.filled == 0 && self.dropped == 0 => self.fail(DecodeError::Closed),
            _ => self.fail(DecodeError::Truncated),
        }
    }

    /// The response; `None` if it is not complete.
    #[must_use]
    pub fn response(&self) -> Option<Response<'_>> {
        self.layout()?.of(self.buffer)
    }

    /// The response, borrowed from the buffer instead of from the receiver; `None` if the response is not complete.
    #[must_use]
    pub fn into_response(self) -> Option<Response<'b>> {
        self.layout()?.of(self.buffer)
    }

    /// How many bytes came after the response, in the same piece as its end. No request has asked for them, so they are
    /// dropped, and [`keep_alive`](Response::keep_alive) of the response is false.
    #[must_use]
    pub fn surplus(&self) -> usize {
        self.surplus
    }

    fn layout(&self) -> Option<Layout> {
        let Head { status, keep_alive, .. } = self.head.filter(|_| matches!(self.state, State::Done))?;
        Some(Layout {
            status,
            keep_alive: keep_alive && self.surplus == 0,
            head: self.head_end,
            body: self.filled.saturating_sub(self.head_end),
        })
    }

    /// Reads the bytes from `filled` to `end`.
    fn advance(&mut self, end: usize) -> Result<Progress, DecodeError> {
        let (mut at, mut end) = (self.filled, end);
        if let State::Head(scan) = self.state {
            end = self.read_head(scan, end)?;
            at = self.filled;
        }
        match self.state {
            State::Until(body_end) => {
                self.filled = end.min(body_end);
                if end < body_end {
                    return Ok(Progress::More);
                }
                self.surplus = end.saturating_sub(body_end);
                Ok(self.done())
            }
            State::Chunked(chunks) => self.join(chunks, at, end),
            State::Head(_) | State::UntilClosed => {
                self.filled = end;
                Ok(Progress::More)
            }
            State::Done | State::Failed(_) => Ok(Progress::Done),
        }
    }

    /// Searches for the end of the head in the bytes from `filled` to `end`. Removes interim responses, and returns the
    /// end of the bytes after that. If the head is complete, `filled` is set to its end.
    fn read_head(&mut self, mut scan: Scan, end: usize) -> Result<usize, DecodeError> {
        let (mut start, mut at) = (0_usize, self.filled);
        let found = loop {
            let bytes = self.buffer.get(start..end).unwrap_or(&[]);
            let Some(length) = scan.find(bytes, at.saturating_sub(start))? else { break None };
            let head = Head::parse::<MAX_HEADERS>(bytes.get(..length).unwrap_or(&[]), self.request_was_head)?;
            if !head.is_interim() {
                break Some((head, length));
            }
            self.drop_bytes(length)?;
            start = start.saturating_add(length);
            at = start;
            scan = Scan::LineStart;
        };
        let end = self.shift(start, end, 0);
        self.state = State::Head(scan);
        if let Some((head, length)) = found {
            self.head = Some(head);
            self.head_end = length;
            self.filled = length;
            self.state = match head.framing {
                Framing::Length(length) => State::Until(self.end_of(length)?),
                Framing::Chunked => State::Chunked(Chunks::START),
                Framing::Close => State::UntilClosed,
            };
        }
        Ok(end)
    }

    /// Reads the part of a chunked body from `at` to `end`, and appends its data at `filled`.
    fn join(&mut self, mut chunks: Chunks, mut at: usize, end: usize) -> Result<Progress, DecodeError> {
        while at < end {
            if let Chunks::Data { left } = chunks {
                let taken = left.min(end.saturating_sub(at));
                self.filled = self.shift(at, at.saturating_add(taken), self.filled);
                at = at.saturating_add(taken);
                chunks = if taken == left { Chunks::DataCr } else { Chunks::Data { left: left.saturating_sub(taken) } };
                continue;
            }
            chunks = chunks.after(self.buffer.get(at).copied().unwrap_or(0))?;
            at = at.saturating_add(1);
            if chunks.is_padding() {
                self.drop_bytes(1)?;
            }
            match chunks {
                // The chunk must leave at least one byte of space, in which the last chunk is read.
                Chunks::Data { left } if left >= self.buffer.len().saturating_sub(self.filled) => {
                    return Err(self.too_large());
                }
                Chunks::End => {
                    self.surplus = end.saturating_sub(at);
                    return Ok(self.done());
                }
                _ => {}
            }
        }
        self.state = State::Chunked(chunks);
        Ok(Progress::More)
    }

    /// Moves the bytes from `from` to `end` down to `to`, and returns their new end.
    fn shift(&mut self, from: usize, end: usize, to: usize) -> usize {
        let gap = from.saturating_sub(to);
        let bytes = self.buffer.get_mut(to..end).unwrap_or(&mut []);
        if gap > 0 && gap <= bytes.len() {
            bytes.copy_within(gap.., 0);
        }
        end.saturating_sub(gap)
    }

    fn end_of(&self, length: usize) -> Result<usize, DecodeError> {
        let end = self.head_end.checked_add(length);
        end.filter(|&end| end <= self.buffer.len()).ok_or(self.too_large())
    }

    fn drop_bytes(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.dropped = self.dropped.saturating_add(bytes);
        if self.dropped > MAX_DROPPED { Err(DecodeError::TooMuchDropped) } else { Ok(()) }
    }

    fn too_large(&self) -> DecodeError {
        DecodeError::TooLarge { capacity: self.buffer.len() }
    }

    fn done(&mut self) -> Progress {
        self.state = State::Done;
        Progress::Done
    }

    fn fail(&mut self, error: DecodeError) -> Result<Progress, DecodeError> {
        self.state = State::Failed(error);
        Err(error)
    }
}

impl fmt::Debug for Receiver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("capacity", &self.buffer.len())
            .field("filled", &self.filled)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Why a response could not be read. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The peer closed the connection before it sent a byte. Usually the peer has closed an idle connection and has not
    /// read the request. But it may also have failed while it worked on the request; the two cases look the same.
    Closed,
    /// The peer closed the connection before the response was complete.
    Truncated,
    /// The response is larger than its buffer.
    TooLarge {
        /// The size of the buffer in bytes.
        capacity: usize,
    },
    /// The head is larger than the limit of a [`Follower`](super::Follower).
    HeadTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The head has too many header fields, or the body has too many trailers.
    TooManyHeaders {
        /// The limit: [`MAX_HEADERS`](super::MAX_HEADERS) for a [`Receiver`].
        limit: usize,
    },
    /// The response has more than [`MAX_DROPPED`] bytes of interim responses, chunk extensions and trailers.
    TooMuchDropped,
    /// The bytes are not a valid head of HTTP/1.0 or HTTP/1.1.
    BadHead,
    /// The response is an alert of TLS. The server expects TLS, and got bytes in clear.
    Tls,
    /// The end of the body is in doubt: a `content-length` is not a number, the headers contradict each other, they
    /// announce a body where there must be none, or the body has a coding other than `chunked`.
    BadFraming,
    /// A line between the chunks of a body is not valid.
    BadChunk,
    /// The status is 101: the peer switches to another protocol, which was not asked for.
    Switched,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "response: connection closed before the first byte",
            Self::Truncated => "response: connection closed before the response was complete",
            Self::TooLarge { capacity } => {
                return write!(f, "response: larger than its buffer of {capacity} bytes");
            }
            Self::HeadTooLarge { limit } => return write!(f, "response: head larger than {limit} bytes"),
            Self::TooManyHeaders { limit } => {
                return write!(f, "response: more than {limit} header fields or trailers");
            }
            Self::TooMuchDropped => {
                return write!(
                    f,
                    "response: more than {MAX_DROPPED} bytes in interim responses, chunk extensions and trailers"
                );
            }
            Self::BadHead => "response: malformed head",
            Self::Tls => "response: an alert of tls, so the server expects tls; write https:// or set tls",
            Self::BadFraming => "response: the length of its body is in doubt",
            Self::BadChunk => "response: malformed chunk",
            Self::Switched => "response: switches to a protocol that was not asked for",
        })
    }
}

impl core::error::Error for DecodeError {}

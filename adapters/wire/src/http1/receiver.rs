//! Bytes to a response: [`Receiver`].

use core::fmt;

use super::chunks::Chunks;
use super::head::{Framing, Head, MAX_HEADERS, Scan};
use super::{Layout, Response};

/// Bytes of a response that are dropped at most: interim responses, chunks' extensions and trailers, which take no room in
/// the buffer and could go on without end.
pub const MAX_DROPPED: usize = 16 * 1024;

/// Reads one response into a buffer lent by the caller. One who has a connection asks for [`space`](Self::space), reads into
/// it and says how much was [`received`](Self::received), until it is done.
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
    /// Where the bytes that are kept end.
    filled: usize,
    /// Where the head ends, once it is known.
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
    /// A body that ends here.
    Until(usize),
    Chunked(Chunks),
    UntilClosed,
    Done,
    Failed(DecodeError),
}

/// Whether a response is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Progress {
    /// It goes on.
    More,
    /// It is.
    Done,
}

impl<'b> Receiver<'b> {
    /// To read one response into `buffer`, which holds it in the end. The response to a `HEAD` request has no body.
    #[must_use]
    pub fn new(buffer: &'b mut [u8], request_was_head: bool) -> Self {
        let state = if buffer.is_empty() {
            State::Failed(DecodeError::TooLarge { capacity: 0 })
        } else {
            State::Head(Scan::LineStart)
        };
        Self { buffer, filled: 0, head_end: 0, head: None, dropped: 0, surplus: 0, request_was_head, state }
    }

    /// Where the next bytes are to be read to. Empty only once the response is done or an error.
    #[must_use]
    pub fn space(&mut self) -> &mut [u8] {
        match self.state {
            State::Done | State::Failed(_) => &mut [],
            _ => self.buffer.get_mut(self.filled..).unwrap_or(&mut []),
        }
    }

    /// Takes what was read to the start of [`space`](Self::space). None means that the peer has [`closed`](Self::closed), as
    /// it does to those who read; more than there was space for cannot have been read, and the rest is ignored.
    ///
    /// # Errors
    /// [`DecodeError`], again and again: the connection is of no further use.
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

    /// The peer has closed the connection, or its sending side: the end of a body that has no other.
    ///
    /// # Errors
    /// [`DecodeError::Closed`] or [`DecodeError::Truncated`] if the response goes on; what went wrong before.
    pub fn closed(&mut self) -> Result<Progress, DecodeError> {
        match self.state {
            State::Done => Ok(Progress::Done),
            State::UntilClosed => Ok(self.done()),
            State::Failed(error) => Err(error),
            State::Head(_) if self.filled == 0 && self.dropped == 0 => self.fail(DecodeError::Closed),
            _ => self.fail(DecodeError::Truncated),
        }
    }

    /// The response, once it is done.
    #[must_use]
    pub fn response(&self) -> Option<Response<'_>> {
        self.layout()?.of(self.buffer)
    }

    /// The response, once it is done, for as long as the buffer is lent.
    #[must_use]
    pub fn into_response(self) -> Option<Response<'b>> {
        self.layout()?.of(self.buffer)
    }

    /// Bytes that came after the response, in the piece that ended it. No request asked for them: they are lost, and the
    /// response's [`keep_alive`](Response::keep_alive) is false.
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

    /// Looks for the head in the bytes from `filled` to `end`, and says where they end without interim responses. If the
    /// head is whole then it ends at `filled`.
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

    /// Reads the part of a chunked body that lies from `at` to `end`, and joins its data to what lies before `filled`.
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
                // The last chunk is to come as well.
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

    /// Moves the bytes from `from` to `end` down to `to`, and says where they end now.
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

/// Why there is no response. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The peer closed before it sent a byte. As a rule it had given up a kept connection and has not read the request, but
    /// that cannot be told from one that failed while it worked.
    Closed,
    /// The peer closed in the midst of the response.
    Truncated,
    /// The response is larger than its buffer.
    TooLarge {
        /// Bytes that the buffer has.
        capacity: usize,
    },
    /// The head is larger than a [`Follower`](super::Follower) takes.
    HeadTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too many header fields in the head, or trailers after the body.
    TooManyHeaders {
        /// How many there may be: [`MAX_HEADERS`](super::MAX_HEADERS) for a [`Receiver`].
        limit: usize,
    },
    /// More than [`MAX_DROPPED`] bytes that are no part of the response itself.
    TooMuchDropped,
    /// What came is no head of HTTP/1.0 or HTTP/1.1.
    BadHead,
    /// The head does not say, or says twice, where the body ends; or the body has a coding that was not asked for.
    BadFraming,
    /// The lines of a chunked body are not what they should be.
    BadChunk,
    /// Status 101: the peer goes on in a protocol that was not asked for.
    Switched,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "response: connection closed before it",
            Self::Truncated => "response: connection closed in the midst of it",
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
            Self::BadFraming => "response: the length of its body is in doubt",
            Self::BadChunk => "response: malformed chunk",
            Self::Switched => "response: switches to a protocol that was not asked for",
        })
    }
}

impl core::error::Error for DecodeError {}

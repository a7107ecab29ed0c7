//! Where responses begin and end in bytes that the caller keeps: [`Follower`].

use core::fmt;

use super::chunks::Chunks;
use super::head::{Framing, Head};
use super::{DecodeError, MAX_DROPPED};

/// Header fields of a usual head: room for so many is on the stack while any head is parsed.
const USUAL_HEADERS: usize = 100;

/// Says of each byte of a connection's responses what it is, and keeps none of them: for a client that has a parser of its
/// own and wants to be certain of where a response ends.
///
/// It is stricter than a [`Receiver`](super::Receiver) in one thing: every line ends in CRLF.
///
/// ```
/// use hedge_wire::http1::{Fault, Follower, Part};
///
/// let mut follower = Follower::default();
/// follower.request(false);
/// let mut bytes = &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"[..];
/// let mut parts = Vec::new();
/// while !follower.is_done() {
///     let part = follower.follow(bytes)?;
///     bytes = &bytes[part.length()..];
///     parts.push(part);
/// }
/// let expected = [Part::Head(47), Part::Framing(3), Part::Data(2), Part::Framing(5), Part::Trailers(2)];
/// assert_eq!((&parts[..], follower.keeps()), (&expected[..], true));
/// # Ok::<(), Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Follower {
    state: State,
    max_head: usize,
    max_headers: usize,
    request_was_head: bool,
    keeps: bool,
    dropped: usize,
    trailers: usize,
    /// Bytes of the response that have been followed.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The response has ended, or none was asked for.
    Done,
    Head {
        /// Bytes that have been looked at and were no end.
        seen: usize,
        /// Where the line starts that they end in.
        line: usize,
        /// Lines before that one: the status line, and header fields.
        lines: usize,
    },
    Length {
        left: usize,
    },
    Chunked(Chunks),
    UntilClosed,
    Failed(Fault),
}

impl State {
    /// Nothing of a head has come.
    const HEAD: Self = Self::Head { seen: 0, line: 0, lines: 0 };
}

/// What the first bytes are of those that were handed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Part {
    /// All are a part of a head: they are to be handed in again, together with those that follow them.
    Partial,
    /// So many are an interim response, which says nothing here.
    Interim(usize),
    /// So many are the response's head.
    Head(usize),
    /// So many are data of its body.
    Data(usize),
    /// So many frame chunks.
    Framing(usize),
    /// So many follow the last chunk's line: trailers, and the empty line after them.
    Trailers(usize),
}

impl Part {
    /// How many bytes need not be handed in again.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Partial => 0,
            Self::Interim(length)
            | Self::Head(length)
            | Self::Data(length)
            | Self::Framing(length)
            | Self::Trailers(length) => length,
        }
    }
}

impl Default for Follower {
    /// Before the first request, with the default limits.
    fn default() -> Self {
        Self::with_limits(Self::DEFAULT_MAX_HEAD, Self::DEFAULT_MAX_HEADERS)
    }
}

impl Follower {
    /// Bytes that a head may have, if no other limit is set.
    pub const DEFAULT_MAX_HEAD: usize = 64 * 1024;

    /// Header fields that a head may have, and trailers that may follow a body, if no other limit is set.
    pub const DEFAULT_MAX_HEADERS: usize = USUAL_HEADERS;

    /// The greatest limit of header fields.
    pub const MOST_HEADERS: usize = 1024;

    /// Before the first request. A head may have at most `max_head` bytes and `max_headers` header fields, and so many
    /// trailers may follow a body. The bytes of trailers are bounded by [`MAX_DROPPED`].
    ///
    /// A `max_headers` above [`Follower::MOST_HEADERS`] counts as that. A head of more than 100 header fields is parsed in
    /// 32 KiB of stack, every other one in 3 KiB.
    #[must_use]
    pub fn with_limits(max_head: usize, max_headers: usize) -> Self {
        let max_headers = max_headers.min(Self::MOST_HEADERS);
        let state = State::Done;
        Self { state, max_head, max_headers, request_was_head: false, keeps: true, dropped: 0, trailers: 0, at: 0 }
    }

    /// Begins with the response to a request, which has no body if that was a `HEAD`.
    pub fn request(&mut self, request_was_head: bool) {
        let before = Self::with_limits(self.max_head, self.max_headers);
        *self = Self { state: State::HEAD, request_was_head, ..before };
    }

    /// Whether the response has ended: the bytes that follow are no part of it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the response ends when the connection does, and only then.
    #[must_use]
    pub fn is_until_closed(&self) -> bool {
        matches!(self.state, State::UntilClosed)
    }

    /// Whether the response goes on in chunks.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        matches!(self.state, State::Chunked(_))
    }

    /// Whether the peer keeps the connection for another request, once the response is done.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Says what the first of these bytes are. There must be some, and the response must not be done.
    ///
    /// # Errors
    /// [`Fault`], again and again: the connection is of no further use.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Part, Fault> {
        let part = match self.state {
            State::Done | State::UntilClosed => Ok(Part::Data(bytes.len())),
            State::Head { seen, line, lines } => self.follow_head(bytes, seen, line, lines),
            State::Length { left } => Ok(Part::Data(self.take(left, bytes.len()))),
            State::Chunked(Chunks::Data { left }) => {
                let taken = left.min(bytes.len());
                self.state = State::Chunked(match left.saturating_sub(taken) {
                    0 => Chunks::DataCr,
                    left => Chunks::Data { left },
                });
                Ok(Part::Data(taken))
            }
            State::Chunked(chunks) => self.follow_lines(chunks, bytes),
            State::Failed(fault) => Err(fault),
        };
        match part {
            Ok(part) => self.at = self.at.saturating_add(u64::try_from(part.length()).unwrap_or(u64::MAX)),
            Err(fault) => self.state = State::Failed(fault),
        }
        part
    }

    fn follow_head(&mut self, bytes: &[u8], mut seen: usize, mut line: usize, mut lines: usize) -> Result<Part, Fault> {
        // What is no HTTP/1 is known by its first bytes.
        if let Some(at) = bytes.iter().zip(b"HTTP/1.").position(|(byte, expected)| byte != expected) {
            return Err(self.fault(DecodeError::BadHead, at));
        }
        let too_large = DecodeError::HeadTooLarge { limit: self.max_head };
        while let Some(offset) = find_lf(bytes.get(seen..).unwrap_or(&[])) {
            let lf = seen.saturating_add(offset);
            if lf >= self.max_head {
                return Err(self.fault(too_large, self.max_head));
            }
            let content = bytes.get(line..lf).unwrap_or(&[]);
            if content.last() != Some(&b'\r') {
                return Err(self.fault(DecodeError::BadHead, lf));
            }
            seen = lf.saturating_add(1);
            if content.len() == 1 {
                return self.read_head(bytes.get(..seen).unwrap_or(&[]), lines);
            }
            // The status line is no header field.
            if lines > self.max_headers {
                return Err(self.fault(DecodeError::TooManyHeaders { limit: self.max_headers }, line));
            }
            line = seen;
            lines = lines.saturating_add(1);
        }
        if bytes.len() >= self.max_head {
            return Err(self.fault(too_large, self.max_head));
        }
        self.state = State::Head { seen: bytes.len(), line, lines };
        Ok(Part::Partial)
    }

    /// Reads a whole head of so many lines, the status line included; there may be so many.
    fn read_head(&mut self, head: &[u8], lines: usize) -> Result<Part, Fault> {
        let length = head.len();
        let read = if lines.saturating_sub(1) <= USUAL_HEADERS {
            Head::parse::<USUAL_HEADERS>(head, self.request_was_head)
        } else {
            parse_long(head, self.request_was_head)
        };
        let read = read.map_err(|error| self.fault(error, line_at_fault(head)))?;
        if read.is_interim() {
            self.drop_bytes(length, length)?;
            self.state = State::HEAD;
            return Ok(Part::Interim(length));
        }
        self.keeps = read.keep_alive;
        self.state = match read.framing {
            Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Chunks::START),
            Framing::Close => State::UntilClosed,
        };
        Ok(Part::Head(length))
    }

    /// Of a body with a length.
    fn take(&mut self, left: usize, bytes: usize) -> usize {
        if left == usize::MAX {
            // Longer than can be counted here: its end is not seen.
            self.keeps = false;
            return bytes;
        }
        let taken = left.min(bytes);
        self.state = match left.saturating_sub(taken) {
            0 => State::Done,
            left => State::Length { left },
        };
        taken
    }

    /// The bytes of a chunked body that are not data.
    fn follow_lines(&mut self, mut chunks: Chunks, bytes: &[u8]) -> Result<Part, Fault> {
        let behind = chunks.is_behind_data();
        let mut length = 0_usize;
        for &byte in bytes {
            chunks = chunks.after(byte).map_err(|error| self.fault(error, length))?;
            length = length.saturating_add(1);
            if chunks.is_padding() {
                self.drop_bytes(1, length)?;
            }
            match chunks {
                Chunks::Data { left: usize::MAX } => {
                    return Err(self.fault(DecodeError::TooLarge { capacity: usize::MAX }, length));
                }
                Chunks::TrailerLf if self.trailers >= self.max_headers => {
                    return Err(self.fault(DecodeError::TooManyHeaders { limit: self.max_headers }, length));
                }
                Chunks::TrailerLf => self.trailers = self.trailers.saturating_add(1),
                Chunks::Data { .. } | Chunks::End => break,
                _ if chunks.is_behind_data() != behind => break,
                _ => {}
            }
        }
        self.state = if chunks == Chunks::End { State::Done } else { State::Chunked(chunks) };
        Ok(if behind { Part::Trailers(length) } else { Part::Framing(length) })
    }

    fn drop_bytes(&mut self, bytes: usize, at: usize) -> Result<(), Fault> {
        self.dropped = self.dropped.saturating_add(bytes);
        if self.dropped > MAX_DROPPED { Err(self.fault(DecodeError::TooMuchDropped, at)) } else { Ok(()) }
    }

    /// What is wrong with a byte among those that were handed in.
    fn fault(&self, error: DecodeError, at: usize) -> Fault {
        Fault { error, at: self.at.saturating_add(u64::try_from(at).unwrap_or(u64::MAX)) }
    }
}

/// Apart from the usual case, so that it has none of this stack.
#[cold]
#[inline(never)]
fn parse_long(head: &[u8], request_was_head: bool) -> Result<Head, DecodeError> {
    Head::parse::<{ Follower::MOST_HEADERS }>(head, request_was_head)
}

/// The first LF, looked for in eight bytes at once.
fn find_lf(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const LFS: u64 = ONES * b'\n' as u64;
    let (eights, _) = bytes.as_chunks::<8>();
    // A byte is zero where the LF is; the trick (Hacker's Delight, 6-1) finds that there is one, not which.
    let has_lf = |eight: &[u8; 8]| {
        let zero = u64::from_ne_bytes(*eight) ^ LFS;
        zero.wrapping_sub(ONES) & !zero & (ONES << 7) != 0
    };
    let without = eights.iter().take_while(|eight| !has_lf(eight)).count().saturating_mul(8);
    let rest = bytes.get(without..)?;
    rest.iter().position(|&byte| byte == b'\n').map(|at| without.saturating_add(at))
}

/// Where the line starts that a parser stops at, in a head that it refuses; 0 if it refuses the whole.
#[cold]
#[inline(never)]
fn line_at_fault(head: &[u8]) -> usize {
    let mut headers = [httparse::EMPTY_HEADER; Follower::MOST_HEADERS];
    let mut is_bad = |length: usize| {
        let mut response = httparse::Response::new(&mut headers);
        response.parse(head.get(..length).unwrap_or(&[])).is_err()
    };
    if !is_bad(head.len()) {
        return 0;
    }
    // The greatest start of a line before which nothing is wrong.
    let (mut good, mut bad) = (0_usize, head.len());
    while bad.saturating_sub(good) > 1 {
        let middle = good.midpoint(bad);
        if is_bad(middle) {
            bad = middle;
        } else {
            good = middle;
        }
    }
    let before = head.get(..good).unwrap_or(&[]);
    before.iter().rposition(|&byte| byte == b'\n').map_or(0, |lf| lf.saturating_add(1))
}

/// What is wrong with a response, and where. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fault {
    /// What it is.
    pub error: DecodeError,
    /// The offset from the first byte of the response, interim responses included: of the byte, or of the header line that
    /// the parser stopped at. A head that contradicts itself is wrong from its first byte on.
    pub at: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.error, self.at)
    }
}

impl core::error::Error for Fault {}

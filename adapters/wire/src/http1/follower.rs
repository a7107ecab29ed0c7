//! Finds where responses begin and end, in bytes that the caller keeps: [`Follower`].

use core::fmt;

use super::chunks::Chunks;
use super::head::{Framing, Head};
use super::{DecodeError, MAX_DROPPED, plain};

/// The number of header fields of a usual head. Parsing a head takes room for this many fields on the stack; only a
/// head with more fields takes more.
const USUAL_HEADERS: usize = 100;
/// The first byte of an alert of TLS (RFC 8446, section 5.1), which a server of TLS sends when it gets bytes in clear.
const TLS_ALERT: u8 = 0x15;

/// Says which part of a response each byte of a connection belongs to, and keeps no byte. It is for a client that has
/// its own parser, and wants to be certain where a response ends.
///
/// A follower is stricter than a [`Receiver`](super::Receiver) in one point: every line must end in CRLF.
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
    /// How many bytes of the response have been followed.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The response has ended, or no request was made yet.
    Done,
    Head {
        /// How many bytes of the head have been searched. Its end is not among them.
        seen: usize,
        /// The start of the line in which the searched bytes end.
        line: usize,
        /// The number of lines before that line: the status line and header fields.
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
    /// No byte of the head has come.
    const HEAD: Self = Self::Head { seen: 0, line: 0, lines: 0 };
}

/// The part of a response to which the first of the given bytes belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Part {
    /// All bytes belong to a head that is not complete. They must be given again, together with the bytes that follow.
    Partial,
    /// This many bytes are an interim response, which the client can ignore.
    Interim(usize),
    /// This many bytes are the head of the response.
    Head(usize),
    /// This many bytes are data of the body.
    Data(usize),
    /// This many bytes are lines between the chunks of the body.
    Framing(usize),
    /// This many bytes follow the line of the last chunk: trailers, and the empty line after them.
    Trailers(usize),
}

impl Part {
    /// The number of bytes of this part, which must not be given again.
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
    /// A follower before its first request, with the default limits.
    fn default() -> Self {
        Self::with_limits(Self::DEFAULT_MAX_HEAD, Self::DEFAULT_MAX_HEADERS)
    }
}

impl Follower {
    /// The default limit of a head, in bytes.
    pub const DEFAULT_MAX_HEAD: usize = 64 * 1024;

    /// The default limit of the header fields of a head, and of the trailers after a body.
    pub const DEFAULT_MAX_HEADERS: usize = USUAL_HEADERS;

    /// The highest limit of header fields that can be set.
    pub const MOST_HEADERS: usize = 1024;

    /// A follower before its first request. A head may have at most `max_head` bytes and `max_headers` header fields.
    /// At most `max_headers` trailers may follow a body, and [`MAX_DROPPED`] limits their bytes.
    ///
    /// A `max_headers` above [`Follower::MOST_HEADERS`] counts as [`Follower::MOST_HEADERS`]. Parsing a head of more
    /// than 100 header fields takes 32 KiB of stack; parsing any other head takes 3 KiB.
    #[must_use]
    pub fn with_limits(max_head: usize, max_headers: usize) -> Self {
        let max_headers = max_headers.min(Self::MOST_HEADERS);
        let state = State::Done;
        Self { state, max_head, max_headers, request_was_head: false, keeps: true, dropped: 0, trailers: 0, at: 0 }
    }

    /// Begins with the response to the next request. If that is a `HEAD` request, its response has no body.
    pub fn request(&mut self, request_was_head: bool) {
        let before = Self::with_limits(self.max_head, self.max_headers);
        *self = Self { state: State::HEAD, request_was_head, ..before };
    }

    /// Whether the response has ended. Bytes that follow do not belong to it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether only the end of the connection ends the response.
    #[must_use]
    pub fn is_until_closed(&self) -> bool {
        matches!(self.state, State::UntilClosed)
    }

    /// Whether the rest of the response is chunked.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        matches!(self.state, State::Chunked(_))
    }

    /// Whether the peer keeps the connection for another request, once the response is done.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Says to which part of the response the first of these bytes belong. There must be at least one byte, and the
    /// response must not have ended.
    ///
    /// # Errors
    /// See [`Fault`]. After an error, every further call returns the same error. The connection is of no further use.
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
        if seen == 0
            && !self.request_was_head
            && let Some((length, head)) = plain::read(bytes, self.max_head, self.max_headers)
        {
            return Ok(self.begin_body(length, head));
        }
        // Bytes that are not HTTP/1 are refused at the first wrong byte.
        if let Some(at) = bytes.iter().zip(b"HTTP/1.").position(|(byte, expected)| byte != expected) {
            let is_alert = at == 0 && bytes.first() == Some(&TLS_ALERT);
            return Err(self.fault(if is_alert { DecodeError::Tls } else { DecodeError::BadHead }, at));
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
            // `lines` includes the status line, which is not a header field.
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

    /// Reads a complete head of `lines` lines, the status line included. The number was checked before.
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
        Ok(self.begin_body(length, read))
    }

    /// Goes on to the body after a head of this many bytes.
    fn begin_body(&mut self, length: usize, head: Head) -> Part {
        self.keeps = head.keep_alive;
        self.state = match head.framing {
            Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Chunks::START),
            Framing::Close => State::UntilClosed,
        };
        Part::Head(length)
    }

    /// Takes up to `bytes` bytes of a body with a length, of which `left` bytes are left. Returns how many were taken.
    fn take(&mut self, left: usize, bytes: usize) -> usize {
        if left == usize::MAX {
            // The length is too large for `usize`, so the end of the body cannot be found.
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

    /// Reads the bytes of a chunked body that are not data.
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

    /// The error at the byte with index `at` among the given bytes.
    fn fault(&self, error: DecodeError, at: usize) -> Fault {
        Fault { error, at: self.at.saturating_add(u64::try_from(at).unwrap_or(u64::MAX)) }
    }
}

/// Parses a head with many header fields. This is a function of its own, so that the usual case does not take this much
/// stack.
#[cold]
#[inline(never)]
fn parse_long(head: &[u8], request_was_head: bool) -> Result<Head, DecodeError> {
    Head::parse::<{ Follower::MOST_HEADERS }>(head, request_was_head)
}

/// The position of the first LF. Eight bytes are searched at once.
fn find_lf(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const LFS: u64 = ONES * b'\n' as u64;
    let (eights, _) = bytes.as_chunks::<8>();
    // In `zero`, a byte is zero if it was an LF. The trick (Hacker's Delight, 6-1) finds out whether some byte is zero,
    // but not which one.
    let has_lf = |eight: &[u8; 8]| {
        let zero = u64::from_ne_bytes(*eight) ^ LFS;
        zero.wrapping_sub(ONES) & !zero & (ONES << 7) != 0
    };
    let without = eights.iter().take_while(|eight| !has_lf(eight)).count().saturating_mul(8);
    let rest = bytes.get(without..)?;
    rest.iter().position(|&byte| byte == b'\n').map(|at| without.saturating_add(at))
}

/// The start of the line at which the parser stops, in a head that the parser refuses. 0 if no single line is at fault.
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
    // A binary search for the longest beginning of the head that the parser accepts.
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

/// An error in a response, and its position. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fault {
    /// The error.
    pub error: DecodeError,
    /// The offset of the wrong byte, or of the wrong header line, from the first byte of the response. Interim
    /// responses count too. If the headers of a head contradict each other, this is the first byte of the head.
    pub at: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.error, self.at)
    }
}

impl core::error::Error for Fault {}

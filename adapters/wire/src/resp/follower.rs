//! Finds where replies end: [`Follower`].

use core::fmt;

use super::line::{Line, Shape};
use super::{Limits, MAX_DEPTH};

/// Finds where each reply of a connection ends, and keeps no byte. The bytes may come in pieces of any size; a piece may
/// hold several replies. The caller keeps the bytes of a reply that it wants, or throws them away.
///
/// ```
/// use hedge_wire::resp::{Fault, Follower, Limits, Progress};
///
/// let mut follower = Follower::new(Limits::default());
/// assert_eq!(follower.follow(b"$5\r\nhel")?, Progress::More);
/// assert_eq!(follower.follow(b"lo\r\n>1\r\n+message\r\n")?, Progress::Reply(4));
/// assert_eq!(follower.follow(b">1\r\n+message\r\n")?, Progress::Push(14));
/// assert!(follower.is_between());
///
/// let fault = follower.follow(b":12a\r\n").unwrap_err();
/// assert_eq!(fault.to_string(), "reply: an integer is not a decimal number of 64 bits, at byte 3");
/// # Ok::<(), Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Follower {
    limits: Limits,
    state: State,
    /// How many values are to come on each level. The reply itself is on level 0.
    left: [u32; MAX_DEPTH as usize + 1],
    depth: usize,
    /// How many values were announced.
    elements: u32,
    is_push: bool,
    /// How many bytes of the reply have been followed.
    at: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next byte is the type of a value.
    Type,
    Line(Line),
    /// The line is complete but for its LF.
    LineLf(Line),
    /// The format of a verbatim string. `left` bytes of the string are to come.
    Format {
        seen: u8,
        left: usize,
    },
    Bulk {
        left: usize,
    },
    BulkCr,
    BulkLf,
    Failed(Fault),
}

/// Whether a reply is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Progress {
    /// All bytes belong to a reply that is not complete.
    More,
    /// The reply ends after this number of the given bytes. The bytes after it belong to the next reply, and must be
    /// given again.
    Reply(usize),
    /// A push, which answers no command, ends after this number of the given bytes. The bytes after it must be given
    /// again.
    Push(usize),
}

impl Follower {
    /// A follower before the first byte of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { depth: limits.depth.min(MAX_DEPTH), ..limits };
        let mut left = [0; MAX_DEPTH as usize + 1];
        left[0] = 1;
        Self { limits, state: State::Type, left, depth: 0, elements: 0, is_push: false, at: 0 }
    }

    /// Follows the next bytes, to the end of a reply at most.
    ///
    /// # Errors
    /// See [`DecodeError`]. After an error, every further call returns the same error. The connection is of no further
    /// use, since the end of the reply is not known.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Progress, Fault> {
        if let State::Failed(fault) = self.state {
            return Err(fault);
        }
        let mut used = 0_usize;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let room = self.limits.bytes.saturating_sub(self.at);
            let rest = rest.get(..room).unwrap_or(rest);
            let taken = match self.take(rest) {
                Ok(taken) => taken,
                Err(error) => return Err(self.fail(error)),
            };
            self.at = self.at.saturating_add(taken);
            used = used.saturating_add(taken);
            if self.left[0] == 0 {
                let is_push = self.is_push;
                self.begin();
                return Ok(if is_push { Progress::Push(used) } else { Progress::Reply(used) });
            }
            if self.at >= self.limits.bytes {
                return Err(self.fail(DecodeError::TooLarge { limit: self.limits.bytes }));
            }
        }
        Ok(Progress::More)
    }

    /// Whether the last byte has ended a reply. If the connection ends here, no reply is cut.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.at == 0 && matches!(self.state, State::Type)
    }

    /// How many bytes of a reply that is not complete have been followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.at
    }

    fn begin(&mut self) {
        self.left[0] = 1;
        self.depth = 0;
        self.elements = 0;
        self.is_push = false;
        self.at = 0;
        self.state = State::Type;
    }

    /// Takes at least one byte, unless the limit leaves none.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        match self.state {
            State::Bulk { left } => {
                let taken = left.min(bytes.len());
                self.state = match left.saturating_sub(taken) {
                    0 => State::BulkCr,
                    left => State::Bulk { left },
                };
                return Ok(taken);
            }
            State::Line(Line::Text) => {
                let text = bytes.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
                if text > 0 {
                    return Ok(text);
                }
            }
            _ => {}
        }
        let Some(&byte) = bytes.first() else { return Ok(0) };
        self.take_byte(byte)?;
        Ok(1)
    }

    fn take_byte(&mut self, byte: u8) -> Result<(), DecodeError> {
        self.state = match (self.state, byte) {
            (State::Type, _) => State::Line(Line::of(byte)?),
            (State::Line(line), b'\r') => {
                line.end()?;
                // Only the byte after this one is missing.
                self.check_length(line, self.at.saturating_add(2))?;
                State::LineLf(line)
            }
            (State::Line(_), b'\n') => return Err(DecodeError::BadLineEnd),
            (State::Line(line), _) => State::Line(line.after(byte)?),
            (State::LineLf(line), b'\n') => self.end_line(line),
            (State::LineLf(_), _) => return Err(DecodeError::BadLineEnd),
            (State::Format { seen: 3, left }, b':') => match left {
                0 => State::BulkCr,
                left => State::Bulk { left },
            },
            (State::Format { seen: 3, .. }, _) => return Err(DecodeError::BadVerbatim),
            (State::Format { seen, left }, _) => State::Format { seen: seen.saturating_add(1), left },
            (State::BulkCr, b'\r') => State::BulkLf,
            (State::BulkLf, b'\n') => self.complete(),
            (State::BulkCr | State::BulkLf, _) => return Err(DecodeError::BadBulkEnd),
            (State::Bulk { .. } | State::Failed(_), _) => self.state,
        };
        Ok(())
    }

    /// Checks what a line announces against the limits. The value begins at this byte.
    fn check_length(&mut self, line: Line, begin: usize) -> Result<(), DecodeError> {
        let Line::Length(shape, number) = line else { return Ok(()) };
        let Some(length) = number.length() else { return Ok(()) };
        if matches!(shape, Shape::Bulk | Shape::BulkError | Shape::Verbatim) {
            let end = usize::try_from(length).ok().and_then(|length| begin.checked_add(length)?.checked_add(2));
            let fits = end.is_some_and(|end| end <= self.limits.bytes);
            return if fits { Ok(()) } else { Err(DecodeError::TooLarge { limit: self.limits.bytes }) };
        }
        if shape == Shape::Push && self.depth > 0 {
            return Err(DecodeError::NestedPush);
        }
        if self.depth >= usize::from(self.limits.depth) {
            return Err(DecodeError::TooDeep { limit: self.limits.depth });
        }
        let is_attribute = shape == Shape::Attribute;
        let values = values(shape, length).and_then(|values| values.checked_add(u32::from(is_attribute)));
        let elements = values.and_then(|values| self.elements.checked_add(values));
        self.elements = elements
            .filter(|&elements| elements <= self.limits.elements)
            .ok_or(DecodeError::TooManyElements { limit: self.limits.elements })?;
        Ok(())
    }

    /// Goes on after a complete line.
    fn end_line(&mut self, line: Line) -> State {
        let Line::Length(shape, number) = line else { return self.complete() };
        let Some(length) = number.length() else { return self.complete() };
        match (shape, usize::try_from(length).unwrap_or(usize::MAX)) {
            (Shape::Bulk | Shape::BulkError, 0) => State::BulkCr,
            (Shape::Bulk | Shape::BulkError, left) => State::Bulk { left },
            (Shape::Verbatim, left) => State::Format { seen: 0, left: left.saturating_sub(4) },
            _ => self.open(shape, values(shape, length).unwrap_or(u32::MAX)),
        }
    }

    /// Goes one level down, to this number of values.
    fn open(&mut self, shape: Shape, values: u32) -> State {
        self.is_push |= shape == Shape::Push;
        if shape == Shape::Attribute
            && let Some(left) = self.left.get_mut(self.depth)
        {
            // An attribute is one value more on its level: the value that it belongs to follows.
            *left = left.saturating_add(1);
        }
        if values == 0 {
            return self.complete();
        }
        self.depth = self.depth.saturating_add(1);
        if let Some(left) = self.left.get_mut(self.depth) {
            *left = values;
        }
        State::Type
    }

    /// A value is complete, and with it each aggregate whose last value it was.
    fn complete(&mut self) -> State {
        while let Some(left) = self.left.get_mut(self.depth) {
            *left = left.saturating_sub(1);
            if *left > 0 || self.depth == 0 {
                break;
            }
            self.depth = self.depth.saturating_sub(1);
        }
        State::Type
    }

    fn fail(&mut self, error: DecodeError) -> Fault {
        let fault = Fault { error, at: self.at };
        self.state = State::Failed(fault);
        fault
    }
}

/// How many values an aggregate of this length has; `None` if they exceed 32 bits.
fn values(shape: Shape, length: u64) -> Option<u32> {
    let each = if matches!(shape, Shape::Map | Shape::Attribute) { 2 } else { 1 };
    u32::try_from(length.checked_mul(each)?).ok()
}

/// Why the end of a reply cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// No value has this type. Often the peer speaks another protocol.
    UnknownType {
        /// The byte in the place of the type.
        byte: u8,
    },
    /// A streamed string or aggregate, which no Redis sends.
    Streamed,
    /// A line contains a CR or LF, or does not end in CRLF.
    BadLineEnd,
    /// An integer is not a decimal number of 64 bits.
    BadInteger,
    /// A big number is not decimal.
    BadBigNumber,
    /// A double is not a number, `inf` or `nan`.
    BadDouble,
    /// A boolean is neither `t` nor `f`.
    BadBoolean,
    /// A null has a text.
    BadNull,
    /// A length is not a decimal number, or has a sign or leading zeros.
    BadLength,
    /// A verbatim string has no colon after the three bytes of its format.
    BadVerbatim,
    /// A bulk string does not end in CRLF where its length says.
    BadBulkEnd,
    /// A push inside of another value.
    NestedPush,
    /// The reply is larger than its limit, or announces that.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The reply has more levels than its limit.
    TooDeep {
        /// The limit.
        limit: u8,
    },
    /// The reply announces more values than its limit.
    TooManyElements {
        /// The limit.
        limit: u32,
    },
    /// The bytes end before the reply does ([`Reply::parse`](super::Reply::parse)).
    Truncated,
    /// Bytes follow the reply ([`Reply::parse`](super::Reply::parse)).
    Surplus,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType { byte } => {
                return write!(f, "reply: no value begins with '{}', the peer may not be Redis", byte.escape_ascii());
            }
            Self::Streamed => "reply: streamed strings and aggregates are not supported",
            Self::BadLineEnd => "reply: a line does not end in CRLF",
            Self::BadInteger => "reply: an integer is not a decimal number of 64 bits",
            Self::BadBigNumber => "reply: a big number is not decimal",
            Self::BadDouble => "reply: a double is not a decimal number, inf or nan",
            Self::BadBoolean => "reply: a boolean is neither t nor f",
            Self::BadNull => "reply: a null has a text",
            Self::BadLength => "reply: a length is not a decimal number without sign and leading zeros",
            Self::BadVerbatim => "reply: a verbatim string has no colon after its format",
            Self::BadBulkEnd => "reply: a bulk string does not end in CRLF where its length says",
            Self::NestedPush => "reply: a push inside of another value",
            Self::TooLarge { limit } => return write!(f, "reply: larger than {limit} bytes"),
            Self::TooDeep { limit } => return write!(f, "reply: more than {limit} levels"),
            Self::TooManyElements { limit } => return write!(f, "reply: more than {limit} values"),
            Self::Truncated => "reply: not complete",
            Self::Surplus => "reply: bytes after its end",
        })
    }
}

impl core::error::Error for DecodeError {}

/// An error in a reply, and its position. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fault {
    /// The error.
    pub error: DecodeError,
    /// The offset of the byte at which the error was found, from the first byte of the reply.
    pub at: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.error, self.at)
    }
}

impl core::error::Error for Fault {}

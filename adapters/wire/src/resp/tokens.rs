//! A reply as a flat sequence: [`Tokens`].

use super::number::{integer, length};
use super::{Double, Reply, ServerError};

/// A value without parts, or the beginning of an aggregate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Token<'b> {
    /// A simple string, such as `OK`.
    Simple(&'b [u8]),
    /// An error, in a line or as a bulk error.
    Error(ServerError<'b>),
    /// An integer.
    Integer(i64),
    /// A bulk string.
    Bulk(&'b [u8]),
    /// A null of RESP3, or a bulk string or an array that is null in RESP2.
    Null,
    /// A double.
    Double(Double<'b>),
    /// A boolean.
    Boolean(bool),
    /// A decimal integer of any size, perhaps with a sign.
    BigNumber(&'b [u8]),
    /// A text with its format.
    Verbatim {
        /// Three bytes: `txt` or `mkd`.
        format: &'b [u8],
        /// The text.
        text: &'b [u8],
    },
    /// This number of values follow.
    Array(usize),
    /// This number of pairs of values follow.
    Map(usize),
    /// This number of values follow. The server says that they are all different.
    Set(usize),
    /// This number of values follow. They answer no command.
    Push(usize),
    /// This number of pairs of values follow. They tell more about the value after them.
    Attribute(usize),
}

impl Token<'_> {
    /// How many values follow that are parts of this one. Attributes of these values are not counted.
    #[must_use]
    pub fn parts(&self) -> usize {
        match *self {
            Self::Array(count) | Self::Set(count) | Self::Push(count) => count,
            Self::Map(pairs) | Self::Attribute(pairs) => pairs.saturating_mul(2),
            _ => 0,
        }
    }
}

/// The tokens of a reply, in order: the parts of an aggregate follow its beginning. This needs neither a stack nor a heap.
///
/// ```
/// use hedge_wire::resp::{Limits, Reply, Token};
///
/// let reply = Reply::parse(b"*3\r\n*2\r\n:1\r\n:2\r\n:3\r\n$-1\r\n", Limits::default())?;
/// let mut tokens = reply.tokens();
/// assert_eq!(tokens.next(), Some(Token::Array(3)));
/// assert_eq!(tokens.value().map(|value| value.bytes()), Some(&b"*2\r\n:1\r\n:2\r\n"[..]));
/// assert_eq!((tokens.next(), tokens.next(), tokens.next()), (Some(Token::Integer(3)), Some(Token::Null), None));
/// # Ok::<(), hedge_wire::resp::Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokens<'b> {
    rest: &'b [u8],
}

impl<'b> Tokens<'b> {
    pub(super) fn new(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    /// Passes over the next value, with its attributes and parts. `None` if there is none. This takes a time
    /// proportional to the number of its tokens.
    pub fn value(&mut self) -> Option<Reply<'b>> {
        let bytes = self.rest;
        let mut left = 1_usize;
        while left > 0 {
            let token = self.next()?;
            // The value of an attribute is still to come.
            let taken = usize::from(!matches!(token, Token::Attribute(_)));
            left = left.saturating_sub(taken).saturating_add(token.parts());
        }
        let length = bytes.len().saturating_sub(self.rest.len());
        bytes.get(..length).map(Reply::of)
    }

    /// The bytes up to the next CRLF, which are passed over.
    fn line(&mut self) -> Option<&'b [u8]> {
        let end = self.rest.iter().position(|&byte| byte == b'\r')?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(2..)?;
        Some(line)
    }

    /// So many bytes and a CRLF, which are passed over.
    fn bulk(&mut self, length: usize) -> Option<&'b [u8]> {
        let (bulk, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.get(2..)?;
        Some(bulk)
    }

    fn token(&mut self) -> Option<Token<'b>> {
        let (kind, line) = self.line()?.split_first()?;
        Some(match kind {
            b'+' => Token::Simple(line),
            b'-' => Token::Error(ServerError::new(line)),
            b':' => Token::Integer(integer(line)?),
            b'_' => Token::Null,
            b'$' | b'*' if line.first() == Some(&b'-') => Token::Null,
            b'$' => Token::Bulk(self.bulk(length(line)?)?),
            b'!' => Token::Error(ServerError::new(self.bulk(length(line)?)?)),
            b'=' => {
                let (format, text) = self.bulk(length(line)?)?.split_at_checked(3)?;
                Token::Verbatim { format, text: text.get(1..)? }
            }
            b',' => Token::Double(Double(core::str::from_utf8(line).ok()?)),
            b'#' => Token::Boolean(line == b"t"),
            b'(' => Token::BigNumber(line),
            b'*' => Token::Array(length(line)?),
            b'~' => Token::Set(length(line)?),
            b'>' => Token::Push(length(line)?),
            b'%' => Token::Map(length(line)?),
            b'|' => Token::Attribute(length(line)?),
            _ => return None,
        })
    }
}

impl<'b> Iterator for Tokens<'b> {
    type Item = Token<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        self.token()
    }
}

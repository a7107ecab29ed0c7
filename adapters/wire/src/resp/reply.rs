//! A view of a reply: [`Reply`].

use core::fmt;

use super::{DecodeError, Fault, Follower, Limits, Progress, ServerError, Token, Tokens};

/// A complete value: a reply, a push, or a part of one. It borrows its bytes, which have been checked.
///
/// ```
/// use hedge_wire::resp::{Code, Limits, Reply, Token};
///
/// let reply = Reply::parse(b"%2\r\n+name\r\n$5\r\nredis\r\n+proto\r\n:3\r\n", Limits::default())?;
/// assert_eq!(reply.token(), Token::Map(2));
/// let proto = reply.pairs().find(|(name, _)| name.token() == Token::Simple(b"proto"));
/// assert_eq!(proto.map(|(_, value)| value.token()), Some(Token::Integer(3)));
///
/// let refused = Reply::parse(b"-LOADING Redis is loading the dataset in memory\r\n", Limits::default())?;
/// assert_eq!(refused.error().map(|error| error.code()), Some(Code::Loading));
/// # Ok::<(), hedge_wire::resp::Fault>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reply<'b> {
    bytes: &'b [u8],
}

impl<'b> Reply<'b> {
    /// Checks that these bytes are one reply, or one push, and nothing more. This takes a time proportional to the number
    /// of its tokens and to the length of its lines; the bytes of bulk strings are not read.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn parse(bytes: &'b [u8], limits: Limits) -> Result<Self, Fault> {
        match Follower::new(limits).follow(bytes)? {
            Progress::Reply(end) | Progress::Push(end) if end == bytes.len() => Ok(Self { bytes }),
            Progress::Reply(end) | Progress::Push(end) => Err(Fault { error: DecodeError::Surplus, at: end }),
            Progress::More => Err(Fault { error: DecodeError::Truncated, at: bytes.len() }),
        }
    }

    /// A part of a reply that was checked.
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// All bytes, as they came.
    #[must_use]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The value, or the beginning of it if it is an aggregate. Its attributes are passed over.
    #[must_use]
    pub fn token(&self) -> Token<'b> {
        self.head().1
    }

    /// The error, if the value is one. Errors inside of an aggregate (the reply to `EXEC`) are not looked for.
    #[must_use]
    pub fn error(&self) -> Option<ServerError<'b>> {
        match self.token() {
            Token::Error(error) => Some(error),
            _ => None,
        }
    }

    /// The bytes of a string of any type: simple, bulk or verbatim. `None` for other values, such as a null.
    #[must_use]
    pub fn text(&self) -> Option<&'b [u8]> {
        match self.token() {
            Token::Simple(text) | Token::Bulk(text) | Token::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The parts of an aggregate, in order: keys and values alternate in a map. Empty for other values.
    ///
    /// Each step takes a time proportional to the number of the part's tokens. If a program reads all levels in this
    /// way, each token is read once for each level above it.
    #[must_use]
    pub fn elements(&self) -> Elements<'b> {
        let (tokens, token) = self.head();
        Elements { tokens, left: token.parts() }
    }

    /// The entries of a map. In RESP2, a map is an array in which keys and values alternate; this reads it too. A last
    /// key without a value is left out.
    #[must_use]
    pub fn pairs(&self) -> Pairs<'b> {
        Pairs(self.elements())
    }

    /// The pairs of the attribute before the value. Empty if there is none.
    #[must_use]
    pub fn attribute(&self) -> Pairs<'b> {
        let mut tokens = self.tokens();
        let left = match tokens.next() {
            Some(token @ Token::Attribute(_)) => token.parts(),
            _ => 0,
        };
        Pairs(Elements { tokens, left })
    }

    /// All tokens, those of attributes and of parts too.
    #[must_use]
    pub fn tokens(&self) -> Tokens<'b> {
        Tokens::new(self.bytes)
    }

    /// The first token after the attributes, and those that follow it.
    fn head(&self) -> (Tokens<'b>, Token<'b>) {
        let mut tokens = self.tokens();
        loop {
            match tokens.next() {
                Some(token @ Token::Attribute(_)) => {
                    for _ in 0..token.parts() {
                        _ = tokens.value();
                    }
                }
                Some(token) => return (tokens, token),
                None => return (tokens, Token::Null),
            }
        }
    }
}

impl fmt::Debug for Reply<'_> {
    /// The type and the length. The values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.bytes.first().copied().unwrap_or(b' ').escape_ascii();
        write!(f, "Reply('{kind}', {} bytes)", self.bytes.len())
    }
}

/// The parts of an aggregate ([`Reply::elements`]).
#[derive(Clone, Debug)]
pub struct Elements<'b> {
    tokens: Tokens<'b>,
    left: usize,
}

impl<'b> Iterator for Elements<'b> {
    type Item = Reply<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.tokens.value()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// The entries of a map ([`Reply::pairs`]) or of an attribute.
#[derive(Clone, Debug)]
pub struct Pairs<'b>(Elements<'b>);

impl<'b> Iterator for Pairs<'b> {
    type Item = (Reply<'b>, Reply<'b>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left / 2, Some(self.0.left / 2))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

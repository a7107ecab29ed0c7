//! A reply that owns its parts: [`Value`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Reply, Token};

/// A reply that owns its parts. Attributes are left out.
///
/// A value takes 32 bytes on a machine of 64 bits, and the bytes of a string in addition. So a reply of the shortest
/// values, which take 3 bytes each, takes 11 times its size.
///
/// ```
/// use hedge_wire::resp::{Limits, Reply, Value};
///
/// let reply = Reply::parse(b"*2\r\n$2\r\nhi\r\n:7\r\n", Limits::default())?;
/// assert_eq!(Value::from(reply), Value::Array(vec![Value::Bulk(b"hi"[..].into()), Value::Integer(7)]));
/// # Ok::<(), hedge_wire::resp::Fault>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A simple string.
    Simple(Box<[u8]>),
    /// The text of an error, for [`ServerError::new`](super::ServerError::new).
    Error(Box<[u8]>),
    /// An integer.
    Integer(i64),
    /// A bulk string.
    Bulk(Box<[u8]>),
    /// A null.
    Null,
    /// A double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// A decimal integer of any size.
    BigNumber(Box<[u8]>),
    /// A text; its format is left out.
    Verbatim(Box<[u8]>),
    /// An array.
    Array(Vec<Value>),
    /// A map, in the order of the reply. Keys may be values of any type, and the server might repeat one.
    Map(Vec<(Value, Value)>),
    /// A set, in the order of the reply.
    Set(Vec<Value>),
    /// A push.
    Push(Vec<Value>),
}

impl From<Reply<'_>> for Value {
    /// Copies a reply. It has at most [`MAX_DEPTH`](super::MAX_DEPTH) levels, so this recurses no deeper.
    fn from(reply: Reply<'_>) -> Self {
        let elements = || reply.elements().map(Self::from).collect();
        match reply.token() {
            Token::Simple(text) => Self::Simple(text.into()),
            Token::Error(error) => Self::Error(error.text().into()),
            Token::Integer(number) => Self::Integer(number),
            Token::Bulk(bytes) => Self::Bulk(bytes.into()),
            // The head of a reply is what follows its attributes.
            Token::Null | Token::Attribute(_) => Self::Null,
            Token::Double(double) => Self::Double(double.value()),
            Token::Boolean(boolean) => Self::Boolean(boolean),
            Token::BigNumber(digits) => Self::BigNumber(digits.into()),
            Token::Verbatim { text, .. } => Self::Verbatim(text.into()),
            Token::Array(_) => Self::Array(elements()),
            Token::Map(_) => Self::Map(reply.pairs().map(|(key, value)| (key.into(), value.into())).collect()),
            Token::Set(_) => Self::Set(elements()),
            Token::Push(_) => Self::Push(elements()),
        }
    }
}

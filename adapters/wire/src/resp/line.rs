//! The line with which a value begins: [`Line`].

use super::DecodeError;
use super::number::{Decimal, Number};

/// A value whose line announces a length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Bulk,
    BulkError,
    Verbatim,
    Array,
    Set,
    Push,
    Map,
    Attribute,
}

/// A line, as far as it has come after its first byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    /// A simple string or an error.
    Text,
    Null,
    Boolean {
        is_given: bool,
    },
    Integer(Number),
    BigNumber {
        sign: bool,
        digits: bool,
    },
    Double(Decimal),
    Length(Shape, Number),
}

impl Line {
    /// The line of a value of this type.
    pub(super) fn of(byte: u8) -> Result<Self, DecodeError> {
        let shape = match byte {
            b'+' | b'-' => return Ok(Self::Text),
            b':' => return Ok(Self::Integer(Number::START)),
            b'_' => return Ok(Self::Null),
            b'#' => return Ok(Self::Boolean { is_given: false }),
            b'(' => return Ok(Self::BigNumber { sign: false, digits: false }),
            b',' => return Ok(Self::Double(Decimal::Start)),
            b'$' => Shape::Bulk,
            b'!' => Shape::BulkError,
            b'=' => Shape::Verbatim,
            b'*' => Shape::Array,
            b'~' => Shape::Set,
            b'>' => Shape::Push,
            b'%' => Shape::Map,
            b'|' => Shape::Attribute,
            b';' | b'.' => return Err(DecodeError::Streamed),
            _ => return Err(DecodeError::UnknownType { byte }),
        };
        Ok(Self::Length(shape, Number::START))
    }

    /// The line with one more byte, which is neither CR nor LF.
    pub(super) fn after(self, byte: u8) -> Result<Self, DecodeError> {
        match (self, byte) {
            (Self::Text, _) => Ok(self),
            (Self::Null, _) => Err(DecodeError::BadNull),
            (Self::Boolean { is_given: false }, b't' | b'f') => Ok(Self::Boolean { is_given: true }),
            (Self::Boolean { .. }, _) => Err(DecodeError::BadBoolean),
            (Self::BigNumber { sign: false, digits: false }, b'+' | b'-') => {
                Ok(Self::BigNumber { sign: true, digits: false })
            }
            (Self::BigNumber { sign, .. }, b'0'..=b'9') => Ok(Self::BigNumber { sign, digits: true }),
            (Self::BigNumber { .. }, _) => Err(DecodeError::BadBigNumber),
            (Self::Integer(number), _) => number.after(byte).map(Self::Integer).ok_or(DecodeError::BadInteger),
            (Self::Double(decimal), _) => decimal.after(byte).map(Self::Double).ok_or(DecodeError::BadDouble),
            (Self::Length(..), b'?') => Err(DecodeError::Streamed),
            (Self::Length(shape, number), _) => {
                number.after(byte).map(|number| Self::Length(shape, number)).ok_or(DecodeError::BadLength)
            }
        }
    }

    /// Checks that the line may end here.
    pub(super) fn end(self) -> Result<(), DecodeError> {
        let (is_complete, error) = match self {
            Self::Text | Self::Null => return Ok(()),
            Self::Boolean { is_given } => (is_given, DecodeError::BadBoolean),
            Self::Integer(number) => (number.signed().is_some(), DecodeError::BadInteger),
            Self::BigNumber { digits, .. } => (digits, DecodeError::BadBigNumber),
            Self::Double(decimal) => (decimal.is_complete(), DecodeError::BadDouble),
            Self::Length(Shape::Bulk | Shape::Array, number) if number.is_null() => return Ok(()),
            Self::Length(shape, number) => {
                let least = if shape == Shape::Verbatim { 4 } else { 0 };
                (number.length().is_some_and(|length| length >= least), DecodeError::BadLength)
            }
        };
        if is_complete { Ok(()) } else { Err(error) }
    }
}

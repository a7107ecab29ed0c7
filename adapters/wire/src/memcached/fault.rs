//! What can be wrong with requests and answers.

use core::fmt;

/// Why a request cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The request does not fit into the buffer.
    TooLong {
        /// How many bytes the request needs.
        needs: usize,
    },
    /// The value is larger than [`MAX_VALUE`](super::MAX_VALUE).
    ValueTooLong {
        /// The length of the value.
        length: usize,
    },
    /// The operation of the binary protocol has no quiet form.
    NotQuiet,
    /// The name of the SASL mechanism is empty or longer than 65,535 bytes.
    BadMechanism,
    /// A flag does not belong to this command of the meta protocol, or comes twice. Or its opaque is empty, longer than
    /// 32 bytes, or has blanks or control characters.
    BadFlag {
        /// The index of the flag, from 0.
        index: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { needs } => write!(f, "request: takes {needs} bytes, more than its buffer has"),
            Self::ValueTooLong { length } => {
                write!(f, "request: its value has {length} bytes, more than {}", super::MAX_VALUE)
            }
            Self::NotQuiet => f.write_str("request: this operation has no quiet form"),
            Self::BadMechanism => f.write_str("request: the SASL mechanism must have 1 to 65535 bytes"),
            Self::BadFlag { index } => {
                write!(f, "request: flag {index} does not belong to the command, is repeated, or has a bad opaque")
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Why an answer cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The first byte is not the magic of an answer of the binary protocol.
    BadMagic {
        /// The byte in its place.
        byte: u8,
    },
    /// No operation has this number.
    UnknownOpcode {
        /// The number.
        opcode: u8,
    },
    /// The data type is not 0.
    BadDataType {
        /// The type.
        byte: u8,
    },
    /// The key and the extras are longer than the body that they are parts of.
    BadLengths {
        /// The length of the key.
        key: u16,
        /// The length of the extras.
        extras: u8,
        /// The length of the body.
        body: u32,
    },
    /// A value that was found has no flags: the extras must have four bytes.
    BadExtras {
        /// The length of the extras.
        extras: u8,
    },
    /// A counter must have eight bytes.
    BadCounter,
    /// The answer announces more than its limit.
    TooLarge {
        /// How many bytes it announces.
        announced: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The line does not begin with a word of the meta protocol.
    UnknownStatus,
    /// The line is longer than [`MAX_LINE`](super::meta::MAX_LINE).
    LineTooLong,
    /// A CR or LF inside of the line, which must end in CRLF.
    BadLineEnd,
    /// The size of a value is not a decimal number.
    BadSize,
    /// The value does not end in CRLF where its size says.
    BadValueEnd,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadMagic { byte } => return write!(f, "answer: begins with {byte:#04x} instead of 0x81"),
            Self::UnknownOpcode { opcode } => return write!(f, "answer: no operation has the number {opcode:#04x}"),
            Self::BadDataType { byte } => return write!(f, "answer: has the data type {byte} instead of 0"),
            Self::BadLengths { key, extras, body } => {
                return write!(f, "answer: a key of {key} and extras of {extras} bytes in a body of {body} bytes");
            }
            Self::BadExtras { extras } => return write!(f, "answer: flags of {extras} bytes instead of 4"),
            Self::BadCounter => "answer: a counter does not have 8 bytes",
            Self::TooLarge { announced, limit } => {
                return write!(f, "answer: announces {announced} bytes, more than {limit}");
            }
            Self::UnknownStatus => "answer: begins with no word of the meta protocol",
            Self::LineTooLong => return write!(f, "answer: a line of more than {} bytes", super::meta::MAX_LINE),
            Self::BadLineEnd => "answer: a line does not end in CRLF",
            Self::BadSize => "answer: the size of the value is not a decimal number",
            Self::BadValueEnd => "answer: the value does not end in CRLF where its size says",
        })
    }
}

impl core::error::Error for DecodeError {}

/// An error in an answer, and its position. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Fault {
    /// The error.
    pub error: DecodeError,
    /// The offset of the wrong byte, or of the wrong field, from the first byte of the answer.
    pub at: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {}", self.error, self.at)
    }
}

impl core::error::Error for Fault {}

//! The lines between the pieces of a chunked body (RFC 9112, 7.1).

use super::{DecodeError, is_text, is_token_byte};

/// The most digits of a chunk's size: as many as a number of 64 bits has.
const MAX_DIGITS: u8 = 16;

/// The position of the next byte in a chunked body. A line must end in CRLF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chunks {
    Size {
        size: usize,
        digits: u8,
    },
    /// Spaces after the size.
    Space {
        size: usize,
    },
    Extension {
        size: usize,
    },
    SizeLf {
        size: usize,
    },
    Data {
        left: usize,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    pub(super) const START: Self = Self::Size { size: 0, digits: 0 };

    /// The position after `byte`, which is not data.
    pub(super) fn after(self, byte: u8) -> Result<Self, DecodeError> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_DIGITS {
                    return Err(DecodeError::BadChunk);
                }
                Self::Size {
                    size: size.saturating_mul(16).saturating_add(value(byte)),
                    digits: digits.saturating_add(1),
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(DecodeError::BadChunk),
            (Self::Size { size, .. } | Self::Space { size }, b' ' | b'\t') => Self::Space { size },
            (Self::Size { size, .. } | Self::Space { size }, b';') => Self::Extension { size },
            (Self::Size { size, .. } | Self::Space { size } | Self::Extension { size }, b'\r') => Self::SizeLf { size },
            (Self::Extension { size }, _) if is_text(byte) => Self::Extension { size },
            (Self::SizeLf { size: 0 }, b'\n') => Self::TrailerStart,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::EndLf, b'\n') => Self::End,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::TrailerStart | Self::TrailerName, _) if is_token_byte(byte) => Self::TrailerName,
            (Self::TrailerName, b':') => Self::Trailer,
            (Self::Trailer, _) if is_text(byte) => Self::Trailer,
            _ => return Err(DecodeError::BadChunk),
        };
        Ok(next)
    }

    /// Whether the last byte was padding: blanks after a size, an extension or a trailer. A sender could send padding
    /// without end, so the caller limits its length.
    pub(super) fn is_padding(self) -> bool {
        matches!(self, Self::Space { .. } | Self::Extension { .. } | Self::TrailerName | Self::Trailer)
    }

    /// Whether the next byte comes after the last chunk.
    pub(super) fn is_behind_data(self) -> bool {
        matches!(
            self,
            Self::TrailerStart | Self::TrailerName | Self::Trailer | Self::TrailerLf | Self::EndLf | Self::End
        )
    }
}

fn value(hexdigit: u8) -> usize {
    usize::from(match hexdigit {
        b'0'..=b'9' => hexdigit - b'0',
        _ => (hexdigit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    })
}

//! Messages that are compressed: [`Compression`].

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

use super::Packet;
#[cfg(feature = "gzip")]
use super::deflate;
use super::output::{Lent, Output};

/// How a message is compressed. An attachment is never compressed.
///
/// The features `snappy` and `gzip` decide which of these are built in. The rest of a packet can be read without them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Compression {
    /// The message is not compressed.
    #[default]
    None = 0,
    /// The block format of Snappy. Feature `snappy`.
    Snappy = 1,
    /// gzip (RFC 1952). Feature `gzip`.
    Gzip = 2,
    /// zlib (RFC 1950). Feature `gzip`.
    Zlib = 3,
}

impl Compression {
    /// The number in a meta.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Restores a message into `out`, and returns its length. The length of `out` is the limit: without a limit, a few
    /// bytes could expand to a thousand times as many. gzip and zlib take 11 KiB of stack.
    ///
    /// # Errors
    /// See [`CompressionError`]. The contents of `out` are of no use then. The bytes must be exactly one whole message:
    /// a message that is cut or broken is an error, and so are bytes after its end. (brpc takes what it can restore.)
    pub fn decompress(self, message: &[u8], out: &mut [u8]) -> Result<usize, CompressionError> {
        self.restore(message, &mut Lent(out))
    }

    /// Restores a message of at most `limit` bytes. Memory is allocated while the message expands, not for the size
    /// that the message announces.
    ///
    /// # Errors
    /// As [`decompress`](Self::decompress).
    #[cfg(feature = "alloc")]
    pub fn decompress_to_vec(self, message: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        let mut out = super::output::Growing::new(limit);
        let length = self.restore(message, &mut out)?;
        Ok(out.into_vec(length))
    }

    /// Compresses a message.
    ///
    /// # Errors
    /// [`CompressionError::NotBuilt`], and [`CompressionError::TooLarge`] for what Snappy cannot take: 4 GiB.
    ///
    /// ```
    /// # #[cfg(feature = "gzip")] {
    /// use hedge_wire::baidu_std::{Compression, CompressionError};
    ///
    /// let bytes = Compression::Gzip.compress_to_vec(&[7; 1000])?;
    /// assert_eq!(Compression::Gzip.decompress_to_vec(&bytes, 1000), Ok(vec![7; 1000]));
    /// let too_large = CompressionError::TooLarge { limit: 999 };
    /// assert_eq!(Compression::Gzip.decompress_to_vec(&bytes, 999), Err(too_large));
    /// # }
    /// # Ok::<(), hedge_wire::baidu_std::CompressionError>(())
    /// ```
    #[cfg(feature = "alloc")]
    pub fn compress_to_vec(self, message: &[u8]) -> Result<Vec<u8>, CompressionError> {
        match self {
            Self::None => Ok(message.to_vec()),
            #[cfg(feature = "snappy")]
            Self::Snappy => snap::raw::Encoder::new()
                .compress_vec(message)
                .map_err(|_| CompressionError::TooLarge { limit: usize::try_from(u32::MAX).unwrap_or(usize::MAX) }),
            #[cfg(feature = "gzip")]
            Self::Gzip => Ok(deflate::gzip(message)),
            #[cfg(feature = "gzip")]
            Self::Zlib => Ok(deflate::zlib(message)),
            #[cfg(not(all(feature = "snappy", feature = "gzip")))]
            _ => Err(CompressionError::NotBuilt { compression: self }),
        }
    }

    fn restore(self, message: &[u8], out: &mut impl Output) -> Result<usize, CompressionError> {
        match self {
            Self::None => {
                out.exactly(message.len())?.copy_from_slice(message);
                Ok(message.len())
            }
            #[cfg(feature = "snappy")]
            Self::Snappy => unsnap(message, out),
            #[cfg(feature = "gzip")]
            Self::Gzip => deflate::gunzip(message, out),
            #[cfg(feature = "gzip")]
            Self::Zlib => deflate::unzlib(message, out),
            #[cfg(not(all(feature = "snappy", feature = "gzip")))]
            _ => Err(CompressionError::NotBuilt { compression: self }),
        }
    }
}

impl Packet<'_> {
    /// How the message is compressed.
    ///
    /// # Errors
    /// [`CompressionError::Unknown`]: the message cannot be restored.
    pub const fn compression(&self) -> Result<Compression, CompressionError> {
        Ok(match self.compress_type {
            None | Some(0) => Compression::None,
            Some(1) => Compression::Snappy,
            Some(2) => Compression::Gzip,
            Some(3) => Compression::Zlib,
            Some(number) => return Err(CompressionError::Unknown { number }),
        })
    }
}

#[cfg(feature = "snappy")]
fn unsnap(message: &[u8], out: &mut impl Output) -> Result<usize, CompressionError> {
    /// A byte of Snappy expands to at most this many bytes: the best element makes 64 bytes from 3 bytes.
    const EXPANDS: usize = 22;

    let corrupt = CompressionError::Corrupt { compression: Compression::Snappy };
    let announced = snap::raw::decompress_len(message).map_err(|_| corrupt)?;
    if announced > message.len().saturating_mul(EXPANDS) {
        return Err(corrupt);
    }
    snap::raw::Decoder::new().decompress(message, out.exactly(announced)?).map_err(|_| corrupt)
}

/// Why a message cannot be compressed or restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CompressionError {
    /// The packet names a compression that does not exist.
    Unknown {
        /// The number in the packet.
        number: i32,
    },
    /// The feature for this compression is not switched on.
    NotBuilt {
        /// The compression.
        compression: Compression,
    },
    /// The message is larger than the limit.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bytes are not exactly one whole message in this compression.
    Corrupt {
        /// The compression.
        compression: Compression,
    },
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { number } => write!(f, "compression: type {number} is unknown"),
            Self::NotBuilt { compression } => {
                write!(f, "compression: {compression:?} is not built in; switch its feature of hedge-wire on")
            }
            Self::TooLarge { limit } => write!(f, "compression: the message has more than {limit} bytes"),
            Self::Corrupt { compression } => write!(f, "compression: not a whole message in {compression:?}"),
        }
    }
}

impl core::error::Error for CompressionError {}

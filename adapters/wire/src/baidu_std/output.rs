//! Where a restored message goes: a buffer that the caller lends, or a vector that grows up to a limit.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::CompressionError;

pub(super) trait Output {
    /// A buffer of exactly this many bytes.
    fn exactly(&mut self, length: usize) -> Result<&mut [u8], CompressionError>;

    /// The buffer as it is.
    #[cfg(feature = "gzip")]
    fn buffer(&mut self) -> &mut [u8];

    /// Makes the buffer larger, after it was filled.
    #[cfg(feature = "gzip")]
    fn grow(&mut self) -> Result<(), CompressionError>;
}

/// A buffer that the caller lends.
pub(super) struct Lent<'o>(pub(super) &'o mut [u8]);

impl Output for Lent<'_> {
    fn exactly(&mut self, length: usize) -> Result<&mut [u8], CompressionError> {
        let limit = self.0.len();
        self.0.get_mut(..length).ok_or(CompressionError::TooLarge { limit })
    }

    #[cfg(feature = "gzip")]
    fn buffer(&mut self) -> &mut [u8] {
        self.0
    }

    #[cfg(feature = "gzip")]
    fn grow(&mut self) -> Result<(), CompressionError> {
        Err(CompressionError::TooLarge { limit: self.0.len() })
    }
}

/// A vector that grows up to a limit.
#[cfg(feature = "alloc")]
pub(super) struct Growing {
    bytes: Vec<u8>,
    limit: usize,
}

#[cfg(feature = "alloc")]
impl Growing {
    pub(super) const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    /// The first bytes, which are the message.
    pub(super) fn into_vec(mut self, length: usize) -> Vec<u8> {
        self.bytes.truncate(length);
        self.bytes
    }
}

#[cfg(feature = "alloc")]
impl Output for Growing {
    fn exactly(&mut self, length: usize) -> Result<&mut [u8], CompressionError> {
        if length > self.limit {
            return Err(CompressionError::TooLarge { limit: self.limit });
        }
        self.bytes.resize(length, 0);
        Ok(&mut self.bytes)
    }

    #[cfg(feature = "gzip")]
    fn buffer(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    #[cfg(feature = "gzip")]
    fn grow(&mut self) -> Result<(), CompressionError> {
        /// The first size, in bytes.
        const FIRST: usize = 1024;

        if self.bytes.len() >= self.limit {
            return Err(CompressionError::TooLarge { limit: self.limit });
        }
        self.bytes.resize(self.bytes.len().saturating_mul(2).max(FIRST).min(self.limit), 0);
        Ok(())
    }
}

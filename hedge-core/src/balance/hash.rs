//! Hash functions with two uses: they compute a call's request code from a key of the user, and they place servers on a
//! [`Ring`](super::ring::Ring).
//!
//! All requests with one key go to one server only if every client computes the same request code. So these functions
//! never change. They are the functions of other systems: brpc's `MurmurHash32` and `MD5Hash32`, and libketama's four
//! points of a digest. None of them protects against an attacker who chooses the keys.
//!
//! # Cost
//!
//! These functions use no heap. MurmurHash3 takes about ten nanoseconds and 12 bytes of state. MD5 (feature `md5`)
//! takes about a hundred nanoseconds, and its block takes 64 bytes.

#[cfg(feature = "md5")]
mod md5;

#[cfg(feature = "md5")]
pub(super) use md5::Md5;
#[cfg(feature = "md5")]
pub use md5::{md5_32, md5_words};

use core::fmt;

/// Returns the hash MurmurHash3_x86_32 of `bytes` from seed 0 (Appleby 2011, public domain).
///
/// ```
/// use hedge_core::balance::hash::murmur3_32;
/// use hedge_core::policy::CallOptions;
///
/// // All requests about user 7 go to one server.
/// let own = CallOptions { request_code: Some(murmur3_32(b"user-7")), ..CallOptions::new() };
/// assert_eq!(own.request_code, Some(1_745_014_256));
/// ```
#[must_use]
pub fn murmur3_32(bytes: &[u8]) -> u32 {
    let mut hasher = Murmur3::new();
    hasher.update(bytes);
    hasher.finish()
}

/// Computes [`murmur3_32`]. The bytes may come in pieces, or as text that is written to this hasher. No buffer is
/// needed.
///
/// ```
/// use core::fmt::Write;
/// use hedge_core::balance::hash::{Murmur3, murmur3_32};
///
/// let (tenant, user) = ("acme", 7);
/// let mut code = Murmur3::new();
/// write!(code, "{tenant}/{user}")?;
/// assert_eq!(code.finish(), murmur3_32(b"acme/7"));
/// # Ok::<(), core::fmt::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Murmur3 {
    state: u32,
    /// The bytes after the last complete word, little-endian.
    rest: u32,
    /// The number of bytes so far, modulo 2^32 as in the reference implementation.
    len: u32,
}

impl Murmur3 {
    /// Makes a hasher that has read nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: 0, rest: 0, len: 0 }
    }

    /// Reads `bytes`, which follow the bytes that were read before.
    pub fn update(&mut self, mut bytes: &[u8]) {
        // First the loop completes a word that was begun. Then the code reads whole words, and then it stores the rest.
        while !self.len.is_multiple_of(4)
            && let Some((first, others)) = bytes.split_first()
        {
            self.push(*first);
            bytes = others;
        }
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u32::from_le_bytes(*word));
            self.len = self.len.wrapping_add(4);
        }
        for byte in rest {
            self.push(*byte);
        }
    }

    /// Returns the hash of all bytes that were read so far.
    #[must_use]
    pub const fn finish(&self) -> u32 {
        // `scrambled(0)` is 0, so a key without a rest needs no separate case.
        let mut hash = self.state ^ scrambled(self.rest) ^ self.len;
        // This is the last mixing step of MurmurHash3.
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
        hash ^ (hash >> 16)
    }

    fn push(&mut self, byte: u8) {
        self.rest |= u32::from(byte) << (8 * (self.len % 4));
        self.len = self.len.wrapping_add(1);
        if self.len.is_multiple_of(4) {
            self.mix(self.rest);
            self.rest = 0;
        }
    }

    const fn mix(&mut self, word: u32) {
        let mixed = (self.state ^ scrambled(word)).rotate_left(13);
        self.state = mixed.wrapping_mul(5).wrapping_add(0xE654_6B64);
    }
}

impl fmt::Write for Murmur3 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.update(text.as_bytes());
        Ok(())
    }
}

const fn scrambled(word: u32) -> u32 {
    word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::fmt::Write;
    use std::format;
    use std::vec::Vec;

    #[test]
    fn s5_hashes_of_known_keys() {
        for (key, murmur) in [
            ("", 0),
            ("abc", 3_017_643_002),
            ("hello world", 1_586_663_183),
            ("The quick brown fox jumps over the lazy dog", 776_992_547),
        ] {
            assert_eq!(murmur3_32(key.as_bytes()), murmur, "{key:?}");
        }
    }

    #[test]
    fn s5_a_key_in_two_pieces_hashes_like_the_whole() {
        let key: Vec<u8> = (0..23).collect();
        for end in 0..=key.len() {
            let whole = murmur3_32(&key[..end]);
            for middle in 0..=end {
                let mut pieces = Murmur3::new();
                pieces.update(&key[..middle]);
                pieces.update(&key[middle..end]);
                assert_eq!(pieces.finish(), whole, "{middle} of {end}");
            }
        }
    }

    #[test]
    fn s5_what_is_written_hashes_like_its_text() {
        let address = core::net::SocketAddr::from(([10, 92, 115, 19], 8833));
        let mut murmur = Murmur3::new();
        write!(murmur, "{address}-{}", 42).unwrap();
        assert_eq!(murmur.finish(), murmur3_32(format!("{address}-42").as_bytes()));
    }
}

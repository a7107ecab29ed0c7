//! MD5 (RFC 1321): [`md5_32`] and [`md5_words`].

use core::fmt;

use md5::Digest;

/// Returns the first four bytes of the MD5 digest of `bytes`, little-endian.
///
/// ```
/// use hedge_core::balance::hash::md5_32;
/// use hedge_core::policy::CallOptions;
///
/// let user: u64 = 7;
/// let own = CallOptions { request_code: Some(md5_32(&user.to_le_bytes())), ..CallOptions::new() };
/// assert_eq!(own.request_code, Some(139_706_101));
/// ```
#[must_use]
pub fn md5_32(bytes: &[u8]) -> u32 {
    let [first, ..] = md5_words(bytes);
    first
}

/// Returns the MD5 digest of `bytes` as four little-endian words. On a ketama ring, these are the four points of a key.
///
/// ```
/// use hedge_core::balance::hash::{md5_32, md5_words};
///
/// // A key may have several codes, as for storing what it names at several servers.
/// let codes = md5_words(b"user-7");
/// assert_eq!(codes[0], md5_32(b"user-7"));
/// assert_eq!(codes[1], 2_059_743_500);
/// ```
#[must_use]
pub fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let mut hasher = Md5::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Computes [`md5_words`] of text that is written to it.
#[derive(Clone, Debug, Default)]
pub(in crate::balance) struct Md5(md5::Md5);

impl Md5 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(in crate::balance) fn finish(self) -> [u32; 4] {
        let digest: [u8; 16] = self.0.finalize().into();
        let mut words = [0; 4];
        let (chunks, _) = digest.as_chunks();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u32::from_le_bytes(*chunk);
        }
        words
    }
}

impl fmt::Write for Md5 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.update(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::fmt::Write;
    use std::format;

    #[test]
    fn s5_digests_of_known_keys() {
        for (key, code) in [
            ("", 3_649_838_548),
            ("abc", 2_555_380_112),
            ("hello world", 3_141_252_702),
            ("The quick brown fox jumps over the lazy dog", 2_642_219_166),
        ] {
            assert_eq!(md5_32(key.as_bytes()), code, "{key:?}");
        }
        // RFC 1321: d41d8cd9 8f00b204 e9800998 ecf8427e.
        assert_eq!(md5_words(b"").map(u32::swap_bytes), [0xD41D_8CD9, 0x8F00_B204, 0xE980_0998, 0xECF8_427E]);
    }

    #[test]
    fn s5_what_is_written_is_digested_like_its_text() {
        let address = core::net::SocketAddr::from(([10, 92, 115, 19], 8833));
        let mut written = Md5::default();
        write!(written, "{address}-{}", 42).unwrap();
        assert_eq!(written.finish(), md5_words(format!("{address}-42").as_bytes()));
    }
}

//! gzip (RFC 1952) and zlib (RFC 1950), around what miniz_oxide inflates and deflates.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_COMPUTE_ADLER32, TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::output::Output;
use super::{Compression, CompressionError};

static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

const ZLIB: u32 = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_COMPUTE_ADLER32;

/// The length of the sum and the size behind a message in gzip.
const TRAILER: usize = 8;

pub(super) fn unzlib(message: &[u8], out: &mut impl Output) -> Result<usize, CompressionError> {
    let (rest, length) = inflate(message, out, ZLIB, Compression::Zlib)?;
    if rest.is_empty() { Ok(length) } else { Err(CompressionError::Corrupt { compression: Compression::Zlib }) }
}

pub(super) fn gunzip(message: &[u8], out: &mut impl Output) -> Result<usize, CompressionError> {
    let corrupt = CompressionError::Corrupt { compression: Compression::Gzip };
    let deflated = behind_head(message).ok_or(corrupt)?;
    let (trailer, length) = inflate(deflated, out, 0, Compression::Gzip)?;
    let sum = CRC32.checksum(out.buffer().get(..length).unwrap_or(&[])).to_le_bytes();
    if trailer.len() == TRAILER && trailer.starts_with(&sum) && trailer.ends_with(&size(length)) {
        Ok(length)
    } else {
        Err(corrupt)
    }
}

/// The size of a message as gzip says it: the low 32 bits.
fn size(length: usize) -> [u8; 4] {
    let [a, b, c, d, ..] = u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes();
    [a, b, c, d]
}

/// What follows the head of a message in gzip. `None` if that is no whole head.
fn behind_head(message: &[u8]) -> Option<&[u8]> {
    const SUM_OF_HEAD: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const RESERVED: u8 = 0b1110_0000;

    let rest = message.strip_prefix(b"\x1f\x8b\x08")?;
    let (&flags, rest) = rest.split_first()?;
    if flags & RESERVED != 0 {
        return None;
    }
    // A time, flags of the compressor and an operating system.
    let mut rest = rest.get(6..)?;
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.saturating_add(1)..)?;
        }
    }
    if flags & SUM_OF_HEAD != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// Inflates one stream. Returns the bytes behind it, and the length of what was inflated.
fn inflate<'m>(
    message: &'m [u8],
    out: &mut impl Output,
    flags: u32,
    compression: Compression,
) -> Result<(&'m [u8], usize), CompressionError> {
    let mut state = DecompressorOxide::new();
    let flags = flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (mut rest, mut length) = (message, 0_usize);
    loop {
        let (status, read, written) = decompress(&mut state, rest, out.buffer(), length, flags);
        rest = rest.get(read..).unwrap_or(&[]);
        length = length.saturating_add(written);
        match status {
            TINFLStatus::Done => return Ok((rest, length)),
            TINFLStatus::HasMoreOutput => out.grow()?,
            _ => return Err(CompressionError::Corrupt { compression }),
        }
    }
}

/// How much work goes into a smaller message: zlib's own default.
#[cfg(feature = "alloc")]
const LEVEL: u8 = 6;

#[cfg(feature = "alloc")]
pub(super) fn zlib(message: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(message, LEVEL)
}

#[cfg(feature = "alloc")]
pub(super) fn gzip(message: &[u8]) -> Vec<u8> {
    // No time and no name; the system is Unix.
    let head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
    let deflated = miniz_oxide::deflate::compress_to_vec(message, LEVEL);
    [&head[..], &deflated, &CRC32.checksum(message).to_le_bytes(), &size(message.len())].concat()
}

#[cfg(test)]
mod tests {
    use super::behind_head;

    #[test]
    fn a_head_of_gzip_may_have_more_parts() {
        for (flags, parts) in [(0, &b""[..]), (1, b""), (2, b"hc"), (4, b"\x03\0abc"), (8, b"name\0"), (16, b"\0")] {
            let head = [b"\x1f\x8b\x08", &[flags][..], b"timexo", parts, b"rest"].concat();
            assert_eq!(behind_head(&head), Some(&b"rest"[..]), "{flags}");
            for end in 0..head.len().saturating_sub(4) {
                assert_eq!(behind_head(head.get(..end).unwrap_or(&[])), None, "{flags} {end}");
            }
        }
        let all = b"\x1f\x8b\x08\x1etimexo\x01\0x\0c\0hcrest";
        assert_eq!(behind_head(all), Some(&b"rest"[..]));
        for wrong in [&b"\x1f\x8b\x07\0timexo"[..], b"\x1f\x8b\x08\x20timexo", b"\x1f\x8c\x08\0timexo"] {
            assert_eq!(behind_head(wrong), None);
        }
    }
}

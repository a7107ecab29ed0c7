//! Base64 with padding (RFC 4648, 4), for keys of any bytes.

use crate::write::Writer;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes in base64.
pub(super) fn encode(bytes: &[u8], out: &mut Writer<'_>) {
    for three in bytes.chunks(3) {
        let part = |at: usize, shift: u32| three.get(at).map_or(0, |&byte| u32::from(byte) << shift);
        let bits = part(0, 16) | part(1, 8) | part(2, 0);
        for at in 0..4_u32 {
            let digit = usize::try_from(bits >> 18_u32.saturating_sub(at.saturating_mul(6)) & 63).unwrap_or(0);
            let is_padding = usize::try_from(at).is_ok_and(|at| at > three.len());
            out.put(&[if is_padding { b'=' } else { ALPHABET.get(digit).copied().unwrap_or(b'=') }]);
        }
    }
}

/// Reads base64 into a buffer. `None` if it is malformed, or longer than the buffer.
pub(super) fn decode<'b>(text: &[u8], out: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut length = 0_usize;
    let (fours, []) = text.as_chunks::<4>() else { return None };
    for (index, four) in fours.iter().enumerate() {
        let padding = four.iter().rev().take_while(|&&digit| digit == b'=').count();
        if padding > 2 || (padding > 0 && index.saturating_add(1) < fours.len()) {
            return None;
        }
        let digits = four.get(..4_usize.saturating_sub(padding))?;
        let bits = digits.iter().try_fold(0_u32, |bits, &digit| Some(bits << 6 | value(digit)?))?;
        let [_, three @ ..] = (bits
            << match padding {
                0 => 0,
                1 => 6,
                _ => 12,
            })
        .to_be_bytes();
        let (bytes, rest) = three.split_at_checked(3_usize.saturating_sub(padding))?;
        // Other texts for the same bytes are refused. Otherwise one key would have several names.
        if rest.iter().any(|&bits| bits != 0) {
            return None;
        }
        out.get_mut(length..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        length = length.saturating_add(bytes.len());
    }
    out.get(..length)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit.wrapping_sub(b'A'),
        b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<'b>(bytes: &[u8], out: &'b mut [u8]) -> &'b [u8] {
        let mut writer = Writer::new(&mut *out);
        encode(bytes, &mut writer);
        let length = writer.length;
        out.get(..length).unwrap_or(&[])
    }

    /// RFC 4648, 10.
    #[test]
    fn the_vectors_of_rfc_4648() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
            (b"\xfb\xff\xfe", b"+//+"),
        ];
        for &(bytes, text) in table {
            assert_eq!(encoded(bytes, &mut [0; 16]), text);
            assert_eq!(decode(text, &mut [0; 16]), Some(bytes));
        }
    }

    #[test]
    fn what_is_malformed_or_too_long_is_refused() {
        let table: [&[u8]; 11] =
            [b"Z", b"Zg", b"Zg=", b"Z===", b"====", b"Zg==Zg==", b"Zh==", b"Zm9=", b"Zm9v\n", b"Zm-v", b"Z=9v"];
        for text in table {
            assert_eq!(decode(text, &mut [0; 16]), None, "{}", text.escape_ascii());
        }
        assert_eq!(decode(b"Zm9v", &mut [0; 2]), None);
    }

    #[test]
    fn all_bytes_of_all_lengths_are_read_back() {
        let bytes: [u8; 256] = core::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
        for length in 0..=bytes.len() {
            let bytes = bytes.get(..length).unwrap_or(&[]);
            let mut text = [0; 400];
            assert_eq!(decode(encoded(bytes, &mut text), &mut [0; 256]), Some(bytes));
        }
    }
}

//! Reads a head as most servers send it, in one pass: [`read`].

use super::head::{Framing, Head};
use super::is_token_byte;

/// The bytes that a name may consist of.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut slots: &mut [bool] = &mut table;
    let mut byte = 0_u8;
    while let Some((slot, rest)) = slots.split_first_mut() {
        *slot = is_token_byte(byte);
        byte = byte.wrapping_add(1);
        slots = rest;
    }
    table
};

/// Reads the head at the start of these bytes, if it is whole and plain: HTTP/1.1, a final status that has a body, at most
/// one length or one `chunked`, no `connection` but `keep-alive`, at most `max_headers` fields, at most `max_head` bytes, and
/// no wrong byte. The request was not a `HEAD`. Returns the length of the head, and what [`Head::parse`] would return.
///
/// `None` says nothing about the head: the careful parser decides about it. This one takes a third of the instructions,
/// because it keeps no field, and looks at names and values only as far as the framing needs.
pub(super) fn read(bytes: &[u8], max_head: usize, max_headers: usize) -> Option<(usize, Head)> {
    let mut rest = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let status = status(rest)?;
    let (_, after) = line(rest, 3)?;
    rest = after;
    let mut framing = None;
    for _ in 0..=max_headers {
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            let length = bytes.len().checked_sub(body.len()).filter(|length| *length <= max_head)?;
            let keep_alive = framing.is_some();
            let framing = framing.unwrap_or(Framing::Close);
            return Some((length, Head { status, framing, keep_alive }));
        }
        let colon = rest.iter().position(|byte| !TOKEN.get(usize::from(*byte)).is_some_and(|is_token| *is_token))?;
        let (name, value) = rest.split_at_checked(colon).filter(|(name, _)| !name.is_empty())?;
        if value.first() != Some(&b':') {
            return None;
        }
        let (value, after) = line(value, 1)?;
        rest = after;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                framing = framing.is_none().then_some(Some(Framing::Length(length(value.trim_ascii())?)))?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_chunked = framing.is_none() && value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                framing = is_chunked.then_some(Some(Framing::Chunked))?;
            }
            10 if name.eq_ignore_ascii_case(b"connection")
                && !value.trim_ascii().eq_ignore_ascii_case(b"keep-alive") =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// The status, if a final response with it has a body.
fn status(bytes: &[u8]) -> Option<u16> {
    let [hundreds @ b'2'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' ' | b'\r', ..] = bytes else { return None };
    let digit = |byte: &u8| u16::from(byte.wrapping_sub(b'0'));
    let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    (!matches!(status, 204 | 304)).then_some(status)
}

/// The bytes from `start` to the CRLF that ends a line, and the bytes after it. `None` if a control character comes first, or
/// if the end of the line has not come. A tab counts as no control character.
fn line(bytes: &[u8], start: usize) -> Option<(&[u8], &[u8])> {
    let mut at = start;
    loop {
        at = first_control(bytes, at)?;
        if bytes.get(at) != Some(&b'\t') {
            break;
        }
        at = at.saturating_add(1);
    }
    let rest = bytes.get(at..)?.strip_prefix(b"\r\n")?;
    Some((bytes.get(start..at)?, rest))
}

/// The position of the first control character from `at` on. Eight bytes are searched at once.
fn first_control(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let delete = word ^ (ONES * 0x7f);
        // A byte below 32, and one that is 0 in `delete`, get their top bit (Hacker's Delight, 6-1). A byte after the first
        // such byte may get it wrongly, so only the first counts.
        let controls = ((word.wrapping_sub(ONES * 0x20) & !word) | (delete.wrapping_sub(ONES) & !delete)) & TOPS;
        if controls != 0 {
            return at.checked_add(usize::try_from(controls.trailing_zeros() / 8).ok()?);
        }
        at = at.saturating_add(8);
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(u8::is_ascii_control).and_then(|offset| at.checked_add(offset))
}

/// A length of 1 to 9 digits.
fn length(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(usize::from(digit))
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// What the careful parser reads, if the bytes are one head with all lines in CRLF.
    fn careful(head: &[u8]) -> Option<(usize, Head)> {
        let lines = head.split_inclusive(|byte| *byte == b'\n');
        if !lines.clone().all(|line| line.ends_with(b"\r\n")) {
            return None;
        }
        Head::parse::<100>(head, false).ok().map(|read| (head.len(), read))
    }

    #[test]
    fn usual_heads_are_plain() {
        for (head, framing, keep_alive) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 256\r\n\r\n", Framing::Length(256), true),
            (
                "HTTP/1.1 200 OK\r\nServer: a\r\nConnection: Keep-Alive\r\nContent-Length:0\r\n\r\n",
                Framing::Length(0),
                true,
            ),
            ("HTTP/1.1 404 Not\u{e4} Found\r\nx:\ta\tb \r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 500\r\nx: \r\n\r\n", Framing::Close, false),
        ] {
            let (length, read) = read(head.as_bytes(), 1_000, 100).unwrap();
            assert_eq!((length, read.framing, read.keep_alive), (head.len(), framing, keep_alive), "{head:?}");
            assert_eq!(Some((length, read)), careful(head.as_bytes()), "{head:?}");
            let longer = format!("{head}HTTP/1.1 200 OK\r\n\r\n");
            assert_eq!(super::read(longer.as_bytes(), 1_000, 100), Some((length, read)), "{head:?}");
            for end in 0..head.len() {
                assert_eq!(super::read(&head.as_bytes()[..end], 1_000, 100), None, "{head:?} up to {end}");
            }
            assert_eq!(super::read(head.as_bytes(), head.len() - 1, 100), None, "{head:?}");
            let fields = head.matches("\r\n").count() - 2;
            assert!(super::read(head.as_bytes(), 1_000, fields).is_some(), "{head:?}");
            assert_eq!(super::read(head.as_bytes(), 1_000, fields - 1), None, "{head:?}");
        }
    }

    #[test]
    fn heads_in_doubt_are_left_to_the_careful_parser() {
        for head in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1234567890\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n content-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\nb: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: 12345678\u{7f}\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx\r\n\r\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n",
        ] {
            assert_eq!(read(head.as_bytes(), 1_000, 100), None, "{head:?}");
        }
    }

    /// Pieces of heads, so that random ones are often nearly valid.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        const KNOWN: &[&str] = &[
            "\r\n",
            "\n",
            "\r",
            "\t",
            " ",
            ":",
            "x: a",
            "content-length: 5",
            "Content-Length:",
            "5",
            "transfer-encoding: chunked",
            "connection: keep-alive",
            "connection: close",
            "HTTP/1.1 200 OK",
            ", ",
            "server: something longer than a word",
        ];
        let known = proptest::sample::select(KNOWN).prop_map(|text: &str| text.as_bytes().to_vec());
        prop_oneof![8 => known, 1 => proptest::collection::vec(any::<u8>(), 1..3)]
    }

    proptest! {
        #[test]
        fn what_is_plain_is_what_the_careful_parser_reads(
            status in "HTTP/1\\.[01] [1-5][0-9][0-9]( O?K?)?", pieces in proptest::collection::vec(piece(), 0..12)
        ) {
            let bytes = [status.as_bytes(), b"\r\n", &pieces.concat(), b"\r\n\r\n"].concat();
            if let Some((length, head)) = read(&bytes, 1_000, 100) {
                prop_assert_eq!(Some((length, head)), careful(&bytes[..length]));
            }
        }
    }
}

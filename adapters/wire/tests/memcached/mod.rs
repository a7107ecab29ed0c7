//! What the tests of memcached and the fuzzer have in common: a check that answers are the same however many bytes have
//! come, and second readers, which are as simple as possible.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "tests, of which each uses a part"
)]

use std::fmt::Debug;

use hedge_wire::memcached::{Fault, MAX_KEY, Progress, binary, meta};

/// The limit of bodies and values.
pub const LIMIT: usize = 300;

/// The answers in some bytes, each with its end; and the fault after them.
pub type Answers<R> = (Vec<(R, usize)>, Option<Fault>);

/// Reads all answers. Each must be the same, and each fault too, however many bytes have come.
pub fn read<'b, R: PartialEq + Debug>(
    bytes: &'b [u8],
    decode: impl Fn(&'b [u8], usize) -> Result<Progress<R>, Fault>,
) -> Answers<R> {
    let (mut at, mut answers) = (0, Vec::new());
    loop {
        let rest = &bytes[at..];
        let whole = decode(rest, LIMIT);
        let end = match &whole {
            Ok(Progress::Done { length, .. }) => *length,
            Ok(Progress::More { .. }) | Err(_) => rest.len(),
        };
        let mut is_failed = false;
        for come in 0..=end {
            match decode(&rest[..come], LIMIT) {
                Ok(Progress::More { needs }) => {
                    assert!(!is_failed && needs > come, "{needs} at {come}: {}", bytes.escape_ascii());
                    if let Ok(Progress::Done { length, .. }) = whole {
                        assert!(come < length && needs <= length, "{needs} of {length}: {}", bytes.escape_ascii());
                    }
                }
                other => {
                    assert_eq!(other, whole, "{come} of {}", bytes.escape_ascii());
                    is_failed = true;
                }
            }
        }
        match whole {
            Ok(Progress::Done { response, length }) => {
                at += length;
                answers.push((response, at));
            }
            Ok(Progress::More { .. }) => return (answers, None),
            Err(fault) => {
                assert!(fault.at <= rest.len());
                return (answers, Some(fault));
            }
        }
    }
}

/// Reads bytes that may be anything. Each answer's parts must be where a second reader finds them.
pub fn assert_binary(bytes: &[u8]) -> usize {
    let (answers, _) = read(bytes, binary::Response::decode);
    let mut begin = 0;
    for (answer, end) in &answers {
        let frame = &bytes[begin..*end];
        let number = |range: std::ops::Range<usize>| {
            frame[range].iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let [key, extras, body] = [2..4, 4..5, 8..12].map(|range| usize::try_from(number(range)).unwrap());
        assert_eq!((frame[0], frame[1], frame.len()), (0x81, answer.opcode().number(), 24 + body));
        assert_eq!(answer.status(), binary::Status::of(u16::try_from(number(6..8)).unwrap()));
        assert_eq!((u64::from(answer.opaque()), answer.cas()), (number(12..16), number(16..24)));
        assert_eq!(answer.key(), &frame[24 + extras..24 + extras + key]);
        assert_eq!(answer.value(), &frame[24 + extras + key..]);
        if let Some(flags) = answer.flags() {
            assert_eq!(u64::from(flags), number(24..28));
        }
        begin = *end;
    }
    answers.len()
}

/// As [`assert_binary`], for the meta protocol.
pub fn assert_meta(bytes: &[u8]) -> usize {
    let (answers, _) = read(bytes, meta::Response::decode);
    let mut begin = 0;
    for (answer, end) in &answers {
        let frame = &bytes[begin..*end];
        let line = frame.windows(2).position(|two| two == b"\r\n").unwrap();
        let text = String::from_utf8_lossy(&frame[..line]).into_owned();
        let mut words = text.split(' ');
        let word = words.next().unwrap();
        assert_eq!(answer.value().is_some(), word == "VA");
        if let Some(value) = answer.value() {
            assert_eq!(words.next().unwrap().parse(), Ok(value.len()));
            assert_eq!(frame[line + 2..], [value, b"\r\n"].concat());
        } else {
            assert_eq!(line + 2, frame.len());
        }
        let has_text = matches!(word, "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR" | "ME");
        let expected = if has_text { 0 } else { words.filter(|word| !word.is_empty()).count() };
        assert_eq!(answer.flags().count(), expected);
        let _ = (answer.key(&mut [0; MAX_KEY]), answer.number(b'c'), answer.text());
        begin = *end;
    }
    answers.len()
}

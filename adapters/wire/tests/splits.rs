//! The result of a response is the same for pieces of any size, and the same as from a reference parser, which gets the
//! response in one piece.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{assert_followed, assert_same, expected, receive, receive_whole};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

/// Generates valid responses, and responses with one or two errors.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let status_line = prop_oneof![
        12 => (200..600_u16).prop_map(|status| format!("HTTP/1.1 {status} OK")),
        2 => prop::sample::select(vec!["HTTP/1.1 204 ", "HTTP/1.1 304", "HTTP/1.1 999", "HTTP/1.1 200 caf\t"]).prop_map(str::to_owned),
        2 => Just("HTTP/1.0 200 OK".to_owned()),
        1 => prop::sample::select(vec!["HTTP/1.1 101 x", "HTTP/1.1 099 x", "HTTP/2.0 200", "HTTP/1.2 200 OK", "ICY 200 OK"])
            .prop_map(str::to_owned),
    ];
    let header = prop_oneof![
        4 => "[a-zA-Z-]{1,12}:[ \t]{0,2}[ -~]{0,12}",
        2 => prop::sample::select(vec![
            "Connection: close", "connection: Keep-Alive", "Connection: x , close", "Server: a\tb ", "X:", "a : b", " folded", "nocolon",
        ]).prop_map(str::to_owned),
    ];
    let framing = prop_oneof![
        6 => (0..40_usize).prop_map(|length| format!("Content-Length: {length}")),
        8 => Just("Transfer-Encoding: chunked".to_owned()),
        2 => Just(String::new()),
        2 => prop::sample::select(vec![
            "content-length: 5, 5", "content-length: 5,6", "content-length: +5", "content-length:", "Content-Length: 99999999999999999999999",
            "transfer-encoding: gzip, chunked", "transfer-encoding: CHUNKED", "content-length: 3\r\ntransfer-encoding: chunked",
            "content-length: 3\r\ncontent-length: 3", "content-length: 3\r\ncontent-length: 4",
        ]).prop_map(str::to_owned),
    ];
    let chunk = (vec(any::<u8>(), 1..30), prop::sample::select(vec!["", ";a=b", " ;x=\"y\"", " \t"]), any::<bool>())
        .prop_map(|(data, extension, upper)| {
            let size = if upper { format!("{:X}", data.len()) } else { format!("0{:x}", data.len()) };
            [size.as_bytes(), extension.as_bytes(), b"\r\n", &data, b"\r\n"].concat()
        });
    let chunks = (vec(chunk, 0..5), prop::sample::select(vec!["0\r\n\r\n", "000;x\r\nA: b\r\nC: d\r\n\r\n", "0\r\n"]))
        .prop_map(|(chunks, last)| [chunks.concat(), last.as_bytes().to_vec()].concat());
    let body = prop_oneof![3 => chunks, 2 => vec(any::<u8>(), 0..50)];
    let interim = prop::sample::select(vec!["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\nlink: a\n\n"]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r\r\n"]);
    let mutation = prop_oneof![Just(None), (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8).prop_map(Some)];
    (vec(interim, 0..3), status_line, vec(header, 0..4), framing, end, body, vec(mutation, 0..3)).prop_map(
        |(interims, status_line, mut headers, framing, end, body, mutations)| {
            if !framing.is_empty() {
                headers.insert(headers.len() / 2, framing);
            }
            let mut wire = interims.concat().into_bytes();
            for line in std::iter::once(&status_line).chain(&headers) {
                wire.extend_from_slice(line.as_bytes());
                wire.extend_from_slice(end.as_bytes());
            }
            wire.extend_from_slice(end.as_bytes());
            wire.extend_from_slice(&body);
            for (index, byte, kind) in mutations.into_iter().flatten() {
                let at = index.index(wire.len());
                match kind {
                    0 => wire[at] = byte,
                    1 => drop(wire.remove(at)),
                    2 => wire.insert(at, byte),
                    _ => wire.truncate(at + 1),
                }
            }
            wire
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn split_at_any_byte_gives_the_same(wire in wire(), capacity in 0..260_usize, head in prop::bool::weighted(0.1)) {
        for capacity in [capacity, 4096] {
            let whole = receive_whole(&wire, capacity, head);
            for cut in 1..wire.len() {
                let mut pieces = [cut].into_iter();
                let cut_once = receive(&wire, capacity, head, || pieces.next().unwrap_or(usize::MAX));
                assert_same(&whole, &cut_once, &wire, &format!("cut at {cut}, capacity {capacity}"));
            }
        }
    }

    #[test]
    fn any_pieces_give_what_a_parser_of_the_whole_gives(
        wire in wire(),
        capacity in 0..260_usize,
        head in prop::bool::weighted(0.1),
        pieces in vec(1..40_usize, 1..20),
    ) {
        for capacity in [capacity, 4096] {
            let expected = expected(&wire, capacity, head);
            let byte_by_byte = receive(&wire, capacity, head, || 1);
            prop_assert_eq!(&byte_by_byte, &expected, "capacity {}: {}", capacity, wire.escape_ascii());
            let mut pieces = pieces.iter().copied().cycle();
            let in_pieces = receive(&wire, capacity, head, || pieces.next().unwrap());
            assert_same(&in_pieces, &expected, &wire, &format!("capacity {capacity}"));
        }
    }

    #[test]
    fn a_follower_sees_the_response_that_a_parser_of_the_whole_sees(
        wire in wire(),
        head in prop::bool::weighted(0.1),
        pieces in vec(1..40_usize, 1..20),
    ) {
        for piece in [vec![1], pieces, vec![usize::MAX]] {
            let mut piece = piece.into_iter().cycle();
            assert_followed(&wire, head, || piece.next().unwrap());
        }
    }

    #[test]
    fn bytes_at_random_give_what_a_parser_of_the_whole_gives(tail in vec(any::<u8>(), 0..200), capacity in 0..260_usize) {
        for prefix in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            let wire = [prefix.as_bytes(), &tail].concat();
            let outcome = receive(&wire, capacity, false, || 1);
            prop_assert_eq!(outcome, expected(&wire, capacity, false), "{}", wire.escape_ascii());
        }
    }
}

/// Checks that the generated responses are of all kinds. Otherwise the tests above would prove little.
#[test]
fn the_cases_are_of_all_kinds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..4_000 {
        let wire = wire().new_tree(&mut runner).unwrap().current();
        let kind = match expected(&wire, 200, false) {
            Ok(owned) if owned.length < wire.len() => "surplus".to_owned(),
            Ok(owned) if !owned.keep_alive => "closing".to_owned(),
            Ok(_) => "kept".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    println!("{kinds:?}");
    for kind in ["kept", "closing", "surplus", "Truncated", "BadHead", "BadFraming", "BadChunk", "Switched"] {
        assert!(kinds.get(kind).is_some_and(|&count| count >= 20), "{kind}: {kinds:?}");
    }
    assert!(kinds.contains_key("TooLarge { capacity: 200 }"), "{kinds:?}");
}

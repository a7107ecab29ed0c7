//! Any bytes, whole and in pieces, into a buffer of any size: nothing panics, and all find what a parser of the whole finds.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{assert_followed, assert_same, expected, receive, receive_whole};
use libfuzzer_sys::fuzz_target;

/// So that the fuzzer need not find a head before it comes to what follows.
const PREFIXES: [&str; 4] = [
    "",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 100\r\n\r\nHTTP/1.1 ",
];

fuzz_target!(|input: &[u8]| {
    let [flags, capacity, many, count, rest @ ..] = input else { return };
    let (pieces, tail) = rest.split_at((usize::from(*count) % 16).min(rest.len()));
    let wire = [PREFIXES[usize::from(flags % 4)].as_bytes(), tail].concat();
    let capacity = usize::from(*capacity) * (1 + 15 * usize::from(many % 2));
    let request_was_head = flags & 4 != 0;

    let expected = expected(&wire, capacity, request_was_head);
    let mut pieces = pieces.iter().map(|&piece| usize::from(piece)).cycle();
    let outcomes = [
        receive_whole(&wire, capacity, request_was_head),
        receive(&wire, capacity, request_was_head, || pieces.next().unwrap_or(2)),
        receive(&wire, capacity, request_was_head, || 1),
    ];
    for outcome in outcomes {
        assert_same(&outcome, &expected, &wire, &format!("capacity {capacity}"));
    }
    for piece in [1, usize::MAX] {
        assert_followed(&wire, request_was_head, || piece);
    }
});

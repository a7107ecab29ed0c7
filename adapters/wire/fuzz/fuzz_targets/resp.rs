//! Any bytes, whole and in pieces: nothing panics, and the codec finds the replies that a second parser finds in the
//! whole. Small limits hold, whatever the sizes of the pieces are.
#![no_main]

#[path = "../../tests/resp/mod.rs"]
mod common;

use common::{assert_found, follow};
use hedge_wire::resp::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [bytes, elements, depth, count, rest @ ..] = input else { return };
    let (pieces, wire) = rest.split_at((usize::from(*count) % 16).min(rest.len()));
    let mut pieces = pieces.iter().map(|&piece| usize::from(piece)).cycle();
    let mut piece = || pieces.next().unwrap_or(2);
    assert_found(wire, &mut piece);
    let limits = Limits { bytes: usize::from(*bytes), elements: u32::from(*elements) % 16, depth: depth % 4 };
    let whole = follow(wire, limits, || usize::MAX);
    assert_eq!(follow(wire, limits, || 1), whole);
    assert_eq!(follow(wire, limits, piece), whole);
});

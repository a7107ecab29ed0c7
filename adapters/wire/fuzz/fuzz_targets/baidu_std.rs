//! Any bytes as frames, and as metas within frames: nothing panics, the result is the same at every split, and what is read
//! is written and read again as it was.
#![no_main]

#[path = "../../tests/packets/mod.rs"]
mod packets;

use hedge_wire::baidu_std::{Frame, Magic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [kind, limit, rest @ ..] = input else { return };
    let max_body = if *limit < 250 { usize::from(*limit) } else { usize::MAX };
    let magic = match kind % 3 {
        0 => return drop(packets::assert_split(rest, max_body)),
        1 => Magic::Rpc,
        _ => Magic::Stream,
    };
    // The sizes fit, so that the fuzzer reaches the metas at once.
    let (meta, rest) = rest.split_at(rest.len().saturating_sub(usize::from(kind / 3)));
    let mut wire = vec![0; input.len() + 12];
    let length = Frame { magic, meta, rest }.encode(&mut wire).expect("a small frame");
    drop(packets::assert_split(&wire[..length], max_body));
});

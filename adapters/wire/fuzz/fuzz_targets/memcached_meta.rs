//! Any bytes: nothing panics, an answer is the same however many bytes have come, and its parts are where they should be.
#![no_main]

#[path = "../../tests/memcached/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    common::assert_meta(input);
});

//! Any fields: what is written at all is one request, and is read back as it was.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use hedge_wire::http1::Request;
use libfuzzer_sys::fuzz_target;

type Fields<'a> = (&'a str, &'a str, &'a str, Vec<(&'a str, &'a [u8])>, &'a [u8], bool);

fuzz_target!(|fields: Fields<'_>| {
    let (method, target, host, headers, body, keep_alive) = fields;
    common::assert_read_back(&Request { method, target, host, headers: &headers, body, keep_alive });
});

//! HTTP on smol: the tests that both runtimes share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::future_not_send,
    reason = "a test may stop at the first surprise"
)]

#[path = "../../net/tests/common/mod.rs"]
mod common;

use std::future::Future;

use hedge_smol::Smol;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Smol) -> F) {
    smol::block_on(common::within(Smol::new(), test(Smol::new())));
}

common::every_test!(run);
common::every_outage!(run);

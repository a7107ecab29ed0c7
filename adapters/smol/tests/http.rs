//! HTTP on smol: the tests that both runtimes share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::future_not_send,
    reason = "a test may stop at the first surprise"
)]

use std::future::Future;

use hedge_smol::Smol;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Smol) -> F) {
    smol::block_on(hedge_sockets::within(Smol::new(), test(Smol::new())));
}

hedge_sockets::every_test!(run);
hedge_sockets::every_outage!(run);

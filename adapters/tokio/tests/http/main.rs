//! HTTP on tokio: the tests that both runtimes share, on one thread and on several.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::future_not_send,
    reason = "a test may stop at the first surprise"
)]

/// What only tokio has.
mod runtimes;

use std::future::Future;

use hedge_tokio::Tokio;

fn on<F: Future<Output = ()>>(mut runtime: tokio::runtime::Builder, test: impl FnOnce(Tokio) -> F) {
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(hedge_sockets::within(Tokio::new(), test(Tokio::new())));
}

mod one_thread {
    use super::{Future, Tokio, on};

    fn run<F: Future<Output = ()>>(test: impl FnOnce(Tokio) -> F) {
        on(tokio::runtime::Builder::new_current_thread(), test);
    }

    hedge_sockets::every_test!(run);
}

mod many_threads {
    use super::{Future, Tokio, on};

    fn run<F: Future<Output = ()>>(test: impl FnOnce(Tokio) -> F) {
        on(tokio::runtime::Builder::new_multi_thread(), test);
    }

    hedge_sockets::every_test!(run);
    hedge_sockets::every_outage!(run);
}

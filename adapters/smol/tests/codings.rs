//! Answers in content codings on smol: the tests that both runtimes share.

use hedge_smol::Smol;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Smol) -> F) {
    smol::block_on(hedge_sockets::within(Smol::new(), test(Smol::new())));
}

hedge_sockets::every_coding!(run);

//! Sources on tokio: the tests that both runtimes share.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use hedge_naming::Etcd;
use hedge_naming_tests::etcd_server::EtcdServer;
use hedge_naming_tests::followed::Followed;
use hedge_tokio::Tokio;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Tokio) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { hedge_naming_tests::within(Tokio::new(), test(Tokio::new())).await });
}

hedge_naming_tests::every_test!(run);

/// A connection is used only on the runtime that made it, so a source begins anew on another one.
#[test]
fn n6_a_source_moves_to_another_runtime() {
    let server = EtcdServer::start();
    server.put("services/users/1", "10.0.0.1:80");
    let etcd = Etcd::new(Tokio::new());
    let url = format!("etcd://{}/services/users", server.address);
    let mut source = Followed::open(&url, move |rest| etcd.open(rest));
    run(async |_| {
        assert_eq!(source.list().await, ["10.0.0.1:80"]);
        assert!(!source.give_up().await, "it watches");
    });
    run(async |_| assert_eq!(source.list().await, ["10.0.0.1:80"]));
    server.put("services/users/2", "10.0.0.2:80");
    run(async |_| source.becomes(&["10.0.0.1:80", "10.0.0.2:80"]).await);
}

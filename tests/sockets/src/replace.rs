//! Options are replaced while calls run.

use std::time::Duration;

use hedge_core::bounded::{Bounded, SpanRange};
use hedge_net::{
    BackupDelay, BreakerOptions, CallOptions, ConfigError, FailureOptions, IsolationOptions, NotHedged, Runtime,
};

use super::server::{TestServer, ok, status};
use super::signal::Signal;
use super::{assert_settled, both, get, list, server};

pub async fn l2_timeout_and_backup_are_replaced_while_calls_run<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let opened = gate.clone();
    let slow = TestServer::start(move |connection| {
        // The first request is answered when the gate is open, and no other one.
        while let Some(request) = connection.request() {
            if request.number == 0 {
                opened.block_until(1);
                connection.send(&ok("slow"));
            }
        }
    });
    let fast = TestServer::answering(|_| ok("fast"));
    let addresses = [slow.address, fast.address];
    let channel = list(&runtime, &addresses).connect_timeout(Duration::from_secs(60)).build().unwrap();
    let options = CallOptions { servers: Some(addresses.map(server).to_vec()), ..CallOptions::new() };
    let call = || channel.call_with(get("/"), &options);

    let (first, ()) = both(call(), async {
        slow.requests.reached(1).await;
        let with_backup = channel.options().with_backup(Duration::from_millis(1));
        assert_eq!(channel.set_options(with_backup.clone()).unwrap().len(), 0);
        assert_eq!(channel.options(), with_backup);
        let reply = call().await.unwrap();
        assert_eq!((reply.text().unwrap(), reply.report().attempts().len()), ("fast".into(), 2));

        let mut short = channel.options().with_timeout(Duration::from_millis(30));
        short.channel.backup = BackupDelay::OFF;
        let warnings = channel.set_options(short).unwrap();
        assert!(warnings[0].to_string().starts_with("connect_timeout"), "{:?}", warnings[0].to_string());
        let error = call().await.unwrap_err();
        assert_eq!((error.kind(), error.report().not_hedged()), ("deadline", Some(NotHedged::Disabled)));
        assert!(error.report().elapsed() >= Duration::from_millis(30));
        gate.raise();
    })
    .await;
    // It has the options that it started with: it could wait, and had no backup.
    let first = first.unwrap();
    assert_eq!(first.report().not_hedged(), Some(NotHedged::Disabled));
    assert_eq!((first.report().attempts().len(), first.text().unwrap()), (1, "slow".into()));
    drop(first);
    assert_settled(&channel);
}

pub async fn h2_a_breaker_is_replaced_and_what_is_wrong_changes_nothing<R: Runtime>(runtime: R) {
    let failing = TestServer::answering(|_| status(500, ""));
    let others = [TestServer::answering(|_| ok("")), TestServer::answering(|_| ok(""))];
    let addresses = [failing.address, others[0].address, others[1].address];
    let channel = list(&runtime, &addresses).connect_timeout(Duration::from_secs(60)).build().unwrap();
    let to_failing = CallOptions { servers: Some(vec![server(failing.address)]), ..CallOptions::new() };
    let usable = || channel.usable(&server(failing.address));
    let breaker = |failures| {
        let times = SpanRange::of_millis::<60_000, 60_000>();
        let isolation = IsolationOptions { times, probes: Bounded::of::<1>() };
        let failures = Bounded::new(failures).unwrap();
        let mut options = channel.options();
        options.breaker = Some(BreakerOptions::ConsecutiveFailures(FailureOptions { failures, isolation }));
        options
    };
    channel.call_with(get("/"), &to_failing).await.unwrap_err();
    assert!(usable());
    assert_eq!(channel.set_options(breaker(1)).unwrap().len(), 0);
    channel.call_with(get("/"), &to_failing).await.unwrap_err();
    assert!(!usable());
    channel.set_options(breaker(9)).unwrap();
    assert!(!usable(), "it stays isolated");

    let there = channel.options();
    let too_many = r#"{"max_retry": 8}"#;
    let refused = channel.set_config(&serde_json::from_str(too_many).unwrap());
    assert!(matches!(refused, Err(ConfigError::TooManyAttempts { .. })));
    assert_eq!(channel.options(), there);

    let text = r#"{"timeout": "90s", "backup": "20ms", "limits": {"ratio": {"burst": 20}}}"#;
    let config = serde_json::from_str(text).unwrap();
    assert_eq!(channel.set_config(&config).unwrap().len(), 0);
    let of_file = list(&runtime, &addresses).config(&config).build().unwrap().options();
    assert_eq!((channel.options().channel, channel.options().limits), (of_file.channel, of_file.limits));
    assert_eq!(channel.options().breaker, there.breaker, "the file does not name it");
    assert!(!usable());
    let config = serde_json::from_str(r#"{"circuit_breaker": "off"}"#).unwrap();
    channel.set_config(&config).unwrap();
    assert_eq!(channel.options().breaker, None);
    assert!(usable());
    assert_settled(&channel);
}

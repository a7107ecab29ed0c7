//! What servers ask about further attempts (R4), over real sockets.

use std::thread;
use std::time::Duration;

use hedge_compose::Selective;
use hedge_fleet::Caller as _;
use hedge_net::http::{Body, HttpError, HttpRetryPolicy, failure};
use hedge_net::{Backoff, CallOptions, Code, Judgement, Kind, Report, RetryPolicy, Runtime, Verdict};

use super::server::{TestServer, busy, ok};
use super::signal::Signal;
use super::{assert_settled, get, list, refused, server};

/// When backups are sent here.
const DELAY: Duration = Duration::from_millis(2);

/// When they are sent where a server has to answer before the next one.
const UNHURRIED: Duration = Duration::from_secs(2);

/// Longer than one of the delays that servers ask for.
const WHOLE: hedge_core::time::Duration = hedge_core::time::Duration::from_secs(60);

/// Much longer than [`DELAY`].
const LATER: Duration = Duration::from_millis(60);

fn in_order<const N: usize>(servers: [&TestServer; N]) -> CallOptions {
    let servers = servers.iter().map(|there| server(there.address)).collect();
    CallOptions { servers: Some(servers), ..CallOptions::new() }
}

/// Answers well after `event`.
fn late(event: Signal, answer: String) -> TestServer {
    TestServer::answering(move |_| {
        event.block_until(1);
        thread::sleep(LATER);
        answer.clone()
    })
}

/// From the end of one attempt to the start of the next.
fn gap(report: &Report, attempt: usize) -> Duration {
    let attempts = report.attempts();
    attempts[attempt + 1].started() - attempts[attempt].ended().unwrap()
}

pub async fn r4_grpc_pushback_moves_the_next_backup<R: Runtime>(runtime: R) {
    let (slow, fast) = (TestServer::stalling(), TestServer::answering(|_| ok("fast")));
    let pushing = TestServer::answering(|_| busy("grpc-retry-pushback-ms: 60\r\nretry-after: 3600"));
    let servers = [slow.address, pushing.address, fast.address];
    let channel = list(&runtime, &servers).backup(UNHURRIED).max_backups(2).build().unwrap();
    let reply = channel.call_with(get("/"), &in_order([&slow, &pushing, &fast])).await.unwrap();
    assert_eq!(*reply.server().unwrap(), server(fast.address));
    let report = reply.report();
    assert_eq!((report.attempts()[1].code(), report.attempts()[2].kind()), (Code(503), Kind::Backup));
    assert!(gap(report, 1) >= LATER + UNHURRIED, "{report:?}");
    assert_settled(&channel);
}

pub async fn r4_a_pushback_past_the_deadline_cancels_the_next_backup<R: Runtime>(runtime: R) {
    let (pushing, unused) =
        (TestServer::answering(|_| busy("grpc-retry-pushback-ms: 3600000")), TestServer::stalling());
    let slow = late(pushing.requests.clone(), ok("slow"));
    let servers = [slow.address, pushing.address, unused.address];
    let channel = list(&runtime, &servers).backup(UNHURRIED).max_backups(2).build().unwrap();
    let reply = channel.call_with(get("/"), &in_order([&slow, &pushing, &unused])).await.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "slow");
    assert_eq!(reply.report().attempts().len(), 2);
    assert_eq!(unused.requests.count(), 0);
    assert_settled(&channel);
}

pub async fn r4_do_not_cancels_the_retry_of_another_attempts_failure<R: Runtime>(runtime: R) {
    let (closing, unused) = (TestServer::start(|connection| drop(connection.request())), TestServer::stalling());
    let pushing = late(closing.requests.clone(), busy("grpc-retry-pushback-ms: -1"));
    let servers = [pushing.address, closing.address, unused.address];
    let backoff = Backoff::fixed(Duration::from_secs(10));
    let channel = list(&runtime, &servers).backup(DELAY).backoff(backoff).build().unwrap();
    let error = channel.call_with(get("/"), &in_order([&pushing, &closing, &unused])).await.unwrap_err();
    assert_eq!((error.kind(), error.report().attempts().len()), ("failed", 2), "{error}");
    assert!(error.report().elapsed() < Duration::from_secs(10), "the backoff is not waited for");
    assert_eq!(unused.requests.count(), 0);
    assert_settled(&channel);
}

pub async fn r4_retry_after_speaks_for_its_server<R: Runtime>(runtime: R) {
    for asked in ["retry-after: 1", "retry-after: 3600", "x-nothing: 1"] {
        let asks = TestServer::answering(move |_| busy(asked));
        let others = [TestServer::answering(|_| ok("another")), TestServer::stalling()];
        let servers = [asks.address, others[0].address, others[1].address];
        let channel = list(&runtime, &servers).retry_statuses([502, 503]).build().unwrap();
        let options = CallOptions { timeout: Some(WHOLE.into()), ..in_order([&asks, &others[0], &others[1]]) };
        let reply = channel.call_with(get("/"), &options).await.unwrap();
        assert_eq!((reply.body().bytes().unwrap(), reply.report().attempts().len()), (&"another".into(), 2));
        assert!(gap(reply.report(), 0) < Duration::from_secs(1), "at once: {:?}", reply.report());
        assert_settled(&channel);
    }
}

pub async fn r1_a_status_that_is_no_failure_is_not_retried<R: Runtime>(runtime: R) {
    let error = list(&runtime, &[refused()]).retry_statuses([503, 200]).build().unwrap_err();
    assert_eq!(error.to_string(), "retry status 200: must be in [400, 599]");
}

pub async fn r4_a_policy_of_ones_own_retries_when_the_server_says<R: Runtime>(runtime: R) {
    let policy = |result: Result<&http::Response<Body>, &HttpError>| -> Judgement {
        match result {
            Ok(reply) if reply.status() == 503 => failure(Verdict::Retry, reply),
            other => HttpRetryPolicy.judge(other),
        }
    };
    let there = TestServer::answering(|seen| if seen.number == 0 { busy("retry-after: 1") } else { ok("yes") });
    let channel = list(&runtime, &[there.address]).retry_policy(policy).build().unwrap();
    let reply = channel.call(get("/")).await.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "yes");
    assert!(gap(reply.report(), 0) >= Duration::from_secs(1), "{:?}", reply.report());
    assert_settled(&channel);
}

pub async fn x1_a_pushback_reaches_the_channel_above<R: Runtime>(runtime: R) {
    for (asked, sent_on) in [
        ("grpc-retry-pushback-ms: -1", 0),
        ("grpc-retry-pushback-ms: 3600000", 1),
        ("retry-after: 3600", 1),
        ("x-nothing: 1", 1),
    ] {
        let (asks, other) = (TestServer::answering(move |_| busy(asked)), TestServer::answering(|_| ok("another")));
        let mut builder = Selective::builder(runtime.clone()).timeout(WHOLE);
        for (name, there) in [("asks", &asks), ("other", &other)] {
            builder = builder.channel(name, list(&runtime, &[there.address]).build().unwrap());
        }
        let channel = builder.build().unwrap();
        // They take turns, so one of two calls goes to the other one first.
        let mut failed = 0;
        for _ in 0..2 {
            failed += usize::from(channel.call_with(&get("/"), &CallOptions::new()).await.is_err());
        }
        assert_eq!((failed, other.requests.count()), (1 - sent_on, 1 + sent_on), "{asked}");
        assert_eq!(asks.requests.count(), 1, "{asked}");
    }
}

//! Connections that have been idle, and break when they are used again (C3).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hedge_core::bounded::Bounded;
use hedge_net::http::{Body, RequestBody};
use hedge_net::{
    BreakerOptions, CallOptions, ErrorKind, FailMode, FailureOptions, Idempotency, Reply, Runtime, Timeout,
};

use super::bodies::Text;
use super::server::{TestServer, ok};
use super::signal::Signal;
use super::watched::Watched;
use super::{Error, HttpChannel, assert_settled, both, get, list, post, server};

pub type Called = Result<Reply<http::Response<Body>>, Error>;

/// Answers the first request of each of its first connections once as many have come, and resets them at their second; later
/// ones work.
fn resetting(first: usize) -> TestServer {
    let come = Signal::new();
    TestServer::start(move |connection| {
        let stale = connection.number < first;
        if stale {
            if connection.request().is_none() {
                return;
            }
            come.raise();
            come.block_until(first);
            connection.send(&ok("old"));
            connection.touched();
            return;
        }
        while connection.request().is_some() {
            connection.send(&ok("new"));
        }
    })
}

/// Makes calls until each server of the channel has `connections` idle ones.
pub async fn warm_up<R: Runtime>(channel: &HttpChannel<R>, connections: usize) {
    fn at_once<R: Runtime>(channel: &HttpChannel<R>, calls: usize) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            if calls > 0 {
                let (result, ()) = both(channel.call(get("/")), at_once(channel, calls - 1)).await;
                assert_eq!(result.unwrap().body().bytes().unwrap(), "old");
            }
        })
    }
    at_once(channel, connections * channel.servers().len()).await;
}

/// One attempt, and no failure.
pub fn new(result: Called) {
    let reply = result.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "new");
    assert_eq!(reply.report().attempts().len(), 1, "{:?}", reply.report());
}

pub async fn c3_a_request_that_an_idle_connection_lost_goes_once_more_on_a_new_one<R: Runtime>(runtime: R) {
    for mode in [FailMode::FailOver, FailMode::FailFast] {
        let there = resetting(4);
        let channel = list(&runtime, &[there.address]).fail_mode(mode).build().unwrap();
        warm_up(&channel, 4).await;
        new(channel.call(get("/")).await);
        assert_eq!((there.accepted.count(), channel.transport().resent()), (5, 1));
        there.closed.reached(3).await;
        new(channel.call(get("/")).await);
        assert_eq!((there.accepted.count(), channel.transport().resent()), (5, 1), "the new one is kept");
        assert_settled(&channel);
    }
}

pub async fn c3_three_servers_that_reset_what_is_idle_fail_no_call<R: Runtime>(runtime: R) {
    let there = [resetting(4), resetting(4), resetting(4)];
    let channel = list(&runtime, &there.each_ref().map(|there| there.address)).build().unwrap();
    warm_up(&channel, 4).await;
    for _ in 0..3 {
        new(channel.call(get("/")).await);
    }
    assert_eq!(channel.transport().resent(), 3);
    assert_settled(&channel);
}

pub async fn c3_what_is_not_idempotent_fails_as_broken<R: Runtime>(runtime: R) {
    let (there, other) = (resetting(3), resetting(3));
    let failures = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let channel = list(&runtime, &[there.address, other.address])
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(failures))
        .build()
        .unwrap();
    let only_there = CallOptions { servers: Some(vec![server(there.address)]), ..CallOptions::new() };
    warm_up(&channel, 3).await;
    let error = channel.call_with(post("/"), &only_there).await.unwrap_err();
    let codes: Vec<_> = error.report().attempts().iter().map(|attempt| attempt.code()).collect();
    assert_eq!(codes, [ErrorKind::Broken.into()], "{error}");
    assert!(channel.usable(&server(there.address)), "it says nothing of the server");
    assert_eq!(channel.transport().resent(), 0);
    there.closed.reached(2).await;
    new(channel.call_with(post("/"), &only_there).await);
}

pub async fn c3_a_call_may_say_that_it_is_idempotent<R: Runtime>(runtime: R) {
    let there = resetting(1);
    let channel = list(&runtime, &[there.address]).build().unwrap();
    warm_up(&channel, 1).await;
    let idempotent = CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() };
    new(channel.call_with(post("/"), &idempotent).await);
    assert_eq!(channel.transport().resent(), 1);
}

pub async fn c3_a_new_connection_that_breaks_is_a_failure<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        if connection.number == 0 {
            connection.request();
            connection.send(&ok("old"));
        }
        connection.touched();
    });
    let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
    warm_up(&channel, 1).await;
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!((error.kind(), error.report().attempts().len()), ("failed", 1), "{error}");
    assert_eq!((there.accepted.count(), channel.transport().resent()), (2, 1), "once, and no more");
    assert_settled(&channel);
}

/// What a connection brought before it broke is an answer that broke off.
pub async fn c3_a_byte_of_the_answer_makes_a_break_a_failure<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send(&ok("old"));
        connection.request();
        connection.send("H");
    });
    let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
    warm_up(&channel, 1).await;
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!((error.kind(), channel.transport().resent()), ("failed", 0), "{error}");
}

/// A server that had the connect timeout may have broken by what it was asked.
pub async fn c3_a_late_break_is_a_failure<R: Runtime>(runtime: R) {
    const CONNECT: Duration = Duration::from_millis(20);
    let gate = Signal::new();
    let open = gate.clone();
    let there = TestServer::start(move |connection| {
        connection.request();
        connection.send(&ok("old"));
        if connection.touched() {
            open.block_until(1);
        }
    });
    let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
    warm_up(&channel, 1).await;
    let options = CallOptions { connect_timeout: Some(Timeout::after(CONNECT)), ..CallOptions::new() };
    let later = async {
        runtime.sleep_until(runtime.now() + 2 * CONNECT).await;
        gate.raise();
    };
    let (result, ()) = both(channel.call_with(get("/"), &options), later).await;
    assert_eq!(result.unwrap_err().kind(), "failed");
    assert_eq!((there.accepted.count(), channel.transport().resent()), (1, 0));
}

pub async fn c3_a_timeout_on_an_idle_connection_closes_its_siblings<R: Runtime>(runtime: R) {
    let come = Signal::new();
    let there = TestServer::start(move |connection| {
        connection.request();
        come.raise();
        come.block_until(3);
        connection.send(&ok("old"));
        while connection.request().is_some() {}
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    warm_up(&channel, 3).await;
    let soon = CallOptions::new().with_timeout(Duration::from_millis(50));
    assert_eq!(channel.call_with(get("/"), &soon).await.unwrap_err().kind(), "deadline");
    there.closed.reached(3).await;
    assert_eq!(there.accepted.count(), 3);
    assert_settled(&channel);
}

pub async fn c3_a_server_that_closes_after_each_answer_fails_no_call<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send(&ok("new"));
        // The fault itself: it closes while the next request may be on its way.
        thread::sleep(Duration::from_micros(500));
        connection.hang_up();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for _ in 0..1_500 {
        new(channel.call(get("/")).await);
    }
    assert_settled(&channel);
}

/// Making a body may take as long as its maker likes: that is no time of the connection's.
pub async fn h1_a_body_is_made_once_its_connection_stands<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let there = TestServer::answering(|seen| ok(&seen.body));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let connects = runtime.connects(there.address);
    let connected = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connected);
    let body = RequestBody::factory(move || {
        seen.store(connects.count(), Ordering::SeqCst);
        Text(Some("text"), false)
    });
    let reply = channel.call(http::Request::put("/").body(body).unwrap()).await.unwrap();
    assert!(reply.body().bytes().unwrap().windows(4).any(|text| text == b"text"));
    assert_eq!(connected.load(Ordering::SeqCst), 1);
}

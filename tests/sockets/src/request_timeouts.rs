//! 408 (Request Timeout) on connections that have been idle: the server had given them up (C3).

use std::time::Duration;

use hedge_net::http::{Body, RequestBody};
use hedge_net::{BodyMode, CallOptions, FailMode, Idempotency, Reply, Runtime, Timeout};

use super::bodies::Text;
use super::server::{TestServer, ok};
use super::signal::Signal;
use super::stale::{new, warm_up};
use super::{HttpBuilder, assert_settled, both, get, list, post};

const TIMEOUT: &str = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlate";

/// Answers the first request of each of its first connections once as many have come, and 408 to their second; later ones
/// work.
fn timing_out(first: usize) -> TestServer {
    let come = Signal::new();
    TestServer::start(move |connection| {
        let idle = connection.number < first;
        if idle {
            if connection.request().is_none() {
                return;
            }
            come.raise();
            come.block_until(first);
            connection.send(&ok("old"));
            if connection.request().is_some() {
                connection.send(TIMEOUT);
                connection.hang_up();
            }
            return;
        }
        while let Some(seen) = connection.request() {
            connection.send(&ok(if seen.body.is_empty() { "new" } else { &seen.body }));
        }
    })
}

fn retrying<R: Runtime>(runtime: &R, there: &TestServer) -> HttpBuilder<R> {
    list(runtime, &[there.address]).retry_stale_408(true)
}

fn late(reply: &Reply<http::Response<Body>>) {
    assert_eq!((reply.status().as_u16(), &reply.body().bytes().unwrap()[..]), (408, &b"late"[..]));
}

pub async fn c3_a_408_on_a_reused_connection_goes_once_more_on_a_new_one<R: Runtime>(runtime: R) {
    for mode in [FailMode::FailOver, FailMode::FailFast] {
        let there = timing_out(4);
        let channel = retrying(&runtime, &there).fail_mode(mode).build().unwrap();
        warm_up(&channel, 4).await;
        new(channel.call(get("/")).await);
        assert_eq!((there.accepted.count(), channel.transport().resent()), (5, 1));
        // Those that have been idle for as long are closed.
        there.closed.reached(3).await;
        new(channel.call(get("/")).await);
        assert_eq!((there.accepted.count(), channel.transport().resent()), (5, 1), "the new one is kept");
        assert_settled(&channel);
    }
}

pub async fn c3_a_408_is_an_answer_by_default<R: Runtime>(runtime: R) {
    let there = timing_out(1);
    let channel = list(&runtime, &[there.address]).build().unwrap();
    warm_up(&channel, 1).await;
    late(&channel.call(get("/")).await.unwrap());
    assert_eq!((there.accepted.count(), channel.transport().resent()), (1, 0));
}

/// Of what may not be sent twice the caller sees the 408.
pub async fn c3_a_408_to_what_may_not_be_sent_twice_is_an_answer<R: Runtime>(runtime: R) {
    let once = || http::Request::put("/").body(RequestBody::once(Text(Some("text"), false))).unwrap();
    for request in [post("/"), once()] {
        let there = timing_out(1);
        let channel = retrying(&runtime, &there).build().unwrap();
        warm_up(&channel, 1).await;
        late(&channel.call(request).await.unwrap());
        assert_eq!((there.accepted.count(), channel.transport().resent()), (1, 0));
        assert_settled(&channel);
    }
}

/// A body is sent again from its start, and a streaming reply is that of the new connection.
pub async fn c3_what_may_be_sent_twice_is_sent_whole_after_a_408<R: Runtime>(runtime: R) {
    let made = || http::Request::put("/").body(RequestBody::factory(|| Text(Some("text"), false))).unwrap();
    let bytes = || http::Request::put("/").body("text".into()).unwrap();
    let idempotent = CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() };
    let streaming = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    for (request, options) in [(made(), CallOptions::new()), (post("/"), idempotent), (bytes(), streaming)] {
        let there = timing_out(1);
        let channel = retrying(&runtime, &there).build().unwrap();
        warm_up(&channel, 1).await;
        let reply = channel.call_with(request, &options).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.report().attempts().len()), (200, 1));
        let body = reply.into_inner().into_body().collect().await.unwrap();
        assert!(body.windows(4).any(|text| text == b"text"), "{body:?}");
        assert_eq!((there.accepted.count(), channel.transport().resent()), (2, 1));
        assert_settled(&channel);
    }
}

pub async fn c3_a_408_on_a_new_connection_is_an_answer<R: Runtime>(runtime: R) {
    // It keeps its connections, so that the second request goes on one that had been idle.
    let there = TestServer::answering(|_| TIMEOUT.replace("connection: close\r\n", ""));
    let channel = retrying(&runtime, &there).build().unwrap();
    for (accepted, resent) in [(1, 0), (2, 1), (3, 2)] {
        let reply = channel.call(get("/")).await.unwrap();
        late(&reply);
        assert_eq!(reply.report().attempts().len(), 1);
        assert_eq!((there.accepted.count(), channel.transport().resent()), (accepted, resent), "once, and no more");
    }
    assert_settled(&channel);
}

/// A server that had the connect timeout may have waited for the rest of what it was sent.
pub async fn c3_a_late_408_is_an_answer<R: Runtime>(runtime: R) {
    const CONNECT: Duration = Duration::from_millis(20);
    let gate = Signal::new();
    let open = gate.clone();
    let there = TestServer::start(move |connection| {
        connection.request();
        connection.send(&ok("old"));
        if connection.request().is_some() {
            open.block_until(1);
            connection.send(TIMEOUT);
        }
    });
    let channel = retrying(&runtime, &there).build().unwrap();
    warm_up(&channel, 1).await;
    let options = CallOptions { connect_timeout: Some(Timeout::after(CONNECT)), ..CallOptions::new() };
    let later = async {
        runtime.sleep_until(runtime.now() + 2 * CONNECT).await;
        gate.raise();
    };
    let (result, ()) = both(channel.call_with(get("/"), &options), later).await;
    late(&result.unwrap());
    assert_eq!((there.accepted.count(), channel.transport().resent()), (1, 0));
}

/// One that came before a byte of the request had left says nothing of it: the request never left, whatever it is.
pub async fn c3_a_408_before_the_request_closes_the_connection<R: Runtime>(runtime: R) {
    for retry in [false, true] {
        let there = TestServer::start(|connection| {
            if connection.number == 0 {
                connection.request();
                connection.send(&ok("old"));
                connection.send(TIMEOUT);
                return connection.until_closed();
            }
            while connection.request().is_some() {
                connection.send(&ok("new"));
            }
        });
        let channel = list(&runtime, &[there.address]).retry_stale_408(retry).build().unwrap();
        warm_up(&channel, 1).await;
        there.closed.reached(1).await;
        new(channel.call(post("/")).await);
        assert_eq!((there.accepted.count(), channel.transport().resent()), (2, 0));
    }
}

/// Where the thread that runs the connection stands still, it is read once the request has left; on several threads it may
/// be read before.
pub async fn c3_a_408_that_lies_in_the_socket_fails_no_call<R: Runtime>(runtime: R) {
    let (done, written) = (Signal::new(), Signal::new());
    let (is_done, has_written) = (done.clone(), written.clone());
    let there = TestServer::start(move |connection| {
        connection.request();
        connection.send(&ok("new"));
        is_done.block_until(connection.number + 1);
        connection.send(TIMEOUT);
        connection.hang_up();
        has_written.raise();
    });
    let channel = retrying(&runtime, &there).build().unwrap();
    for calls in 1..=300 {
        new(channel.call(get("/")).await);
        done.raise();
        written.block_until(calls);
    }
    println!("{} of 299 requests had left", channel.transport().resent());
    assert_eq!(there.accepted.count(), 300);
    assert_settled(&channel);
}

//! Servers that never stop sending: others on the same thread have their turn, and deadlines hold.

use std::future::poll_fn;
use std::pin::Pin;

use hedge_net::http::HttpError;
use hedge_net::{BodyMode, CallOptions, Runtime};
use http_body::Body as _;

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{HttpChannel, assert_settled, get, list};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Says `first`, and then `again` without end.
fn endless(first: &'static str, again: &'static str) -> TestServer {
    TestServer::start(move |connection| {
        connection.request();
        connection.send(first);
        let much = again.repeat(64 * 1024 / again.len());
        while connection.send(&much) {}
    })
}

/// What is beyond every limit ends as an error at once, whatever the deadline.
pub async fn p1_what_has_no_end_is_an_error<R: Runtime>(runtime: R) {
    for (first, again) in [
        ("", "HTTP/1.1 100 \r\n\r\n"),
        ("", "\r\n"),
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        ("HTTP/1.1 200 OK\r\na: ", "b"),
        (CHUNKED, "0"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1", " "),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "x"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "a: b\r\n"),
    ] {
        let there = endless(first, again);
        let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
        let error = channel.call(get("/")).await.unwrap_err();
        assert!(matches!(error.last(), Some(Err(HttpError::Protocol(_)))), "{first:?}, {again:?}: {error}");
        there.closed.reached(1).await;
        assert_settled(&channel);
    }
}

/// Four bodies that never end are read on this thread, while another server is called.
pub async fn l2_endless_bodies_leave_room_for_others<R: Runtime>(runtime: R) {
    for (first, again) in [("HTTP/1.1 200 OK\r\n\r\n", "x"), (CHUNKED, "1\r\nx\r\n"), (CHUNKED, "5\r\nhello\r\n")] {
        let (greedy, healthy) = (endless(first, again), TestServer::answering(|_| ok("")));
        let channel = list(&runtime, &[greedy.address]).max_retry(0).build().unwrap();
        let other = list(&runtime, &[healthy.address]).build().unwrap();
        let (enough, over) = (Signal::new(), Signal::new());
        for _ in 0..4 {
            let (channel, enough, over) = (channel.clone(), enough.clone(), over.clone());
            runtime.spawn(async move {
                read_until(&channel, &enough).await;
                over.raise();
            });
        }
        greedy.requests.reached(4).await;
        for _ in 0..15 {
            other.call(get("/")).await.unwrap();
        }
        assert_eq!(over.count(), 0, "{again:?} has no end");
        enough.raise();
        over.reached(4).await;
        assert_settled(&channel);
    }
}

async fn read_until<R: Runtime>(channel: &HttpChannel<R>, enough: &Signal) {
    let options = CallOptions { body: BodyMode::Streaming, ..CallOptions::new() };
    let mut body = channel.call_with(get("/"), &options).await.unwrap().into_inner().into_body();
    while enough.count() == 0 {
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
    }
}

//! Bodies: sent, buffered and streaming.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hedge_net::http::{BodyError, BoxError, HttpError, RequestBody};
use hedge_net::{BodyMode, CallOptions, ErrorKind, Idempotency, Runtime};
use http_body::{Body as _, Frame};

use super::server::{TestServer, ok, status};
use super::signal::Signal;
use super::{assert_settled, drop_when, get, list, refused, server};

/// A body of one piece of text, or one that never comes.
pub struct Text(pub(crate) Option<&'static str>, pub(crate) bool);

impl http_body::Body for Text {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.0.take() {
            Some(text) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
            None if self.1 => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn once() -> RequestBody {
    RequestBody::once(Text(Some("once"), false))
}

fn put(body: RequestBody) -> http::Request<RequestBody> {
    http::Request::put("/").body(body).unwrap()
}

fn streaming() -> CallOptions {
    CallOptions { body: BodyMode::Streaming, ..CallOptions::new() }
}

pub async fn t1_a_body_that_breaks_off_is_retried<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        while let Some(seen) = connection.request() {
            if seen.number == 0 {
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
                return;
            }
            connection.send(&ok("whole"));
        }
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let reply = channel.call(get("/")).await.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "whole");
    assert_eq!(reply.report().attempts()[0].code(), ErrorKind::Broken.into());
    assert_settled(&channel);
}

pub async fn t1_a_body_over_the_limit_says_so<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| {
        let length = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345".to_owned();
        let chunked =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n".to_owned();
        if seen.number % 2 == 0 { length } else { chunked }
    });
    let channel = list(&runtime, &[there.address]).max_body(4).build().unwrap();
    for _ in 0..2 {
        let error = channel.call(get("/")).await.unwrap_err();
        assert!(matches!(error.last(), Some(Err(HttpError::TooLarge { limit: 4 }))), "{error}");
        assert!(error.to_string().contains("limit of 4 bytes"), "{error}");
        assert_eq!(error.report().attempts().len(), 1);
        assert_settled(&channel);
    }
    let exact = list(&runtime, &[there.address]).max_body(5).build().unwrap();
    for _ in 0..2 {
        assert_eq!(exact.call(get("/")).await.unwrap().body().bytes().unwrap(), "12345");
    }
}

pub async fn chunks_and_trailers_are_kept<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
        format!("{head}3\r\nabc\r\n3\r\ndef\r\n0\r\nx-sum: 6\r\n\r\n")
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let mut body = channel.call(get("/")).await.unwrap().into_inner().into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    let mut next = async || poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.map(Result::unwrap);
    assert_eq!(next().await.unwrap().into_data().unwrap(), "abcdef");
    assert_eq!(next().await.unwrap().into_trailers().unwrap()["x-sum"], "6");
    assert!(next().await.is_none());
    assert!(body.is_end_stream());
}

/// Chunks cost by their bytes: those of one byte, each of which hyper would hand over on its own, come joined.
pub async fn p1_small_chunks_come_joined<R: Runtime>(runtime: R) {
    const LENGTH: usize = 1 << 20;
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        connection.send(&"1\r\nx\r\n".repeat(LENGTH));
        connection.send("0\r\n\r\n");
        connection.until_closed();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let mut body = channel.call_with(get("/"), &streaming()).await.unwrap().into_inner().into_body();
    let (mut frames, mut length) = (0, 0);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frames += 1;
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, LENGTH);
    assert!(frames < LENGTH / 32, "{frames} pieces");
}

pub async fn t3_a_factory_makes_a_body_for_each_attempt<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        while let Some(seen) = connection.request() {
            if seen.number == 0 {
                return;
            }
            connection.send(&ok(&seen.body));
        }
    });
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let body = RequestBody::factory(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Text(Some("again"), false)
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let reply = channel.call(put(body)).await.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "5\r\nagain\r\n0\r\n\r\n");
    assert_eq!(made.load(Ordering::Relaxed), 2);
    assert_settled(&channel);
}

pub async fn t3_a_body_that_is_sent_once_is_not_retried_once_it_left<R: Runtime>(runtime: R) {
    let closing = TestServer::start(|connection| drop(connection.request()));
    let channel = list(&runtime, &[closing.address]).build().unwrap();
    let error = channel.call(put(once())).await.unwrap_err();
    assert_eq!(error.report().attempts().len(), 1, "whatever the method");
    let lie = CallOptions { idempotency: Idempotency::Idempotent, ..CallOptions::new() };
    let error = channel.call_with(put(once()), &lie).await.unwrap_err();
    assert!(matches!(error.last(), Some(Err(HttpError::BodyUsed))), "{error}");
    assert_settled(&channel);
}

pub async fn r5_a_body_that_is_sent_once_survives_a_refused_connection<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.body));
    let channel = list(&runtime, &[refused(), there.address]).build().unwrap();
    let mut retried = 0;
    for _ in 0..4 {
        let reply = channel.call(put(once())).await.unwrap();
        assert_eq!(reply.body().bytes().unwrap(), "4\r\nonce\r\n0\r\n\r\n");
        retried += reply.report().retried_count();
    }
    assert!(retried > 0);
    assert_settled(&channel);
}

pub async fn an_early_answer_to_an_endless_request_closes_the_connection<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.head();
        connection.send(&status(413, "too much"));
        connection.until_closed();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let reply = channel.call(put(RequestBody::once(Text(Some("endless"), true)))).await.unwrap();
    assert_eq!(reply.status(), 413);
    there.closed.reached(1).await;
    assert_settled(&channel);
}

pub async fn t2_a_streaming_server_counts_as_at_work_until_the_body_ends<R: Runtime>(runtime: R) {
    let go_on = Signal::new();
    let gate = go_on.clone();
    let there = TestServer::start(move |connection| {
        while let Some(seen) = connection.request() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc");
            gate.block_until(seen.number + 1);
            connection.send("def");
        }
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for _ in 0..2 {
        let reply = channel.call_with(get("/"), &streaming()).await.unwrap();
        assert_eq!(reply.body().bytes(), None);
        assert_eq!(channel.in_flight(&server(there.address)), 1);
        go_on.raise();
        assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "abcdef");
        assert_settled(&channel);
    }
    let mut body = channel.call_with(get("/"), &streaming()).await.unwrap().into_inner().into_body();
    go_on.raise();
    while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
    assert_settled(&channel);
    assert!(body.is_end_stream());
    assert_eq!(there.accepted.count(), 1, "the connection went back each time");
}

pub async fn t2_a_streaming_body_that_is_dropped_closes_its_connection<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc");
        connection.until_closed();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let reply = channel.call_with(get("/"), &streaming()).await.unwrap();
    assert_eq!(channel.in_flight(&server(there.address)), 1);
    drop(reply);
    assert_settled(&channel);
    there.closed.reached(1).await;

    let mut body = channel.call_with(get("/"), &streaming()).await.unwrap().into_inner().into_body();
    poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
    drop_when(body.collect(), std::future::ready(())).await;
    assert_settled(&channel);
    there.closed.reached(2).await;
}

pub async fn t2_the_deadline_covers_a_body_that_stalls<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc");
        connection.until_closed();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let options = streaming().with_timeout(Duration::from_secs(2));
    let reply = channel.call_with(get("/"), &options).await.unwrap();
    let error = reply.into_inner().into_body().collect().await.unwrap_err();
    assert!(matches!(error, BodyError::Deadline), "{error}");
    there.closed.reached(1).await;
    assert_settled(&channel);
}

pub async fn t2_the_deadline_covers_a_body_that_never_stalls<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while connection.send("3\r\nabc\r\n") {}
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let options = streaming().with_timeout(Duration::from_secs(2));
    let mut body = channel.call_with(get("/"), &options).await.unwrap().into_inner().into_body();
    let error = loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it has no end"),
        }
    };
    assert!(matches!(error, BodyError::Deadline), "{error}");
    assert_settled(&channel);
    there.closed.reached(1).await;

    let mut late = channel.call_with(get("/"), &options).await.unwrap().into_inner().into_body();
    runtime.sleep_until(runtime.now() + Duration::from_millis(2_001)).await;
    let first = poll_fn(|cx| Pin::new(&mut late).poll_frame(cx)).await.unwrap();
    assert!(matches!(first, Err(BodyError::Deadline)), "data that is there is late all the same");
}

pub async fn t2_a_rejected_streaming_reply_can_be_read<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| status(500, "why"));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let error = channel.call_with(get("/"), &streaming()).await.unwrap_err();
    assert_settled(&channel);
    let response = error.into_last().unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap(), "why");
}

pub async fn t2_a_streaming_reply_without_a_body_owes_nothing<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for _ in 0..2 {
        let reply = channel.call_with(get("/"), &streaming()).await.unwrap();
        assert_settled(&channel);
        assert!(reply.body().is_end_stream());
    }
    assert_eq!(there.accepted.count(), 1);
}

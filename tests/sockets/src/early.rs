//! Answers that come before their requests have been sent whole (T5).

use std::time::Duration;

use bytes::Bytes;
use hedge_net::http::{BodyError, HttpError, RequestBody};
use hedge_net::{BodyMode, CallOptions, Runtime};

use super::promises::Pieces;
use super::server::{TestServer, status};
use super::signal::Signal;
use super::{assert_settled, list};

/// More than sockets take from a client whose server does not read.
const MUCH: usize = 32 << 20;

/// One in memory, one that is made in pieces, and one that never ends.
fn too_much() -> [RequestBody; 3] {
    static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let piece = std::str::from_utf8(&PIECE).unwrap();
    [
        RequestBody::Bytes(Bytes::from(vec![b'x'; MUCH])),
        RequestBody::factory(move || Pieces::repeated(piece, MUCH / piece.len(), Some(MUCH as u64))),
        RequestBody::factory(move || Pieces::repeated(piece, usize::MAX, None)),
    ]
}

fn put(body: RequestBody) -> http::Request<RequestBody> {
    http::Request::put("/").body(body).unwrap()
}

fn modes() -> [CallOptions; 2] {
    [BodyMode::Buffered, BodyMode::Streaming].map(|body| CallOptions { body, ..CallOptions::new() })
}

pub async fn t5_an_answer_comes_before_the_request_is_sent_whole<R: Runtime>(runtime: R) {
    let seen = Signal::new();
    let gate = seen.clone();
    let there = TestServer::start(move |connection| {
        let number = connection.number;
        connection.head();
        connection.send(&status(401, "no"));
        // Reads no more, and closes nothing, before the client has the answer.
        gate.block_until(number + 1);
        connection.until_closed();
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let mut connections = 0;
    for body in too_much() {
        for options in modes() {
            let reply = channel.call_with(put(body.clone()), &options).await.unwrap();
            assert_eq!(reply.status(), 401);
            assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "no");
            assert_settled(&channel);
            connections += 1;
            seen.raise();
            there.closed.reached(connections).await;
            assert_eq!(there.accepted.count(), connections, "each on a connection of its own");
        }
    }
}

pub async fn t5_a_reset_does_not_eat_the_answer<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.head();
        // What has come and is not read makes a reset of the close.
        connection.send(&status(401, "no"));
    });
    let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
    for body in too_much() {
        for options in modes() {
            for _ in 0..5 {
                let reply = channel.call_with(put(body.clone()), &options).await.unwrap();
                assert_eq!(reply.status(), 401);
                assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "no");
                assert_settled(&channel);
            }
        }
    }
}

pub async fn t5_a_reset_without_an_answer_is_told<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\ncontent-le");
    });
    let channel = list(&runtime, &[there.address]).max_retry(0).build().unwrap();
    for body in too_much() {
        let error = channel.call(put(body)).await.unwrap_err();
        assert!(matches!(error.last(), Some(Err(HttpError::Reset(_) | HttpError::Broken(_)))), "{error}");
        assert_settled(&channel);
    }
}

pub async fn t5_the_deadline_holds_while_a_request_is_stuck<R: Runtime>(runtime: R) {
    let over = Signal::new();
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nno"] {
        let gate = over.clone();
        let there = TestServer::start(move |connection| {
            connection.head();
            connection.send(part);
            gate.block_until(1);
        });
        let channel = list(&runtime, &[there.address]).build().unwrap();
        for body in too_much() {
            for options in modes() {
                let late = options.with_timeout(Duration::from_millis(300));
                match channel.call_with(put(body.clone()), &late).await {
                    Err(error) => assert_eq!(error.kind(), "deadline"),
                    Ok(reply) => {
                        let error = reply.into_inner().into_body().collect().await.unwrap_err();
                        assert!(matches!(error, BodyError::Deadline), "{error}");
                    }
                }
                assert_settled(&channel);
            }
        }
    }
    over.raise();
}

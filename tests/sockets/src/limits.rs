//! How large an answer's head may be, and what follows a body: each limit holds to the byte or the line, whatever its value.

use std::future::poll_fn;
use std::pin::Pin;

use hedge_core::bounded::Bounded;
use hedge_net::Runtime;
use hedge_net::http::{Body, DecodeError, Fault, HttpError, ProtocolError};
use http_body::Body as _;

use super::server::{TestServer, ok};
use super::{HttpBuilder, assert_settled, get, list};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A head of so many bytes, with a body of two.
fn head(bytes: usize) -> String {
    let [start, end] = ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\na: ", "\r\n\r\n"];
    [start, &"b".repeat(bytes - start.len() - end.len()), end, "hi"].concat()
}

/// The start of a head with so many header fields.
fn fields(count: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{}", "a: b\r\n".repeat(count - 1))
}

/// The end of a body in chunks with so many trailers; what ends them is left out.
fn trailers(count: usize) -> String {
    format!("{CHUNKED}2\r\nhi\r\n0\r\n{}", "t:\r\n".repeat(count))
}

/// Calls a server that gives this answer and goes on waiting, twice: an answer that is whole keeps the connection.
async fn answered<R: Runtime>(
    runtime: &R,
    answer: String,
    set: impl Fn(HttpBuilder<R>) -> HttpBuilder<R>,
) -> http::Response<Body> {
    let there = TestServer::answering(move |_| answer.clone());
    let channel = set(list(runtime, &[there.address]).max_retry(0)).build().unwrap();
    channel.call(get("/")).await.unwrap();
    let reply = channel.call(get("/")).await.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "hi");
    assert_eq!(there.accepted.count(), 1);
    assert_settled(&channel);
    reply.into_inner()
}

/// The same of an answer that is refused at once, although the server goes on waiting; the connection is closed.
async fn refused_as<R: Runtime>(
    runtime: &R,
    answer: String,
    set: impl Fn(HttpBuilder<R>) -> HttpBuilder<R>,
    expected: DecodeError,
    text: &str,
) {
    let there = TestServer::start(move |connection| {
        connection.request();
        connection.send(&answer);
        connection.until_closed();
    });
    let channel = set(list(runtime, &[there.address]).max_retry(0)).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    let Some(Err(HttpError::Protocol(ProtocolError::Wrong(Fault { error: seen, .. })))) = error.last() else {
        panic!("{error}");
    };
    assert_eq!(*seen, expected, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    there.closed.reached(1).await;
    assert_settled(&channel);
}

fn bounded<const MIN: u32, const MAX: u32>(limit: usize) -> Bounded<MIN, MAX> {
    Bounded::new(u32::try_from(limit).unwrap()).unwrap()
}

pub async fn p1_a_head_is_as_large_as_its_limit_and_no_larger<R: Runtime>(runtime: R) {
    // hyper's own default lies in between.
    for limit in [8 * 1024, 64 * 1024, 1024 * 1024] {
        let set = |builder: HttpBuilder<R>| if limit == 64 * 1024 { builder } else { builder.max_head(bounded(limit)) };
        let reply = answered(&runtime, head(limit), set).await;
        assert!(reply.headers()["a"].len() > limit - 60);
        let (error, text) = (DecodeError::HeadTooLarge { limit }, format!("head larger than {limit} bytes"));
        refused_as(&runtime, head(limit + 1), set, error, &text).await;
        refused_as(&runtime, head(limit + 2)[..limit].to_owned(), set, error, &text).await;
    }
}

pub async fn p1_a_head_has_as_many_fields_as_its_limit_and_no_more<R: Runtime>(runtime: R) {
    for limit in [1, 20, 100, 101, 1024] {
        let set = |builder: HttpBuilder<R>| if limit == 100 { builder } else { builder.max_headers(bounded(limit)) };
        let reply = answered(&runtime, format!("{}\r\nhi", fields(limit)), set).await;
        assert_eq!(reply.headers().len(), limit);
        let (error, text) = (DecodeError::TooManyHeaders { limit }, format!("more than {limit} header fields"));
        // The head has not ended.
        refused_as(&runtime, fields(limit + 1), set, error, &text).await;
    }
}

pub async fn p1_trailers_are_as_many_as_header_fields<R: Runtime>(runtime: R) {
    for limit in [1, 20, 100, 1024] {
        let set = |builder: HttpBuilder<R>| if limit == 100 { builder } else { builder.max_headers(bounded(limit)) };
        let reply = answered(&runtime, format!("{}\r\n", trailers(limit)), set).await;
        let mut body = reply.into_body();
        let mut next = async || poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.map(Result::unwrap);
        assert!(next().await.unwrap().is_data());
        assert_eq!(next().await.unwrap().into_trailers().unwrap().len(), limit);
        let (error, text) =
            (DecodeError::TooManyHeaders { limit }, format!("more than {limit} header fields or trailers"));
        refused_as(&runtime, trailers(limit + 1), set, error, &text).await;
    }
}

/// Chunk extensions, trailers and interim responses have one limit, which no option moves.
pub async fn p1_what_is_dropped_has_a_limit_of_its_own<R: Runtime>(runtime: R) {
    const LIMIT: usize = 16 * 1024;
    let set =
        |builder: HttpBuilder<R>| builder.max_head(Bounded::of::<1_048_576>()).max_headers(Bounded::of::<1_024>());
    let error = DecodeError::TooMuchDropped;
    let text = "more than 16384 bytes in interim responses, chunk extensions and trailers";
    let extensions = |bytes: usize| format!("{CHUNKED}2;{}\r\nhi\r\n0;x\r\n\r\n", "x".repeat(bytes));
    answered(&runtime, extensions(LIMIT - 3), set).await;
    refused_as(&runtime, extensions(LIMIT - 2), set, error, text).await;
    let trailer = |bytes: usize| format!("{CHUNKED}2\r\nhi\r\n0\r\nt:{}", "x".repeat(bytes));
    refused_as(&runtime, trailer(LIMIT - 1), set, error, text).await;
    let interim = format!("HTTP/1.1 103 x\r\na: {}\r\n\r\n", "b".repeat(LIMIT));
    refused_as(&runtime, interim, set, error, text).await;
}

/// What is read after a head of the greatest size is still one answer, and a large request and reply pass the least buffer.
pub async fn t1_the_least_limit_lets_large_bodies_through<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.body));
    let channel = list(&runtime, &[there.address]).max_head(Bounded::of::<8_192>()).build().unwrap();
    let text = "0123456789".repeat(100_000);
    for _ in 0..2 {
        let request = http::Request::put("/").body(text.clone().into()).unwrap();
        let reply = channel.call(request).await.unwrap();
        assert!(reply.body().bytes().unwrap() == text.as_bytes());
    }
    assert_eq!(there.accepted.count(), 1);
}

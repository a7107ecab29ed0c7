//! Requests that would be two to some server, or that end elsewhere than their bodies do.

use bytes::Bytes;
use hedge_net::Runtime;
use hedge_net::http::{BadRequest, HttpError, RequestBody};

use super::promises::Pieces;
use super::server::{TestServer, ok};
use super::{assert_settled, list};

type Headers = &'static [(&'static str, &'static str)];

/// A body of five bytes that says so, or does not say how long it is.
fn five(announced: bool) -> RequestBody {
    RequestBody::factory(move || Pieces::new(["he", "llo"], announced.then_some(5)))
}

fn request(method: &str, headers: &[(&str, &str)], body: RequestBody) -> http::Request<RequestBody> {
    let mut request = http::Request::builder().method(method).uri("/");
    for (name, value) in headers {
        request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request.body(body).unwrap()
}

pub async fn p1_headers_that_disagree_with_the_body_are_refused<R: Runtime>(runtime: R) {
    let bytes = || RequestBody::Bytes(Bytes::from_static(b"hello"));
    let empty = || RequestBody::Empty;
    let table: Vec<(Headers, RequestBody, &str)> = vec![
        // The next request on the connection would be taken for that body.
        (&[("content-length", "27")], empty(), "content-length"),
        (&[("content-length", "3")], bytes(), "content-length"),
        (&[("content-length", "6")], bytes(), "content-length"),
        (&[("content-length", "3")], five(true), "content-length"),
        (&[("content-length", "5"), ("content-length", "6")], bytes(), "content-length"),
        (&[("content-length", "5"), ("content-length", "6")], five(false), "content-length"),
        (&[("content-length", "5, 5")], bytes(), "content-length"),
        (&[("content-length", "+5")], bytes(), "content-length"),
        (&[("content-length", "-1")], empty(), "content-length"),
        (&[("content-length", "")], empty(), "content-length"),
        (&[("content-length", "18446744073709551621")], bytes(), "content-length"),
        (&[("content-length", "\u{e9}")], bytes(), "content-length"),
        (&[("transfer-encoding", "chunked")], empty(), "transfer-encoding"),
        (&[("transfer-encoding", "chunked")], bytes(), "transfer-encoding"),
        (&[("transfer-encoding", "chunked")], five(true), "transfer-encoding"),
        (&[("transfer-encoding", "gzip")], five(false), "transfer-encoding"),
        (&[("transfer-encoding", "gzip, chunked")], five(false), "transfer-encoding"),
        (&[("transfer-encoding", "chunked, chunked")], five(false), "transfer-encoding"),
        (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], five(false), "transfer-encoding"),
        (&[("transfer-encoding", "xchunked")], bytes(), "transfer-encoding"),
        (&[("transfer-encoding", "chunked"), ("content-length", "5")], five(false), "transfer-encoding"),
        // Another use of the connection.
        (&[("upgrade", "websocket")], empty(), "upgrade"),
        (&[("connection", "upgrade"), ("upgrade", "h2c")], empty(), "connection"),
        (&[("http2-settings", "AAMAAABk")], empty(), "http2-settings"),
        (&[("connection", "upgrade")], empty(), "connection"),
        (&[("connection", "keep-alive, x-auth")], empty(), "connection"),
        (&[("connection", "close"), ("connection", "\u{e9}")], empty(), "connection"),
        (&[("keep-alive", "timeout=600")], empty(), "keep-alive"),
        (&[("proxy-connection", "keep-alive")], empty(), "proxy-connection"),
        (&[("te", "gzip")], empty(), "te"),
        (&[("te", "trailers, deflate")], empty(), "te"),
        // Whose server is it?
        (&[("host", "one"), ("host", "two")], empty(), "host"),
        (&[("host", "one"), ("host", "one")], empty(), "host"),
        (&[("host", "one two")], empty(), "host"),
        (&[("host", "\u{e9}")], empty(), "host"),
    ];
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for (headers, body, name) in table {
        for method in ["GET", "PUT"] {
            let error = channel.call(request(method, headers, body.clone())).await.unwrap_err();
            let context = format!("{method} {headers:?} {body:?}: {error}");
            assert_eq!((error.kind(), error.report().attempts().len()), ("fatal", 1), "{context}");
            let Some(Err(HttpError::BadRequest(BadRequest::Header(refused)))) = error.last() else {
                panic!("{context}")
            };
            assert_eq!(*refused, name, "{context}");
            assert!(error.to_string().contains(&format!("bad request: header {name}: ")), "{context}");
            assert_settled(&channel);
        }
    }
    assert_eq!(there.requests.count(), 0);
    let once = RequestBody::once(Pieces::new(["hello"], Some(5)));
    let error = channel.call(request("PUT", &[("content-length", "4")], once.clone())).await.unwrap_err();
    assert!(matches!(error.last(), Some(Err(HttpError::BadRequest(_)))), "{error}");
    let sent = channel.call(request("PUT", &[("content-length", "5")], once)).await;
    assert!(sent.is_ok(), "a body that was refused is there still: {sent:?}");
}

pub async fn p1_headers_that_agree_are_sent_as_one_request<R: Runtime>(runtime: R) {
    let bytes = || RequestBody::Bytes(Bytes::from_static(b"hello"));
    const CHUNKS: &str = "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    let table: Vec<(Headers, RequestBody, &str, &str)> = vec![
        (&[], RequestBody::Empty, "", ""),
        (&[("content-length", "0")], RequestBody::Empty, "content-length: 0", ""),
        (&[("content-length", "5")], bytes(), "content-length: 5", "hello"),
        (&[("content-length", "0005"), ("content-length", "5")], bytes(), "content-length: 5", "hello"),
        (&[("content-length", "5")], five(true), "content-length: 5", "hello"),
        (&[("content-length", "5")], five(false), "content-length: 5", "hello"),
        (&[], five(true), "content-length: 5", "hello"),
        (&[], five(false), "transfer-encoding: chunked", CHUNKS),
        (&[("transfer-encoding", "Chunked")], five(false), "transfer-encoding: chunked", CHUNKS),
        (&[("connection", "keep-alive")], bytes(), "content-length: 5", "hello"),
        (&[("te", "trailers"), ("connection", "te")], bytes(), "content-length: 5", "hello"),
        (&[("host", "own:80"), ("expect", "100-continue")], bytes(), "content-length: 5", "hello"),
        (&[("connection", "close")], bytes(), "content-length: 5", "hello"),
    ];
    let there = TestServer::answering(|seen| {
        let framing = seen.head.lines().filter(|line| {
            line.to_ascii_lowercase().starts_with("content-length") || line.to_ascii_lowercase().starts_with("transfer")
        });
        ok(&format!("{}|{}", framing.collect::<Vec<_>>().join("|"), seen.body))
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for (headers, body, framing, sent) in table {
        for method in ["PUT", "GET", "DELETE"] {
            let reply = channel.call(request(method, headers, body.clone())).await.unwrap();
            let seen = std::str::from_utf8(reply.body().bytes().unwrap()).unwrap();
            assert_eq!(seen, format!("{framing}|{sent}"), "{method} {headers:?} {body:?}");
        }
    }
    assert_eq!(there.accepted.count(), 3, "only `connection: close` ended connections, before the last two");
}

pub async fn t3_a_body_of_unknown_length_goes_in_chunks_with_any_method<R: Runtime>(runtime: R) {
    // A server that speaks HTTP/1.0 is asked on a connection of its own: there chunks are unknown, and hyper would send
    // no body at all.
    let there = TestServer::answering(|seen| {
        let answer = format!("{}|{}", seen.head.lines().next().unwrap(), seen.body);
        format!("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: {}\r\n\r\n{answer}", answer.len())
    });
    let channel = list(&runtime, &[there.address]).build().unwrap();
    for method in ["GET", "PUT"] {
        for _ in 0..2 {
            let reply = channel.call(request(method, &[], five(false))).await.unwrap();
            let seen = std::str::from_utf8(reply.body().bytes().unwrap()).unwrap();
            assert_eq!(seen, format!("{method} / HTTP/1.1|2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"));
        }
    }
    assert_eq!(there.accepted.count(), 4);
    let known = channel.call(request("PUT", &[], five(true))).await.unwrap();
    assert_eq!(known.body().bytes().unwrap(), "PUT / HTTP/1.0|hello", "on a connection that was kept");
    assert_eq!(there.accepted.count(), 4);
}

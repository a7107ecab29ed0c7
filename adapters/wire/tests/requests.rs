//! Requests as bytes: a table of requests, requests that are refused, and a check that `httparse` reads a written
//! request back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use hedge_wire::http1::{EncodeError, Request};
use proptest::collection::vec;
use proptest::prelude::*;

fn encoded(request: &Request<'_>) -> Result<String, EncodeError> {
    let mut out = [0; 512];
    request.encode(&mut out).map(|length| String::from_utf8(out[..length].to_vec()).unwrap())
}

#[test]
fn requests_as_bytes() {
    let get = Request { host: "a", ..Request::default() };
    let table = [
        (get, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (Request { host: "", target: "*", method: "OPTIONS", ..get }, "OPTIONS * HTTP/1.1\r\nhost: \r\n\r\n"),
        (Request { target: "/a?b=%20#", host: "[::1]:80", ..get }, "GET /a?b=%20# HTTP/1.1\r\nhost: [::1]:80\r\n\r\n"),
        (Request { keep_alive: false, ..get }, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        (Request { body: b"x", ..get }, "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"),
        (Request { method: "POST", ..get }, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        (Request { method: "PUT", ..get }, "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        (Request { method: "PATCH", ..get }, "PATCH / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        (Request { method: "DELETE", ..get }, "DELETE / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            Request { headers: &[("Accept", b"text/*;\tq=1"), ("x", b"")], body: b"\r\n", keep_alive: false, ..get },
            "GET / HTTP/1.1\r\nhost: a\r\nAccept: text/*;\tq=1\r\nx: \r\nconnection: close\r\ncontent-length: 2\r\n\r\n\r\n",
        ),
    ];
    for (request, expected) in table {
        assert_eq!(encoded(&request).as_deref(), Ok(expected));
        let mut out = [0; 512];
        let length = request.encode_head(&mut out).unwrap();
        assert_eq!(out[..length], expected.as_bytes()[..expected.len() - request.body.len()]);
    }
}

#[test]
fn what_would_end_a_line_or_start_another_request_is_refused() {
    let get = Request { host: "a", ..Request::default() };
    for method in ["", "GET ", "G T", "GET\r\n", "G\0", "GÉT", "GET:", "CONNECT"] {
        assert_eq!(encoded(&Request { method, ..get }), Err(EncodeError::BadMethod), "{method:?}");
    }
    for target in ["", "/ ", "/\r\nx: y", "/\n", "/\t", "/é", "/\x7f", "/ HTTP/1.1\r\n\r\n"] {
        assert_eq!(encoded(&Request { target, ..get }), Err(EncodeError::BadTarget), "{target:?}");
    }
    for host in [" ", "a b", "a\r\nx: y", "a\n", "\0", "é"] {
        assert_eq!(encoded(&Request { host, ..get }), Err(EncodeError::BadHost), "{host:?}");
    }
    let bad: [(&str, &[u8]); 17] = [
        ("", b"x"),
        ("a ", b"x"),
        ("a:", b"x"),
        ("a\r\nb", b"x"),
        ("ä", b"x"),
        ("a", b"x\r\ny: z"),
        ("a", b"x\n"),
        ("a", b"\0"),
        ("a", b"\x7f"),
        ("Host", b"b"),
        ("CONTENT-LENGTH", b"0"),
        ("transfer-encoding", b"chunked"),
        ("Transfer-Encoding", b"identity"),
        ("connection", b"close"),
        ("Upgrade", b"websocket"),
        ("te", b"trailers"),
        ("Keep-Alive", b"timeout=5"),
    ];
    for header in bad {
        let headers = [("ok", &b"fine"[..]), header];
        assert_eq!(
            encoded(&Request { headers: &headers, ..get }),
            Err(EncodeError::BadHeader { index: 1 }),
            "{header:?}"
        );
    }
}

#[test]
fn only_the_response_to_head_has_no_body() {
    for (method, is_head) in [("HEAD", true), ("GET", false), ("head", false)] {
        assert_eq!(Request { method, ..Request::default() }.is_head(), is_head, "{method}");
    }
}

#[test]
fn lengths_are_written_in_decimal() {
    for length in [1, 9, 10, 99, 100, 12_345, 100_000] {
        let request = Request { body: &vec![b'x'; length], ..Request::default() };
        let mut out = [0; 128];
        let head = request.encode_head(&mut out).unwrap();
        let text = std::str::from_utf8(&out[..head]).unwrap();
        assert_eq!(text, format!("GET / HTTP/1.1\r\nhost: \r\ncontent-length: {length}\r\n\r\n"));
    }
}

#[test]
fn errors_say_what_it_was() {
    let text = EncodeError::TooLong { needs: 512 }.to_string();
    assert_eq!(text, "request: takes 512 bytes, more than its buffer has");
    assert_eq!(EncodeError::BadHeader { index: 2 }.to_string(), "request: header 2 has an invalid name or value");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        method in "[A-Z]{1,7}|\\PC{0,3}",
        target in "/[!-~]{0,20}|\\PC{0,5}",
        host in "[a-z.:0-9]{0,12}|\\PC{0,3}",
        headers in vec(("[a-zA-Z-]{1,10}|\\PC{0,3}", vec(prop_oneof![9 => 0x20..0x7f_u8, 1 => any::<u8>()], 0..10)), 0..4),
        body in vec(any::<u8>(), 0..40),
        keep_alive in any::<bool>(),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        common::assert_read_back(&Request { method: &method, target: &target, host: &host, headers: &headers, body: &body, keep_alive });
    }
}

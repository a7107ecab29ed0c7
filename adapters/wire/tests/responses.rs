//! How a receiver reads responses: examples of the RFCs, rules of RFC 9112 in tables, limits, and invalid responses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{assert_same, expected, receive, receive_whole};
use hedge_wire::http1::{DecodeError, MAX_DROPPED, MAX_HEADERS, Progress, Receiver};

/// Reads a response into 1 KiB. The result must be the same in one piece, byte by byte, and from the reference parser.
fn outcome(wire: &[u8], request_was_head: bool) -> common::Outcome {
    let whole = receive_whole(wire, 1024, request_was_head);
    assert_same(&whole, &receive(wire, 1024, request_was_head, || 1), wire, "byte by byte");
    assert_same(&whole, &expected(wire, 1024, request_was_head), wire, "expected");
    whole
}

#[test]
fn the_example_of_rfc_9110_3_9() {
    let wire = b"HTTP/1.1 200 OK\r\nDate: Mon, 27 Jul 2009 12:28:53 GMT\r\nServer: Apache\r\n\
        Last-Modified: Wed, 22 Jul 2009 19:15:56 GMT\r\nETag: \"34aa387-d-1568eb00\"\r\nAccept-Ranges: bytes\r\n\
        Content-Length: 51\r\nVary: Accept-Encoding\r\nContent-Type: text/plain\r\n\r\n\
        Hello World! My content includes a trailing CRLF.\r\n";
    let owned = outcome(wire, false).unwrap();
    assert_eq!((owned.status, owned.keep_alive, owned.length), (200, true, wire.len()));
    assert_eq!(owned.body, b"Hello World! My content includes a trailing CRLF.\r\n");
    assert_eq!(owned.headers.len(), 8);
    assert_eq!(owned.headers[3], ("ETag".to_owned(), b"\"34aa387-d-1568eb00\"".to_vec()));
}

#[test]
fn the_example_of_rfc_8297_2() {
    let wire = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\
        Link: </script.js>; rel=preload; as=script\r\n\r\nHTTP/1.1 200 OK\r\nDate: Fri, 26 May 2017 10:02:11 GMT\r\n\
        Content-Length: 4\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<!do";
    let owned = outcome(wire, false).unwrap();
    assert_eq!((owned.status, owned.headers.len(), &owned.body[..]), (200, 3, &b"<!do"[..]));
}

#[test]
fn the_trailers_of_rfc_9112_7_1_2_are_dropped() {
    let wire = b"HTTP/1.1 200 OK\r\nTrailer: Expires\r\nTransfer-Encoding: chunked\r\n\r\n\
        7;name=\"a;b\"\r\nMozilla\r\n11 ;x\r\nDeveloper Network\r\n0\r\nExpires: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n";
    let owned = outcome(wire, false).unwrap();
    assert_eq!((&owned.body[..], owned.headers.len()), (&b"MozillaDeveloper Network"[..], 2));
    assert!(owned.keep_alive);
}

/// RFC 9112, 6.3: how the head decides where the body ends. The same bytes follow each head.
#[test]
fn bodies_end_where_the_head_says() {
    const REST: &str = "5\r\nhello\r\n0\r\n\r\n";
    let table: &[(&str, bool, Result<&str, DecodeError>)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 3", false, Ok("5\r\n")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3, 3", false, Ok("5\r\n")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length:\t03 ", false, Ok("5\r\n")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", false, Ok("hello")),
        ("HTTP/1.1 500\r\nTransfer-Encoding:CHUNKED\t", false, Ok("hello")),
        ("HTTP/1.1 200 OK\r\nServer: x", false, Ok(REST)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3", false, Ok("5\r\n")),
        // There is no body, whatever the head says.
        ("HTTP/1.1 200 OK\r\nContent-Length: 3", true, Ok("")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9999999", true, Ok("")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true, Ok("")),
        ("HTTP/1.1 200 OK\r\nServer: x", true, Ok("")),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0", false, Ok("")),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 3", true, Ok("")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3", false, Ok("")),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked", false, Ok("")),
        // The length is in doubt.
        ("HTTP/1.1 204 No Content\r\nContent-Length: 3", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 103 Early Hints\r\nContent-Length: 3", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked", true, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", false, Err(DecodeError::BadFraming)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            false,
            Err(DecodeError::BadFraming),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked", false, Err(DecodeError::BadHead)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding:", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3, 4", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3,", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: +3", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: -3", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0x3", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3 3", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length:", false, Err(DecodeError::BadFraming)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 15", false, Ok(REST)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 16", false, Err(DecodeError::Truncated)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000", false, Err(DecodeError::TooLarge { capacity: 1024 })),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617",
            false,
            Err(DecodeError::TooLarge { capacity: 1024 }),
        ),
    ];
    for (head, request_was_head, expected) in table {
        let wire = format!("{head}\r\n\r\n{REST}");
        let body = outcome(wire.as_bytes(), *request_was_head).map(|owned| owned.body);
        assert_eq!(body, expected.map(|body| body.as_bytes().to_vec()), "{head}");
    }
}

#[test]
fn hostile_heads_are_errors() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
    let table: &[(&[u8], DecodeError)] = &[
        (b"", DecodeError::Closed),
        (b"H", DecodeError::Truncated),
        (b"HTTP/1.1 200 OK\r\n", DecodeError::Truncated),
        (b"HTTP/1.1 100 Continue\r\n\r\n", DecodeError::Truncated),
        // The error is known at once, although no empty line follows.
        (b"\0", DecodeError::BadHead),
        (b"SSH-2.0-OpenSSH_9.2", DecodeError::BadHead),
        (b"HTTP/2", DecodeError::BadHead),
        (b"http/1.1 200 OK\r\n\r\n", DecodeError::BadHead),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", DecodeError::BadHead),
        (b" HTTP/1.1 200 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.2 200 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.10 200 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.\n\n", DecodeError::BadHead),
        (b"HTTP/1.1\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 \r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1  200 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 20 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 2000 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 000 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 099 OK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n", DecodeError::Switched),
        (b"HTTP/1.1 200 OK\r\na\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\n: b\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\na : b\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\na: b\rcontent-length: 0\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\na: b\r\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\n\r\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\na\xff: b\r\n\r\n", DecodeError::BadHead),
        (b"HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello", DecodeError::BadHead),
        (many.as_bytes(), DecodeError::TooManyHeaders { limit: MAX_HEADERS }),
    ];
    for (wire, error) in table {
        assert_eq!(outcome(wire, false), Err(*error), "{}", wire.escape_ascii());
    }
}

#[test]
fn hostile_chunks_are_errors() {
    let table: &[(&str, DecodeError)] = &[
        ("", DecodeError::Truncated),
        ("5\r\nhello\r\n", DecodeError::Truncated),
        ("5\r\nhello\r\n0\r\n", DecodeError::Truncated),
        ("5\r\nhello\r\n0\r\na: b\r\n", DecodeError::Truncated),
        ("\r\n", DecodeError::BadChunk),
        (" 5\r\nhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        (";a\r\n", DecodeError::BadChunk),
        ("+5\r\n", DecodeError::BadChunk),
        ("-1\r\n", DecodeError::BadChunk),
        ("0x5\r\n", DecodeError::BadChunk),
        ("5_0\r\n", DecodeError::BadChunk),
        ("5g\r\n", DecodeError::BadChunk),
        ("5 5\r\n", DecodeError::BadChunk),
        ("5\nhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("5\rhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("5\r\nhello\n0\r\n\r\n", DecodeError::BadChunk),
        ("5\r\nhello0\r\n\r\n", DecodeError::BadChunk),
        ("5\r\nhello, world\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("5;a=\"\nb\"\r\nhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("5;\0\r\nhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("0\r\na: b\nc: d\r\n\r\n", DecodeError::BadChunk),
        ("0\r\n\n", DecodeError::BadChunk),
        ("0\r\n\r\r", DecodeError::BadChunk),
        ("00000000000000000\r\n\r\n", DecodeError::BadChunk),
        // A size that wraps in 64 bits, and sizes that nearly do.
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", DecodeError::BadChunk),
        ("ffffffffffffffff\r\n", DecodeError::TooLarge { capacity: 1024 }),
        ("100000005\r\nhello\r\n0\r\n\r\n", DecodeError::TooLarge { capacity: 1024 }),
        ("5\r\nhello\r\nfffffffffffffffb\r\n", DecodeError::TooLarge { capacity: 1024 }),
    ];
    for (body, error) in table {
        let wire = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        assert_eq!(outcome(wire.as_bytes(), false), Err(*error), "{}", body.escape_debug());
    }
}

#[test]
fn lines_of_a_head_may_end_in_a_bare_lf() {
    for wire in ["HTTP/1.1 200 OK\ncontent-length: 2\na:\n\nhi", "HTTP/1.1 200\ncontent-length: 2\r\na: \t \n\r\nhi"] {
        let owned = outcome(wire.as_bytes(), false).unwrap();
        assert_eq!((&owned.body[..], &owned.headers[1]), (&b"hi"[..], &("a".to_owned(), vec![])));
    }
}

#[test]
fn a_connection_is_kept_if_version_and_headers_say_so() {
    let table = [
        ("HTTP/1.1 200 OK", "", true),
        ("HTTP/1.1 200 OK", "Connection: close", false),
        ("HTTP/1.1 200 OK", "connection: CLOSE", false),
        ("HTTP/1.1 200 OK", "connection: x,\tclose , y", false),
        ("HTTP/1.1 200 OK", "connection: x\r\nconnection: close", false),
        ("HTTP/1.1 200 OK", "connection: keep-alive, close", false),
        ("HTTP/1.1 200 OK", "connection: closed", true),
        ("HTTP/1.0 200 OK", "", false),
        ("HTTP/1.0 200 OK", "connection: Keep-Alive", true),
        ("HTTP/1.0 200 OK", "connection: keep-alive, close", false),
        // A body without a length ends with the connection.
        ("HTTP/1.1 200 OK", "none", false),
        ("HTTP/1.1 204 No Content", "", true),
        ("HTTP/1.1 304 Not Modified", "", true),
        // The headers of a 304 describe another response, but a server may still send a body.
        ("HTTP/1.1 304 Not Modified", "content-length: 5", false),
        ("HTTP/1.1 304 Not Modified", "transfer-encoding: chunked", false),
    ];
    for (status_line, header, kept) in table {
        let length = if header == "none" || status_line.contains(" 304 ") { "" } else { "content-length: 0\r\n" };
        let header = if header.contains(':') { format!("{header}\r\n") } else { String::new() };
        let wire = format!("{status_line}\r\n{header}{length}\r\n");
        assert_eq!(outcome(wire.as_bytes(), false).unwrap().keep_alive, kept, "{wire}");
    }
}

#[test]
fn bytes_after_a_response_are_counted_and_close() {
    for (wire, request_was_head) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", true),
    ] {
        for surplus in [0, 1, 7] {
            let mut buffer = [0; 128];
            let mut receiver = Receiver::new(&mut buffer, request_was_head);
            let piece = [wire.as_bytes(), &b"HTTP/1.1 200 OK"[..surplus]].concat();
            receiver.space()[..piece.len()].copy_from_slice(&piece);
            assert_eq!(receiver.received(piece.len()), Ok(Progress::Done));
            assert_eq!((receiver.surplus(), receiver.response().unwrap().keep_alive()), (surplus, surplus == 0));
        }
    }
}

/// The buffer must hold the head and the body, and one byte more if the body has no length.
#[test]
fn a_buffer_is_too_small_below_what_is_promised() {
    for (head, body, needs) in [
        ("content-length: 10\r\n\r\n", "0123456789", 10),
        ("content-length: 0\r\n\r\n", "", 0),
        (
            "transfer-encoding: chunked\r\n\r\n",
            "1;ext=1\r\n0\r\n9\r\n123456789\r\n0\r\nTrailer: long enough\r\n\r\n",
            11,
        ),
        ("transfer-encoding: chunked\r\n\r\n", "0\r\n\r\n", 1),
        ("server: x\r\n\r\n", "0123456789", 11),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{head}");
        let wire = format!("HTTP/1.1 100 Continue\r\n\r\n{head}{body}");
        let needs = head.len() + needs;
        for capacity in 0..needs + 2 {
            for piece in [1, 2, 3, 16, usize::MAX] {
                let outcome = receive(wire.as_bytes(), capacity, false, || piece);
                if capacity < needs {
                    assert_eq!(outcome, Err(DecodeError::TooLarge { capacity }), "{wire}");
                } else {
                    assert_eq!(outcome.unwrap().status, 200, "{wire}");
                }
            }
        }
    }
}

#[test]
fn what_is_dropped_has_an_end() {
    const INTERIM: &str = "HTTP/1.1 102 Processing\r\n\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const LAST: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let fits = MAX_DROPPED / INTERIM.len();
    let cases = [
        (format!("{}{LAST}", INTERIM.repeat(fits)), format!("{}{LAST}", INTERIM.repeat(fits + 1))),
        (
            format!("{CHUNKED}1;{}\r\n1\r\n0\r\n\r\n", "x".repeat(MAX_DROPPED - 1)),
            format!("{CHUNKED}1;{}\r\n1\r\n0\r\n\r\n", "x".repeat(MAX_DROPPED)),
        ),
        (
            format!("{CHUNKED}0{}\r\n\r\n", " ".repeat(MAX_DROPPED)),
            format!("{CHUNKED}0{}\r\n\r\n", " ".repeat(MAX_DROPPED + 1)),
        ),
        (
            format!("{CHUNKED}0\r\n{}\r\n", "a: b\r\n".repeat(MAX_DROPPED / 4)),
            format!("{CHUNKED}0\r\n{}c\r\n\r\n", "a: b\r\n".repeat(MAX_DROPPED / 4)),
        ),
    ];
    for (good, bad) in &cases {
        for capacity in [64, 100_000] {
            for piece in [1, 1000, usize::MAX] {
                let receive = |wire: &str| receive(wire.as_bytes(), capacity, false, || piece);
                receive(good).unwrap();
                assert_eq!(receive(bad), Err(DecodeError::TooMuchDropped));
            }
        }
    }
}

#[test]
fn as_many_headers_as_promised() {
    let wire = format!("HTTP/1.1 204 No Content\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS));
    assert_eq!(outcome(wire.as_bytes(), false).unwrap().headers.len(), MAX_HEADERS);
}

#[test]
fn headers_are_found_in_any_case_and_the_first_counts() {
    let wire = b"HTTP/1.1 200 a: b\r\nA: 1\r\nx-a:\t 2 \t\r\na: 3\r\nurl: http://x/\r\nlatin: caf\xe9\r\ncontent-length: 0\r\n\r\n";
    let mut buffer = [0; 256];
    let mut receiver = Receiver::new(&mut buffer, false);
    receiver.space()[..wire.len()].copy_from_slice(wire);
    assert_eq!(receiver.received(wire.len()), Ok(Progress::Done));
    let response = receiver.into_response().unwrap();
    for (name, value) in [("a", "1"), ("X-A", "2"), ("URL", "http://x/")] {
        assert_eq!(response.header(name), Some(value.as_bytes()), "{name}");
    }
    assert_eq!(response.header("Latin"), Some(&b"caf\xe9"[..]));
    assert_eq!((response.header("200 a"), response.header("")), (None, None));
    assert_eq!(response.layout().of(&wire[..10]).map(|response| response.status()), None);
    let names: Vec<_> = response.headers().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    assert_eq!(names, ["A", "x-a", "a", "url", "latin", "content-length"]);
}

#[test]
fn a_read_of_nothing_is_the_end_and_one_too_long_is_cut() {
    let mut buffer = [0; 64];
    assert_eq!(Receiver::new(&mut buffer, false).received(0), Err(DecodeError::Closed));

    let mut receiver = Receiver::new(&mut buffer, false);
    let wire = b"HTTP/1.1 200 OK\r\n\r\nhi";
    receiver.space()[..wire.len()].copy_from_slice(wire);
    assert_eq!(receiver.received(wire.len()), Ok(Progress::More));
    assert_eq!(receiver.received(0), Ok(Progress::Done));
    assert_eq!(receiver.response().unwrap().body(), b"hi");
    assert_eq!(format!("{receiver:?}"), "Receiver { capacity: 64, filled: 21, state: Done, .. }");

    let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let mut buffer = [0; 40];
    let mut receiver = Receiver::new(&mut buffer, false);
    receiver.space().copy_from_slice(wire);
    assert_eq!(receiver.received(usize::MAX), Ok(Progress::Done));
    assert_eq!(receiver.surplus(), 0);
}

#[test]
fn errors_say_what_it_was() {
    let text = DecodeError::TooLarge { capacity: 512 }.to_string();
    assert_eq!(text, "response: larger than its buffer of 512 bytes");
    let all = [
        DecodeError::Closed,
        DecodeError::Truncated,
        DecodeError::HeadTooLarge { limit: 8192 },
        DecodeError::TooManyHeaders { limit: 32 },
        DecodeError::TooMuchDropped,
        DecodeError::BadHead,
        DecodeError::BadFraming,
        DecodeError::BadChunk,
        DecodeError::Switched,
    ];
    let texts: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
    assert!(texts.iter().all(|text| text.starts_with("response: ")));
}

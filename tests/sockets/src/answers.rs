//! Answers that are odd, wrong or hostile: what a caller sees of each, and whether its connection lives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hedge_net::http::{DecodeError, HttpError, ProtocolError, RequestBody};
use hedge_net::{CallOptions, ErrorKind, Runtime};

use super::server::{Connection, TestServer, ok};
use super::{assert_settled, get, list};

/// What the server does after its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Waits,
    Closes,
}
use Then::{Closes, Waits};

/// What the caller sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sees {
    /// This body, and the connection lives.
    Kept(u16, &'static str),
    /// This body, and the connection is closed.
    Closed(u16, &'static str),
    /// A protocol error that says so.
    Wrong(DecodeError),
    /// A protocol error of hyper's.
    Malformed,
    /// The connection has broken.
    Broken,
    /// More than `max_body`.
    TooLarge,
}
use DecodeError::{BadChunk, BadFraming, BadHead, Switched, TooMuchDropped};
use Sees::{Broken, Closed, Kept, Malformed, Wrong};

const HEAD_TOO_LARGE: Sees = Wrong(DecodeError::HeadTooLarge { limit: 64 * 1024 });
const TOO_MANY_HEADERS: Sees = Wrong(DecodeError::TooManyHeaders { limit: 100 });
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const MAX_BODY: usize = 10_000;

type Row = (&'static str, String, Then, Sees);

/// A response without a body of its own, to which all these rows add the same one by length.
fn heads() -> Vec<Row> {
    let rows: &[(&str, Sees)] = &[
        ("HTTP/1.1 200 OK\r\ncontent-length: 2", Kept(200, "hi")),
        ("HTTP/1.1 200\r\ncontent-length: 2", Kept(200, "hi")),
        ("HTTP/1.1 200 \r\nContent-Length:2", Kept(200, "hi")),
        ("HTTP/1.1 404 caf\u{e9}\r\ncontent-length: 2", Kept(404, "hi")),
        ("HTTP/1.1 299 x\r\ncontent-length: \t2 \t", Kept(299, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx:", Kept(200, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: caf\u{e9}\tx", Kept(200, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2", Kept(200, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2", Kept(200, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close", Closed(200, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close", Closed(200, "hi")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive", Kept(200, "hi")),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2", Closed(200, "hi")),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive", Kept(200, "hi")),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, close", Closed(200, "hi")),
        // The length in doubt.
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 3", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2,", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: -2", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0x2", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2 2", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2.0", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length:", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: \"chunked\"", Wrong(BadFraming)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding:", Wrong(BadFraming)),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked", Wrong(BadFraming)),
        ("HTTP/1.1 204 x\r\ncontent-length: 2", Wrong(BadFraming)),
        ("HTTP/1.1 204 x\r\ntransfer-encoding: chunked", Wrong(BadFraming)),
        ("HTTP/1.1 103 x\r\ncontent-length: 2", Wrong(BadFraming)),
        ("HTTP/1.1 100 x\r\ntransfer-encoding: chunked", Wrong(BadFraming)),
        // A body that its head has not got.
        ("HTTP/1.1 204 x\r\ncontent-length: 0", Closed(204, "")),
        ("HTTP/1.1 204 x", Closed(204, "")),
        ("HTTP/1.1 304 x", Closed(304, "")),
        ("HTTP/1.1 304 x\r\ncontent-length: 2", Closed(304, "")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0", Closed(200, "")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1", Closed(200, "h")),
        // No protocol of ours.
        ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket", Wrong(Switched)),
        ("HTTP/1.1 101 Switching Protocols\r\ncontent-length: 2", Wrong(Switched)),
        ("HTTP/2.0 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.2 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/0.9 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("http/1.1 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("ICY 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("<html>hi</html>", Wrong(BadHead)),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        (" HTTP/1.1 200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1  200 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 20 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 2000 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 000 OK\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 O\0K\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1\r\ncontent-length: 2", Wrong(BadHead)),
        // Lines that end, or begin, where they should not.
        ("HTTP/1.1 200 OK\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\nx: y", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx: y\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\rx: y", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\rcontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx: y\r\n\tz\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\n x: y\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\ncontent-length : 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\ncontent-length\t: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\n: y\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx\0: y\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx: y\0\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx: \x0by\r\ncontent-length: 2", Wrong(BadHead)),
        ("HTTP/1.1 200 OK\r\nx\u{e9}: y\r\ncontent-length: 2", Wrong(BadHead)),
    ];
    rows.iter().map(|(head, sees)| ("GET", format!("{head}\r\n\r\nhi"), Waits, *sees)).collect()
}

fn bodies() -> Vec<Row> {
    let chunks: &[(&str, Sees)] = &[
        ("2\r\nhi\r\n0\r\n\r\n", Kept(200, "hi")),
        ("1\r\nh\r\n0000000000000001\r\ni\r\n00\r\n\r\n", Kept(200, "hi")),
        ("2 \t\r\nhi\r\n0\r\n\r\n", Kept(200, "hi")),
        ("2;a=b;c=\"d\"\r\nhi\r\n0;e\r\n\r\n", Kept(200, "hi")),
        ("2\r\nhi\r\n0\r\nx: y\r\nz:\r\n\r\n", Kept(200, "hi")),
        ("0\r\n\r\n", Kept(200, "")),
        ("2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", Closed(200, "hi")),
        // Sizes.
        ("00000000000000002\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("10000000000000002\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("ffffffffffffffff\r\nhi\r\n0\r\n\r\n", Wrong(DecodeError::TooLarge { capacity: usize::MAX })),
        ("0x2\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("+2\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("-2\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        (" 2\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("2 2\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("g\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        (";x\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("1\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("3\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        // Lines.
        ("2\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("2\rhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\n0\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi0\r\n\r\n", Wrong(BadChunk)),
        ("2;a\nb\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("2;a\0\r\nhi\r\n0\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\n\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\n\rx", Wrong(BadChunk)),
        // Trailers.
        ("2\r\nhi\r\n0\r\n: y\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\nx\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\nx : y\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\nx: y\r\n z\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\nx: y\nz: 1\r\n\r\n", Wrong(BadChunk)),
        ("2\r\nhi\r\n0\r\nx: \0\r\n\r\n", Wrong(BadChunk)),
    ];
    let mut rows: Vec<Row> =
        chunks.iter().map(|(body, sees)| ("GET", format!("{CHUNKED}{body}"), Waits, *sees)).collect();
    let length = |length: &str, body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    let early_hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    rows.extend([
        // What HEAD has none of, whatever is announced.
        ("HEAD", length("2", ""), Waits, Kept(200, "")),
        ("HEAD", CHUNKED.to_owned(), Waits, Kept(200, "")),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n".to_owned(), Waits, Kept(200, "")),
        ("HEAD", length("2", "hi"), Waits, Closed(200, "")),
        // Nothing follows.
        ("GET", "HTTP/1.1 204 x\r\n\r\n".to_owned(), Waits, Kept(204, "")),
        ("GET", "HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n".to_owned(), Waits, Kept(204, "")),
        ("GET", "HTTP/1.1 304 x\r\n\r\n".to_owned(), Waits, Kept(304, "")),
        ("GET", "HTTP/1.1 304 x\r\ncontent-length: 2\r\n\r\n".to_owned(), Waits, Closed(304, "")),
        ("GET", "HTTP/1.1 304 x\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), Waits, Closed(304, "")),
        // Interim responses.
        ("GET", format!("HTTP/1.1 100 Continue\r\n\r\n{early_hints}{}", length("2", "hi")), Waits, Kept(200, "hi")),
        ("GET", format!("HTTP/1.1 100 Continue\r\n\r\n{}", length("2", "hi")), Waits, Kept(200, "hi")),
        ("GET", format!("{early_hints}{}", length("2", "hi")), Waits, Kept(200, "hi")),
        ("GET", format!("{early_hints}HTTP/1.1 204 x\r\n\r\n"), Waits, Kept(204, "")),
        ("HEAD", format!("HTTP/1.1 102 x\r\n\r\n{early_hints}{}", length("2", "")), Waits, Kept(200, "")),
        ("GET", early_hints.to_owned(), Closes, Broken),
        ("GET", format!("HTTP/1.1 102\r\n\r\n{CHUNKED}2\r\nhi\r\n0\r\n\r\n"), Waits, Kept(200, "hi")),
        // A redirect is not followed.
        ("GET", "HTTP/1.1 302 x\r\nlocation: /next\r\ncontent-length: 2\r\n\r\nhi".to_owned(), Waits, Kept(302, "hi")),
        // The connection's end.
        ("GET", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi".to_owned(), Closes, Closed(200, "hi")),
        ("GET", String::new(), Closes, Broken),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-le".to_owned(), Closes, Broken),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nhi".to_owned(), Closes, Closed(200, "hi")),
        ("GET", "HTTP/1.0 200 OK\r\n\r\nhi".to_owned(), Closes, Closed(200, "hi")),
        ("GET", "HTTP/1.1 200 OK\r\n\r\n".to_owned(), Closes, Closed(200, "")),
        ("GET", length("3", "hi"), Closes, Broken),
        ("GET", length("2", "hi"), Closes, Closed(200, "hi")),
        ("GET", format!("{CHUNKED}2\r\nhi\r\n"), Closes, Broken),
        ("GET", format!("{CHUNKED}2\r\nhi\r\n0\r\n"), Closes, Broken),
        ("GET", format!("{CHUNKED}2\r\nh"), Closes, Broken),
        ("GET", format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n"), Closes, Closed(200, "hi")),
        // Limits.
        ("GET", format!("HTTP/1.1 204 x\r\n{}\r\n", "a: b\r\n".repeat(100)), Waits, Kept(204, "")),
        ("GET", format!("HTTP/1.1 204 x\r\n{}\r\n", "a: b\r\n".repeat(101)), Waits, TOO_MANY_HEADERS),
        ("GET", format!("HTTP/1.1 204 x\r\na: {}\r\n\r\n", "b".repeat(60_000)), Waits, Kept(204, "")),
        ("GET", format!("HTTP/1.1 204 x\r\na: {}\r\n\r\n", "b".repeat(70_000)), Waits, HEAD_TOO_LARGE),
        ("GET", format!("HTTP/1.1 204 x\r\na: {}", "b".repeat(70_000)), Waits, HEAD_TOO_LARGE),
        ("GET", format!("{}{}", early_hints.repeat(300), length("2", "hi")), Waits, Kept(200, "hi")),
        ("GET", early_hints.repeat(420), Waits, Wrong(TooMuchDropped)),
        ("GET", format!("{CHUNKED}2;{}\r\nhi\r\n0\r\n\r\n", "x".repeat(16_000)), Waits, Kept(200, "hi")),
        ("GET", format!("{CHUNKED}2;{}", "x".repeat(17_000)), Waits, Wrong(TooMuchDropped)),
        ("GET", format!("{CHUNKED}0\r\na: {}", "b".repeat(17_000)), Waits, Wrong(TooMuchDropped)),
        ("GET", format!("{CHUNKED}0\r\n{}\r\n", "a:\r\n".repeat(100)), Waits, Kept(200, "")),
        ("GET", format!("{CHUNKED}0\r\n{}\r\n", "a:\r\n".repeat(101)), Waits, TOO_MANY_HEADERS),
        ("GET", length("10001", ""), Waits, Sees::TooLarge),
        ("GET", length("9223372036854775807", ""), Waits, Sees::TooLarge),
        ("GET", length("18446744073709551614", ""), Waits, Malformed),
        ("GET", length("18446744073709551617", ""), Waits, Malformed),
        ("GET", format!("{CHUNKED}{}", format!("fa0\r\n{}\r\n", "x".repeat(4000)).repeat(3)), Waits, Sees::TooLarge),
    ]);
    rows
}

/// What the server is to say to the next `/case`, and how: in one piece, or in pieces of that size.
struct Script {
    wire: Vec<u8>,
    piece: usize,
    /// Where the last piece begins. It has the end of the answer and all that follows: if that came by itself, the client
    /// could have the connection in use for another request by then.
    last: usize,
    then: Then,
}

impl Script {
    fn new(wire: &[u8], piece: usize, then: Then, sees: Sees) -> Self {
        let whole = if let Closed(_, body) = sees { answer_length(wire, body) } else { wire.len() };
        let last = if piece < wire.len() { whole.saturating_sub(1) } else { 0 };
        Self { wire: wire.to_vec(), piece, last, then }
    }
}

/// The length of the answer of which a caller sees this body. More bytes may follow it.
fn answer_length(wire: &[u8], body: &str) -> usize {
    let end_of = |mark: &[u8]| {
        let at = wire.windows(mark.len()).position(|there| there == mark);
        at.map_or(wire.len(), |at| at + mark.len())
    };
    if wire.starts_with(CHUNKED.as_bytes()) { end_of(b"\r\n0\r\n\r\n") } else { end_of(b"\r\n\r\n") + body.len() }
}

fn serve(connection: &mut Connection, script: &Mutex<Option<Script>>, asked: &AtomicUsize) {
    while let Some(seen) = connection.request() {
        if !seen.head.contains(" /case ") {
            let number = connection.number.to_string();
            connection.send(&ok(&number));
            continue;
        }
        asked.store(connection.number, Ordering::SeqCst);
        let Script { wire, piece, last, then } = script.lock().unwrap().take().unwrap();
        let (first, last) = wire.split_at(last);
        // The client may have seen enough before the end.
        first.chunks(piece).chain([last]).all(|piece| connection.send_bytes(piece));
        if then == Closes {
            return;
        }
    }
}

/// P1: what contradicts itself closes its connection, and no request gets another's answer.
pub async fn p1_every_answer_is_one_answer_or_an_error<R: Runtime>(runtime: R) {
    let script = Arc::new(Mutex::new(None));
    let asked = Arc::new(AtomicUsize::new(0));
    let there = TestServer::start({
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        move |connection| serve(connection, &script, &asked)
    });
    for (method, wire, then, sees) in heads().into_iter().chain(bodies()) {
        // 0xe9 is no UTF-8.
        let bytes: Vec<u8> = wire.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
        for piece in [usize::MAX, if bytes.len() > 1000 { 777 } else { 1 }] {
            let name = format!("{method} {:.300}, {then:?}, in pieces of {piece}", bytes.escape_ascii().to_string());
            *script.lock().unwrap() = Some(Script::new(&bytes, piece, then, sees));
            let channel = list(&runtime, &[there.address]).max_retry(0).max_body(MAX_BODY).build().unwrap();
            let request = http::Request::builder().method(method).uri("/case").body(RequestBody::Empty).unwrap();
            let kept = match (channel.call(request).await, sees) {
                (Ok(reply), Kept(status, body) | Closed(status, body)) => {
                    assert_eq!(
                        (reply.status().as_u16(), &reply.body().bytes().unwrap()[..]),
                        (status, body.as_bytes()),
                        "{name}"
                    );
                    matches!(sees, Kept(..))
                }
                (Err(error), _) => {
                    assert_error(error.last().unwrap().as_ref().unwrap_err(), sees, &name);
                    false
                }
                (Ok(reply), _) => panic!("{name}: {reply:?}"),
            };
            assert_settled(&channel);
            // A connection that the server closes may still be taken for an open one.
            let patient = CallOptions { max_retry: Some(3), ..CallOptions::new() };
            let next = channel.call_with(get("/next"), &patient).await.unwrap();
            let number: usize = std::str::from_utf8(next.body().bytes().unwrap()).unwrap().parse().unwrap();
            assert_eq!(number == asked.load(Ordering::SeqCst), kept, "{name}");
        }
    }
}

fn assert_error(error: &HttpError, sees: Sees, name: &str) {
    use hedge_core::policy::AttemptError as _;

    let (seen, kind) = match error {
        HttpError::Protocol(ProtocolError::Wrong(fault)) => {
            assert!(error.to_string().contains(&format!("at byte {}", fault.at)), "{name}: {error}");
            (Wrong(fault.error), ErrorKind::Protocol)
        }
        HttpError::Protocol(_) => (Malformed, ErrorKind::Protocol),
        HttpError::TooLarge { limit: MAX_BODY } => (Sees::TooLarge, ErrorKind::TooLarge),
        HttpError::Broken(_) => (Broken, ErrorKind::Broken),
        _ => panic!("{name}: {error}"),
    };
    assert_eq!((seen, error.kind()), (sees, kind), "{name}: {error}");
}

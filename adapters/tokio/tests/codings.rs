//! Answers in content codings, over sockets (W4).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{EncodeV2, GzipEncoder};
use hedge_sockets::server::TestServer;
use hedge_tokio::http::{HttpError, ProtocolError, Request, RequestBody};
use hedge_tokio::{Builder, Channel, Tokio};
use http_body::Body as _;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Level::Fastest.into());
    let (mut from, mut encoded) = (PartialBuffer::new(text), Vec::new());
    let mut piece = vec![0; 64 * 1024];
    loop {
        let mut to = WriteBuffer::new_initialized(&mut piece);
        let is_over = from.unwritten().is_empty();
        let ended = is_over && encoder.finish(&mut to).unwrap();
        if !is_over {
            encoder.encode(&mut from, &mut to).unwrap();
        }
        encoded.extend_from_slice(to.written());
        if ended {
            return encoded;
        }
    }
}

/// A server that answers every request with this body, which it says is gzip. It keeps the heads of the requests.
fn server(body: Vec<u8>) -> (TestServer, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let server = TestServer::start(move |connection| {
        while let Some(head) = connection.head() {
            let is_head = head.starts_with("HEAD");
            seen.lock().unwrap().push(head.to_lowercase());
            let start = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
            if !connection.send(&start) || !is_head && !connection.send_bytes(&body) {
                return;
            }
        }
    });
    (server, heads)
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Tokio) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(hedge_sockets::within(Tokio::new(), test(Tokio::new())));
}

hedge_sockets::every_coding!(run);

fn builder(address: SocketAddr) -> Builder {
    hedge_tokio::builder(address.to_string()).timeout(Duration::from_secs(20)).max_retry(0)
}

#[tokio::test]
async fn w4_an_answer_is_decoded_and_the_connection_is_used_again() {
    let text = "a small page ".repeat(10_000);
    let (server, heads) = server(gzip(text.as_bytes()));
    let channel = builder(server.address).build().unwrap();
    for _ in 0..3 {
        let reply = channel.get("/").await.unwrap();
        assert!(reply.text().unwrap() == text);
        let reply = reply.into_inner();
        assert_eq!(reply.body().size_hint().exact(), Some(text.len() as u64));
        assert!(!reply.headers().contains_key("content-encoding") && !reply.headers().contains_key("content-length"));
    }
    assert_eq!(channel.transport().counters().opened, 1);
    assert!(heads.lock().unwrap().iter().all(|head| head.contains("accept-encoding: zstd, br, gzip, deflate\r\n")));
}

#[tokio::test]
async fn w4_a_streaming_answer_is_decoded_while_it_comes() {
    let text = "a small page ".repeat(10_000);
    let (server, _) = server(gzip(text.as_bytes()));
    let channel = builder(server.address).build().unwrap();
    let reply = channel.get("/").streaming().await.unwrap();
    assert!(reply.into_inner().into_body().collect().await.unwrap() == text);
}

#[tokio::test]
async fn w4_the_programs_own_choice_stays() {
    let encoded = gzip(b"a small page");
    let (server, heads) = server(encoded.clone());
    let channel = builder(server.address).build().unwrap();
    let reply = channel.get("/").header("accept-encoding", "gzip").await.unwrap();
    assert_eq!(reply.bytes().unwrap(), encoded);
    assert_eq!(reply.into_inner().headers()["content-encoding"], "gzip");
    assert!(heads.lock().unwrap()[0].contains("accept-encoding: gzip\r\n"));
    let chosen = builder(server.address).default_header("accept-encoding", "gzip").build().unwrap();
    let reply = chosen.get("/").await.unwrap();
    assert_eq!(reply.bytes().unwrap(), encoded, "so does that of the channel");
    assert_eq!(reply.into_inner().headers()["content-encoding"], "gzip");
    // An answer to HEAD has no body to decode, and says what that of GET would be.
    let reply = channel.head("/").await.unwrap();
    assert_eq!(reply.into_inner().headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn w4_a_body_that_expands_over_its_limit_is_an_error() {
    let (server, _) = server(gzip(&vec![0; 64 << 20]));
    let channel = builder(server.address).max_decoded_body(1 << 20).build().unwrap();
    fails(&channel, |error| assert!(matches!(error, HttpError::TooLarge { limit: 1_048_576 }), "{error}")).await;
    // The limit of the body as it is sent comes first if that is smaller.
    let channel = builder(server.address).max_body(1_000).build().unwrap();
    fails(&channel, |error| assert!(matches!(error, HttpError::TooLarge { limit: 1_000 }), "{error}")).await;
}

#[tokio::test]
async fn w4_a_body_that_is_not_what_it_says_is_a_protocol_error() {
    let whole = gzip("a small page ".repeat(1_000).as_bytes());
    for (body, expected) in [
        (b"<html>not encoded</html>".to_vec(), "protocol error: body is not valid gzip: "),
        (whole[..whole.len() / 2].to_vec(), "protocol error: body ends in the middle of its gzip data"),
    ] {
        let (server, _) = server(body);
        let check = |error: &HttpError| {
            assert!(matches!(error, HttpError::Protocol(ProtocolError::Coding(_))), "{error:?}");
            assert!(error.to_string().starts_with(expected), "{error}");
        };
        fails(&builder(server.address).build().unwrap(), check).await;
    }
}

/// The error of a call that fails, as `check` sees it.
async fn fails(channel: &Channel, check: impl FnOnce(&HttpError)) {
    let request = Request::get("/").body(RequestBody::Empty).unwrap();
    let error = channel.call(request).await.unwrap_err();
    match error.last() {
        Some(Err(error)) => check(error),
        _ => panic!("{error}"),
    }
}

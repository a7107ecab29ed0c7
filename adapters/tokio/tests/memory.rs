//! What a reply's body takes of memory while it is read, on the thread that does all of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use hedge_net::http::{HeadBytes, RequestBody};

const MAX_BODY: usize = 4 << 20;

/// A connection's own buffers, the request and the call: they do not grow with the body.
const OWN: usize = 1 << 20;

/// Serves the connections of one client: the answer is written again for each request.
fn serving(answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            // The client may go before the end.
            let _ = answer(&mut stream);
        }
    });
    address
}

/// Calls once, reads the reply, and drops it.
fn call(address: SocketAddr, timeout: Duration, expected: Option<usize>) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = hedge_tokio::builder(address.to_string()).max_body(MAX_BODY).timeout(timeout).max_retry(0);
    let channel = builder.without_health_checks().build().unwrap();
    let mut length = None;
    let info = measure(|| {
        let request = http::Request::get("/").body(RequestBody::Empty).unwrap();
        length = runtime.block_on(channel.call(request)).ok().map(|reply| reply.body().bytes().unwrap().len());
    });
    assert_eq!(length, expected);
    info
}

const PATIENCE: Duration = Duration::from_secs(120);

/// One piece after another, up to the limit exactly.
fn in_pieces(stream: &mut TcpStream, piece: usize, chunked: bool) -> std::io::Result<()> {
    let pieces = vec![b'x'; piece];
    if chunked {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    } else {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {MAX_BODY}\r\n\r\n")?;
    }
    let mut left = MAX_BODY;
    while left > 0 {
        let length = left.min(piece);
        let data = &pieces[..length];
        if chunked {
            stream.write_all(&[format!("{length:x}\r\n").as_bytes(), data, b"\r\n"].concat())?;
        } else {
            stream.write_all(data)?;
        }
        left -= length;
    }
    if chunked { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
}

#[test]
fn t1_a_body_takes_at_most_twice_its_limit() {
    for (piece, chunked) in [(100_000, false), (1_000, false), (100_000, true), (1_000, true), (50, true)] {
        let address = serving(move |stream| in_pieces(stream, piece, chunked));
        let info = call(address, PATIENCE, Some(MAX_BODY));
        let most = usize::try_from(info.bytes_max).unwrap();
        assert!(most <= 2 * MAX_BODY + OWN, "{most} bytes at once, in pieces of {piece}, chunked: {chunked}");
    }
}

#[test]
fn p1_nothing_is_allocated_by_a_length_that_was_only_announced() {
    let heads = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {MAX_BODY}\r\n\r\nhello"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{MAX_BODY:x}\r\nhello"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffff\r\nhello".to_owned(),
    ];
    for head in heads {
        let address = serving(move |stream| {
            stream.write_all(head.as_bytes())?;
            stream.read(&mut [0]).map(drop)
        });
        let info = call(address, Duration::from_millis(300), None);
        assert!(info.bytes_max < OWN as u64, "{info:?}");
    }
}

/// Of the memory that a piece came in, only what it takes is kept: a server may send few bytes at a time.
#[test]
fn t1_small_pieces_do_not_keep_the_buffers_they_came_in() {
    const PIECES: usize = 2_000;
    let address = serving(|stream| {
        stream.set_nodelay(true)?;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {PIECES}\r\n\r\n")?;
        (0..PIECES).try_for_each(|_| stream.write_all(b"x"))
    });
    let info = call(address, PATIENCE, Some(PIECES));
    assert!(info.bytes_max < OWN as u64, "{info:?}");
}

/// What a head may take of memory: some times its limit, and what a connection has anyway.
#[test]
fn p1_a_head_takes_memory_by_its_limit() {
    for bytes in [8_u32 << 10, 64 << 10, 1 << 20] {
        let limit = HeadBytes::new(bytes).unwrap();
        for length in [bytes as usize, 4 << 20] {
            let address = serving(move |stream| {
                let start = "HTTP/1.1 204 x\r\na: ";
                write!(stream, "{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let builder = hedge_tokio::builder(address.to_string()).max_head(limit).timeout(PATIENCE).max_retry(0);
            let channel = builder.without_health_checks().build().unwrap();
            let mut is_ok = false;
            let info = measure(|| {
                let request = http::Request::get("/").body(RequestBody::Empty).unwrap();
                is_ok = runtime.block_on(channel.call(request)).is_ok();
            });
            assert_eq!(is_ok, length == bytes as usize);
            println!("limit {limit}, head {length}: {} bytes", info.bytes_max);
            assert!(info.bytes_max <= 4 * u64::from(bytes) + (256 << 10), "limit {limit}, head {length}: {info:?}");
        }
    }
}

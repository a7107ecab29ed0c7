//! Servers that cost as little as may be: each request gets the same answer. Over HTTP/1.1 it must fit into one read.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Version;

/// The headers of an answer, as an application sends them.
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("server", "bench"),
    ("date", "Sun, 29 Nov 2026 12:00:00 GMT"),
    ("content-length", "256"),
];
/// How many bytes the body of an answer has.
pub(super) const BODY: usize = 256;

/// Serves on a thread of its own, as long as the program runs.
pub(super) fn start(version: Version) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        super::keep_to(1);
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                match version {
                    Version::Http1 => drop(tokio::spawn(serve_http1(stream))),
                    Version::Http2 => drop(tokio::spawn(serve_http2(stream))),
                }
            }
            #[allow(unreachable_code, reason = "it gives the block its type")]
            io::Result::Ok(())
        })
    });
    Ok(address)
}

async fn serve_http1(mut stream: TcpStream) {
    let headers: String = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let answer = [format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), &[b'x'; BODY]].concat();
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) && stream.write_all(&answer).await.is_ok() {}
}

async fn serve_http2(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        let mut head = Response::new(());
        for (name, value) in HEADERS {
            head.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        respond.send_response(head, false)?.send_data(Bytes::from_static(&[b'x'; BODY]), true)?;
    }
    Ok(())
}

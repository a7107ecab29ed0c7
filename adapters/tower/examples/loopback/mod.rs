//! An HTTP/1.1 server of a few lines, in this process: every other answer takes 200 ms.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// Starts the server, and returns its address. The server reads requests without a body.
pub(crate) async fn server() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let requests = Arc::new(AtomicU32::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            let requests = Arc::clone(&requests);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                    if line == "\r\n" {
                        if requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n").await.is_err() {
                            break;
                        }
                    }
                    line.clear();
                }
            });
        }
    });
    Ok(address)
}

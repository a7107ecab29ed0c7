//! Calls to servers on Unix sockets, such as two workers on this machine. One is slow, so a backup request goes to the
//! other one.
//! Run it: cargo run --release --example unix_socket
#![cfg(unix)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let slow = Worker::start("slow", Duration::from_millis(500))?;
    let quick = Worker::start("quick", Duration::from_millis(1))?;

    // In a program: "list://unix:/run/app/1.sock,unix:/run/app/2.sock". One server is "unix:/run/app.sock".
    let servers = format!("list://unix:{},unix:{}", slow.path.display(), quick.path.display());
    let channel = hedge_tokio::builder(servers)
        .load_balancer("rr")
        .timeout(Duration::from_secs(2))
        .backup(Duration::from_millis(20))
        .build()?;

    for call in 1..=4 {
        let reply = channel.get("/work").await?;
        let attempts = reply.report().attempts().len();
        println!("call {call}: {} from {}, {attempts} attempts", reply.text()?, reply.answered_by());
    }
    Ok(())
}

/// A server on a Unix socket. The file of the socket is removed when this is dropped.
struct Worker {
    path: PathBuf,
}

impl Worker {
    /// Answers every request with its name, after a time.
    fn start(name: &'static str, after: Duration) -> Result<Self, std::io::Error> {
        let path = std::env::temp_dir().join(format!("hedge-{}-{name}.sock", std::process::id()));
        let listener = UnixListener::bind(&path)?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        tokio::time::sleep(after).await;
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { path })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

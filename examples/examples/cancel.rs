//! Cancels a call from another thread: its server accepts connections and never answers.
//! Run it: cargo run --release --example cancel

use std::error::Error;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use hedge_tokio::CancelToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The kernel makes the connections of a listener that nobody accepts from.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let server = silent.local_addr()?.to_string();
    let channel = hedge_tokio::builder(server).timeout(Duration::from_secs(10)).build()?;

    let cancel = CancelToken::new();
    let call = channel.get("/").cancelled_by(cancel.clone());
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        cancel.cancel();
    });

    let begin = Instant::now();
    let ended = call.await;
    let after = begin.elapsed();
    canceller.join().map_err(|_| "the cancelling thread panicked")?;
    match ended {
        Ok(reply) => Err(format!("answered with {}", reply.status()).into()),
        Err(error) => {
            println!("{} after {} ms: {error}", error.kind(), after.as_millis());
            Ok(())
        }
    }
}

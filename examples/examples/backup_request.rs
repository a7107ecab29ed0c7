//! brpc's backup_request: servers that are slow on every even request, and a backup that does not wait for them.
//! Run it: cargo run --release --example backup_request

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hedge_examples::replicas::{self, Answer, Replica};
use hedge_tokio::Kind;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // One counter for both servers: request 0 sleeps, its backup is request 1 and does not.
    let requests = Arc::new(AtomicU64::new(0));
    let server = || {
        let requests = Arc::clone(&requests);
        Replica::start(move || {
            let even = requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            Answer::ok(if even { Duration::from_millis(20) } else { Duration::ZERO })
        })
    };
    let servers = [server()?, server()?];
    let channel = hedge_tokio::builder(replicas::servers(&servers))
        .load_balancer("rr")
        .backup(Duration::from_millis(2))
        .build()?;

    for index in 0..20 {
        let begin = Instant::now();
        let reply = channel.get("/").await?;
        let latency = begin.elapsed().as_secs_f64() * 1_000.0;
        let report = reply.report();
        let winner = report.winner().and_then(|winner| report.attempts().get(winner.index()));
        let by_backup = winner.is_some_and(|winner| winner.kind() == Kind::Backup);
        println!("call {index:>2}: {latency:>6.2} ms{}", if by_backup { ", by the backup" } else { "" });
    }
    Ok(())
}

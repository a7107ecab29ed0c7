//! What brpc advises against: two calls whose callbacks cancel each other, compared with one call that has a backup. Both
//! hide the slow requests. But two calls always send two requests. So the servers work almost twice as much, and the client
//! needs more than twice the memory. Run it: cargo run --release --example cancel_each_other

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hedge_examples::replicas::{self, Answer, Replica};
use hedge_smol::blocking::get;
use hedge_tokio::Channel;
use hedge_tokio::blocking::{OnHandle, Ways, ways};
use tokio::sync::oneshot;

const CALLS: u16 = 400;
/// One request in 20 is slow.
const ONE_IN: u64 = 20;
/// In microseconds.
const SLOW: u64 = 30_000;
const FAST: u64 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let (requests, worked) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let server = || {
        let (requests, worked) = (Arc::clone(&requests), Arc::clone(&worked));
        Replica::start(move || {
            let micros = if requests.fetch_add(1, Ordering::SeqCst) % ONE_IN == 1 { SLOW } else { FAST };
            worked.fetch_add(micros, Ordering::SeqCst);
            Answer::ok(Duration::from_micros(micros))
        })
    };
    let servers = [server()?, server()?];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();

    // One call over both servers, with a backup.
    let hedged = hedge_tokio::builder(replicas::servers(&servers)).load_balancer("rr");
    let hedged = hedged.backup(Duration::from_millis(3)).build()?;
    let alone = |server: &Replica| -> Result<_, Box<dyn Error>> {
        Ok(ways(hedge_tokio::builder(server.address().to_string()).build()?, runtime.handle().clone()))
    };
    let pair = [alone(&servers[0])?, alone(&servers[1])?];

    println!("                   requests  server ms  KB allocated   p50 ms   p99 ms    (of one call)");
    let row = |name: &str, call: &dyn Fn() -> Result<(), Box<dyn Error>>| {
        let before = (requests.load(Ordering::SeqCst), worked.load(Ordering::SeqCst));
        let mut took = Vec::new();
        let mut failed = 0;
        // The runtime has this thread only, so everything that the client allocates is counted.
        let memory = allocation_counter::measure(|| {
            for _ in 0..CALLS {
                let start = Instant::now();
                failed += u16::from(call().is_err());
                took.push(start.elapsed());
            }
        });
        took.sort_unstable();
        let each = |count: u64| count as f64 / f64::from(CALLS);
        let at = |percent: usize| took.get(took.len() * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1_000.0);
        println!(
            "{name:<20} {:>6.2} {:>10.2} {:>13.1} {:>8.2} {:>8.2}",
            each(requests.load(Ordering::SeqCst) - before.0),
            each(worked.load(Ordering::SeqCst) - before.1) / 1_000.0,
            each(memory.bytes_total) / 1_000.0,
            at(50),
            at(99),
        );
        if failed == 0 { Ok(()) } else { Err(format!("{failed} calls failed")) }
    };
    row("a backup", &|| Ok(runtime.block_on(async { hedged.get("/").await.map(drop) })?))?;
    row("cancel each other", &|| runtime.block_on(first_of(&pair)))?;
    Ok(())
}

/// Sends two calls. The callback of the first that succeeds cancels the other one.
async fn first_of(pair: &[Ways<Channel, OnHandle>; 2]) -> Result<(), Box<dyn Error>> {
    let calls = [pair[0].call(get("/")?), pair[1].call(get("/")?)];
    // A handle exists before its call starts, so each callback can have the handle of the other call.
    let others = [calls[1].handle(), calls[0].handle()];
    let (sender, first) = oneshot::channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    for ((call, other), sender) in calls.into_iter().zip(others).zip([Arc::clone(&sender), sender]) {
        call.callback_inline(move |result| {
            if result.is_ok()
                && let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                other.cancel();
                let _ = sender.send(());
            }
        });
    }
    Ok(first.await?)
}

//! What a blocking call costs more than an async one (W1). This prints its measurement and asserts nothing about time:
//! `cargo test --release -p hedge-smol --features blocking --test blocking_cost -- --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hedge_fleet::{CallOptions, Caller, Spawn};
use hedge_smol::blocking::{self, builder, get};
use hedge_sockets::server::{TestServer, ok};

const ROUNDS: usize = 21;
const CALLS: u32 = 200;

/// The usual async call on smol: `block_on` on one thread, and connections on the thread of smol's executor.
fn awaited(channel: &hedge_smol::Channel) -> Duration {
    smol::block_on(async {
        let begun = Instant::now();
        for _ in 0..CALLS {
            assert!(channel.call(get("/").unwrap()).await.is_ok());
        }
        begun.elapsed() / CALLS
    })
}

/// A call that is awaited by a task on the thread of its connections, so that no other thread is woken.
fn awaited_there(channel: &blocking::Channel) -> Duration {
    let (taken, takes) = mpsc::channel();
    let own = channel.clone();
    channel.caller().runtime().spawn(async move {
        let (request, options) = (get("/").unwrap(), CallOptions::new());
        let begun = Instant::now();
        for _ in 0..CALLS {
            assert!(Caller::call_with(own.caller(), &request, &options).await.is_ok());
        }
        taken.send(begun.elapsed() / CALLS).unwrap();
    });
    takes.recv().unwrap()
}

/// A call that a plain thread waits for.
fn waited(channel: &blocking::Channel) -> Duration {
    let begun = Instant::now();
    for _ in 0..CALLS {
        assert!(channel.call(get("/").unwrap()).wait().is_ok());
    }
    begun.elapsed() / CALLS
}

/// The wake of a thread that waits: half of a round trip between two threads.
fn wake() -> Duration {
    let (ping, pings) = mpsc::channel();
    let (pong, pongs) = mpsc::channel();
    let other = thread::spawn(move || pings.iter().for_each(|()| pong.send(()).unwrap()));
    let begun = Instant::now();
    for _ in 0..CALLS {
        ping.send(()).unwrap();
        pongs.recv().unwrap();
    }
    let taken = begun.elapsed() / CALLS / 2;
    drop(ping);
    other.join().unwrap();
    taken
}

#[test]
fn w1_a_blocking_call_costs_little_more_than_an_async_one() {
    let server = TestServer::answering(|_| ok("hello"));
    let timeout = Duration::from_secs(20);
    let plain = hedge_smol::builder(server.address.to_string()).timeout(timeout).build().unwrap();
    let channel = blocking::ways(builder(server.address.to_string()).timeout(timeout).build().unwrap());
    // They take turns, so that a busy machine slows all of them.
    let mut rounds: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(awaited(&plain));
        rounds[1].push(awaited_there(&channel));
        rounds[2].push(waited(&channel));
        rounds[3].push(wake());
    }
    let [awaited, there, waited, wake] = rounds.map(|mut round| {
        round.sort_unstable();
        round[ROUNDS / 2]
    });
    println!("medians of {ROUNDS} rounds: blocking {waited:?}, the wake of a thread {wake:?}");
    for (name, base) in [("async", awaited), ("async on the thread of its connections", there)] {
        let ratio = waited.as_secs_f64() / (base * 12 / 10 + wake).as_secs_f64();
        println!("{name} {base:?}: blocking / (1.2 x async + wake) = {ratio:.2}");
    }
}

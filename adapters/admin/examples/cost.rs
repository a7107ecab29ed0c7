//! What a watch, the samples and a recorder cost a call.
//!
//! `cargo run --release -p hedge-admin --example cost` prints nanoseconds a call, alone and on two threads that share
//! one channel. The first line is the call itself: one attempt that is answered at once.
#![allow(clippy::unwrap_used, reason = "an example fails by it")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hedge_admin::{Registry, Watch};
use hedge_fleet::Setup;

use world::Channel;

#[path = "../tests/pages/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

const CALLS: u32 = 20_000;
const ROUNDS: usize = 100;

fn main() {
    let registry = Registry::new();
    let with = |set: &dyn Fn(&mut Setup, Watch)| {
        let watch = registry.watch("cost").unwrap();
        Channel::new(&world::servers(["10.0.0.1:80", "10.0.0.2:80"]), |setup| set(setup, watch))
    };
    let by_end = |setup: &mut Setup, watch: Watch| setup.on_end = Some(Box::new(move |end| watch.on_end(end)));
    let plain = with(&|_, _| {});
    let ends = with(&by_end);
    let observed = with(&|setup, watch| setup.observers.add(Arc::new(watch)));
    let (recorder, _shown) = registry.recorder("my_func").unwrap();
    let call = |channel: &Channel| channel.call(black_box(&[(0, Ok(()))]));
    let cases: [(&str, u32, &(dyn Fn() + Sync)); 7] = [
        ("a call, not watched", 0, &|| call(&plain)),
        ("watched by on_end, samples off", 0, &|| call(&ends)),
        ("watched by on_end, 1 in 100 sampled", 100, &|| call(&ends)),
        ("watched by an observer, samples off", 0, &|| call(&observed)),
        ("watched by an observer, 1 in 100 sampled", 100, &|| call(&observed)),
        ("Instant::now", 0, &|| _ = black_box(Instant::now())),
        ("Recorder::record", 0, &|| recorder.record(black_box(Duration::from_millis(2)))),
    ];
    // The cases take turns, so that other programs on the machine disturb all of them equally.
    let mut best = [[f64::INFINITY; 2]; 7];
    for _ in 0..ROUNDS {
        for ((_, one_in, run), best) in cases.iter().zip(&mut best) {
            registry.samples().set_one_in(*one_in);
            for (threads, best) in (1..).zip(best) {
                *best = best.min(nanoseconds(threads, run));
            }
        }
    }
    println!("{:<44} {:>10} {:>12}", "nanoseconds a call", "one thread", "two threads");
    for ((what, ..), [one, two]) in cases.iter().zip(best) {
        println!("{what:<44} {one:>10.1} {two:>12.1}");
    }
}

/// Returns how long a run takes if this number of threads run at once.
fn nanoseconds(threads: usize, run: &(dyn Fn() + Sync)) -> f64 {
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..CALLS).for_each(|_| run()));
        }
    });
    started.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

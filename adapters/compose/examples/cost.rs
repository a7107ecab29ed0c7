//! What a call over two sub-channels costs, against the two calls of the core that it is made of.
//!
//! `cargo run --release -p hedge-compose --example cost` prints the ratio of the times. `… --example cost plain 1000` and
//! `… --example cost selective 1000` run so many calls of one kind, to count their instructions under callgrind.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant as Clock;

use hedge_compose::Selective;
use hedge_compose::hedge_core::drive::Timer;
use hedge_compose::hedge_core::outcome::Verdict;
use hedge_compose::hedge_core::time::Instant;
use hedge_compose::hedge_fleet::{CallOptions, Caller, Outcome, Report, Trace};

/// A clock that stands still, so that only calls are measured.
#[derive(Clone, Copy)]
struct Still;

impl Timer for Still {
    type Sleep = Ready<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Ready<()> {
        ready(())
    }
}

/// A server that answers at once.
#[derive(Clone, Copy)]
struct Server;

struct Answer(Trace);

impl Outcome for Answer {
    fn trace(&self) -> &Trace {
        &self.0
    }

    fn verdict(&self) -> Verdict {
        Verdict::Accept
    }

    fn never_left(&self) -> bool {
        false
    }

    fn all_down(&self) -> bool {
        false
    }
}

impl Caller<u32> for Server {
    type Reply = Answer;
    type Error = Answer;

    async fn call_with(&self, _: &u32, _: &CallOptions) -> Result<Answer, Answer> {
        Ok(Answer(Trace::nowhere(Report::new(Instant::ZERO))))
    }
}

/// A channel over two servers or sub-channels: one call of it is one call of the core, and one of a sub-channel.
fn channel<C: Caller<u32> + Clone + 'static>(sub: C) -> Option<Selective<C, Still>> {
    Selective::builder(Still).seed(1).channel("a", sub.clone()).channel("b", sub).build().ok()
}

fn call(channel: &impl Caller<u32>) -> bool {
    let (request, options) = (black_box(7), black_box(CallOptions::new()));
    let call = pin!(channel.call_with(&request, &options));
    matches!(call.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_)))
}

fn run(kind: &str, calls: u32) -> Option<bool> {
    let plain = channel(Server)?;
    let selective = channel(plain.clone())?;
    let all = match kind {
        "plain" => (0..calls).all(|_| call(&plain) && call(&plain)),
        "selective" => (0..calls).all(|_| call(&selective)),
        _ => return None,
    };
    Some(all)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, calls] = &args[..] {
        let all = calls.parse().ok().and_then(|calls| run(kind, calls));
        assert_eq!(all, Some(true), "usage: cost [plain | selective] CALLS");
        return;
    }
    let nanoseconds = |kind: &str| {
        let round = || {
            let begun = Clock::now();
            assert_eq!(run(kind, 20_000), Some(true));
            begun.elapsed().as_nanos() / 20_000
        };
        (0..50).map(|_| round()).min().unwrap_or_default()
    };
    let (plain, selective) = (nanoseconds("plain"), nanoseconds("selective"));
    println!("two calls: {plain} ns, one call over two sub-channels: {selective} ns");
    println!("ratio: {}.{:02}", selective / plain.max(1), selective * 100 / plain.max(1) % 100);
}

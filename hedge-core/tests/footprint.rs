//! What a plain call costs in memory: no allocation in core and driver, and the sizes that the docs state.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::{Future, pending, ready};
use std::pin::pin;
use std::task::{Context, Waker};

use allocation_counter::measure;
use hedge_core::balance::la::LocalityAware;
use hedge_core::balance::p2c::P2c;
use hedge_core::balance::{AnyBalancer, Balancer, Consistent, Fixed, RoundRobin, WeightedRandom, WeightedRoundRobin};
use hedge_core::call::{Action, Call, Input, Report};
use hedge_core::channel::{Channel, Record};
use hedge_core::cluster::Cluster;
use hedge_core::drive::{Driver, Timer, drive};
use hedge_core::health::{Breaker, CircuitBreaker, ConsecutiveFailures, Health, NoBreaker};
use hedge_core::limit::Limits;
use hedge_core::outcome::{ErrorKind, Verdict};
use hedge_core::policy::{AttemptError, BackupDelay, CallOptions, ChannelOptions, DefaultRetryPolicy};
use hedge_core::time::{Duration, Instant};

type Line = Channel<u32, RoundRobin>;

fn line() -> Line {
    let options = ChannelOptions { backup: BackupDelay::after(Duration::from_millis(2)), ..ChannelOptions::brpc() };
    let mut channel = Channel::new(options, RoundRobin::new(1), 1);
    for address in 0..8 {
        channel.insert(address, "").unwrap();
    }
    channel
}

/// A clock that moves a millisecond a look.
struct Ticking(std::cell::Cell<u64>);

impl Timer for Ticking {
    type Sleep = std::future::Ready<()>;

    fn now(&self) -> Instant {
        self.0.set(self.0.get() + 1);
        Instant::from_millis(self.0.get())
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        ready(())
    }
}

struct Never;

impl AttemptError for Never {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

#[test]
fn the_core_allocates_nothing_plain_hedged_or_retried() {
    let channel = line();
    let options = CallOptions::new();
    let counted = measure(|| {
        for verdict in [Verdict::Accept, Verdict::Retry, Verdict::Wait, Verdict::Fatal] {
            let mut call = channel.call(&options, Instant::ZERO).unwrap();
            let mut now = 0;
            loop {
                match call.poll(Instant::from_millis(now)) {
                    Action::Start(start) => {
                        call.handle(Instant::from_millis(now), Input::finished(start.attempt, verdict));
                    }
                    Action::Wait { until } => now = until.map_or(u64::MAX, |at| at.as_micros().div_ceil(1_000)),
                    Action::Abandon { .. } => {}
                    Action::Done(_) => break,
                }
            }
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn the_driver_allocates_nothing_on_a_ready_and_on_a_pending_transport() {
    let channel = line();
    let options = CallOptions::new();
    let mut cx = Context::from_waker(Waker::noop());
    let counted = measure(|| {
        let clock = Ticking(std::cell::Cell::new(0));
        let mut call = channel.call(&options, Instant::ZERO).unwrap();
        let driver = Driver::new(&clock, &DefaultRetryPolicy);
        let ready =
            pin!(async { drive(&mut call, [pin!(None), pin!(None)], driver, |_| ready(Ok::<_, Never>(1))).await });
        assert!(ready.poll(&mut cx).is_ready());
        let mut call = channel.call(&options, Instant::ZERO).unwrap();
        let driver = Driver::new(&clock, &DefaultRetryPolicy);
        {
            let slots = [pin!(None), pin!(None)];
            let mut slow = pin!(drive(&mut call, slots, driver, |_| pending::<Result<u32, Never>>()));
            assert!((0..10_000).any(|_| slow.as_mut().poll(&mut cx).is_ready()));
        }
        assert_eq!(call.report().backups(), 1);
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn sizes_are_what_the_docs_state() {
    fn size_of_future<F: Future>(_: &F) -> usize {
        size_of::<F>()
    }
    let channel = line();
    let options = CallOptions::new();
    let clock = Ticking(std::cell::Cell::new(0));
    let mut call = channel.call(&options, Instant::ZERO).unwrap();
    let driver = Driver::new(&clock, &DefaultRetryPolicy);
    let (first, second) = (pin!(None), pin!(None));
    let future = drive(&mut call, [first, second], driver, |_| ready(Ok::<_, Never>(1)));
    let sizes = [
        ("Call, 4 attempts, report included", size_of::<Call<'_, &Line>>(), 192),
        ("Report, 4 attempts", size_of::<Report>(), 104),
        ("the driver's future, 2 slots, attempts not included", size_of_future(&future), 96),
        (
            "a server slot with a 4-byte address and a &str tag",
            size_of::<[Cluster<u32, &str, 9>; 1]>() - size_of::<Cluster<u32, &str, 8>>(),
            56,
        ),
        ("a cluster of 8 such", size_of::<Cluster<u32, &str, 8>>(), 408),
        ("the safe limits", size_of::<Limits>(), 1_312),
        ("a channel over it, its limits included", size_of::<Line>(), 1_840),
    ];
    are_as_stated(&sizes);
}

/// What one server more takes in a cluster, with what a balancer and a breaker keep of it.
fn server<B: Balancer, K: Breaker>() -> usize {
    size_of::<Cluster<u32, &str, 9, Record<B::Stats, K>>>() - size_of::<Cluster<u32, &str, 8, Record<B::Stats, K>>>()
}

#[test]
fn servers_take_what_the_docs_state() {
    type Room = Fixed<8, 800>;
    are_as_stated(&[
        ("a server by rr, wrr, random, wr or a ring", server::<RoundRobin, NoBreaker>(), 56),
        ("a server by p2c", server::<P2c, NoBreaker>(), 80),
        ("a server by la", server::<LocalityAware<Room>, NoBreaker>(), 1_144),
        ("a server by a balancer that is chosen by name", server::<AnyBalancer<Room>, NoBreaker>(), 1_152),
        ("a server by rr, failures in a row counted", server::<RoundRobin, ConsecutiveFailures>(), 72),
        ("a server by rr, under a circuit breaker", server::<RoundRobin, CircuitBreaker>(), 88),
        ("rr", size_of::<RoundRobin>(), 4),
        ("wrr of 8", size_of::<WeightedRoundRobin<Room>>(), 72),
        ("wr of 8", size_of::<WeightedRandom<Room>>(), 160),
        ("la of 8", size_of::<LocalityAware<Room>>(), 168),
        ("p2c", size_of::<P2c>(), 40),
        ("a ring of 8, 100 points each", size_of::<Consistent<Room>>(), 6_456),
        ("failures in a row", size_of::<Health<ConsecutiveFailures>>(), 48),
        ("a circuit breaker", size_of::<Health<CircuitBreaker>>(), 96),
    ]);
}

fn are_as_stated(sizes: &[(&str, usize, usize)]) {
    for (what, bytes, stated) in sizes {
        println!("{bytes:5} bytes: {what}");
        assert_eq!(bytes, stated, "{what}: the docs say {stated}");
    }
}

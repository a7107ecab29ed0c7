//! How often a call allocates, and how large its future is.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::{Future, Ready, pending, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use hedge_tower::hedge_core::drive::Timer;
use hedge_tower::hedge_core::health::CircuitOptions;
use hedge_tower::hedge_core::limit::TokenOptions;
use hedge_tower::hedge_core::time::Instant;
use hedge_tower::{BreakerOptions, Builder, ResponseFuture};
use tower::{Layer, Service, service_fn};

/// A clock that stands still.
#[derive(Clone, Copy)]
struct Still;

impl Timer for Still {
    type Sleep = std::future::Pending<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        pending()
    }
}

/// A future that is ready when it is polled for the second time.
struct PendingOnce(bool);

impl Future for PendingOnce {
    type Output = Result<u32, &'static str>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(Ok(7)) } else { Poll::Pending }
    }
}

fn armed() -> Builder<Still> {
    hedge_tower::builder(Still).backup(Duration::from_millis(50)).on_end(|_| {})
}

/// How often a call allocates from its start to its end, which must come at poll number `polls`.
fn allocations(polls: u32, call: impl FnOnce() -> ResponseFuture<u32, &'static str>) -> u64 {
    let allocations = measure(|| {
        let mut future = pin!(call());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 1..polls {
            assert!(future.as_mut().poll(&mut cx).is_pending());
        }
        assert!(matches!(future.as_mut().poll(&mut cx), Poll::Ready(Ok(7))));
    });
    assert_eq!(allocations.count_current, 0);
    allocations.count_total
}

fn at_once(_: u32) -> Ready<Result<u32, &'static str>> {
    ready(Ok(7))
}

#[test]
fn a_call_allocates_once_for_its_future() {
    let mut service = armed().layer().unwrap().layer(service_fn(at_once));
    assert_eq!(allocations(1, || service.call(1)), 1);
    let mut service = armed().layer().unwrap().layer(service_fn(|_: u32| PendingOnce(false)));
    assert_eq!(allocations(2, || service.call(1)), 1);
}

/// The size in bytes of a call's future, if the future of each attempt holds this many bytes.
fn bytes<const HELD: usize>() -> u64 {
    let mut service = armed().layer().unwrap().layer(service_fn(|_: u32| async {
        let held = [7_u8; HELD];
        std::future::poll_fn(|_| Poll::Ready(())).await;
        Ok::<_, &'static str>(u32::from(std::hint::black_box(&held).iter().fold(0, |any, byte| any | byte)))
    }));
    measure(|| drop(service.call(1))).bytes_total
}

#[test]
fn a_call_has_room_for_two_attempts_and_boxes_more() {
    assert_eq!(bytes::<2_048>() - bytes::<1_024>(), 2 * 1_024);
}

#[test]
fn a_call_after_a_replacement_allocates_no_more_and_replacements_leave_nothing() {
    let layer = armed().layer().unwrap();
    let mut service = layer.layer(service_fn(at_once));
    let mut options = layer.options();
    options.channel.max_retry = 2;
    options.limits.tokens = Some(TokenOptions::TRPC);
    layer.set_options(options.clone()).unwrap();
    // The first time that a thread reads the options, arc-swap registers the thread, which allocates.
    assert!(allocations(1, || service.call(1)) >= 1);
    assert_eq!(allocations(1, || service.call(1)), 1);

    let replaced = measure(|| {
        options.limits.tokens = None;
        layer.set_options(options.clone()).unwrap();
    });
    println!("a replacement allocates {} bytes", replaced.bytes_total);
    assert!(replaced.bytes_total < 2_048);
    let many = measure(|| {
        for round in 0..1_000 {
            options.limits.tokens = Some(TokenOptions::TRPC).filter(|_| round % 2 == 0);
            layer.set_options(options.clone()).unwrap();
            assert_eq!(allocations(1, || service.call(1)), 1);
        }
    });
    assert_eq!((many.bytes_current, many.count_current), (0, 0));
}

#[test]
fn a_call_to_a_set_allocates_once_for_its_future() {
    for balancer in ["rr", "wrr", "random", "wr", "la", "p2c", "p2c:choices=4"] {
        let breaker = BreakerOptions::Circuit(CircuitOptions::DEFAULT);
        let mut set = armed().load_balancer(balancer).circuit_breaker(breaker).set().unwrap();
        for key in 0..3 {
            set.insert(key, service_fn(at_once)).unwrap();
        }
        // The first time that a thread reads a list, arc-swap registers the thread, which allocates.
        assert!(allocations(1, || set.call(1)) >= 1);
        assert_eq!(allocations(1, || set.call(1)), 1, "{balancer}");
    }
}

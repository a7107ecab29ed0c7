//! Starts and ends of calls and attempts, in their order, and the counters.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use hedge_fleet::hedge_core::outcome::{Denial, End, ErrorKind, Extra};
use hedge_fleet::hedge_core::policy::{BackupDelay, BackupPolicy};
use hedge_fleet::hedge_core::time::{Instant, Timeout};
use hedge_fleet::{
    AttemptEnded, AttemptStarted, CallEnd, CallId, CallOptions, CancelToken, Observer, ServerChange, ServerRef, Setup,
};

use crate::world::{Recorder, World};

fn watched(keys: &[u16]) -> (Arc<Recorder>, World) {
    let recorder = Arc::new(Recorder::default());
    let mut setup = Setup::new();
    setup.observers.add(Arc::clone(&recorder) as Arc<dyn Observer>);
    let world = World::new(setup, keys);
    recorder.take();
    (recorder, world)
}

fn backup() -> CallOptions {
    CallOptions::new().with_backup(Duration::from_millis(10))
}

#[test]
fn l7_a_backup_that_wins_is_told_in_order() {
    let (recorder, world) = watched(&[1, 2]);
    world.run(&backup(), &[None, Some((3, Ok(())))]);
    assert_eq!(
        recorder.take(),
        [
            "call 0 started",
            "call 0: 0 first to 10.0.0.1:80 after 0 us",
            "call 0: 1 backup to 10.0.0.2:80 after 10 ms",
            "call 0: 1 at Some(2) accept, not said, 3 ms",
            "call 0: 0 at Some(1) abandoned, not said, 13 ms",
            "call 0 accepted",
        ]
    );
}

#[test]
fn l8_a_retry_is_told_with_the_reason_of_the_failure() {
    let (recorder, world) = watched(&[1, 2]);
    world.run(&CallOptions::new(), &[Some((2, Err(ErrorKind::Refused))), Some((1, Ok(())))]);
    assert_eq!(
        recorder.take(),
        [
            "call 0 started",
            "call 0: 0 first to 10.0.0.1:80 after 0 us",
            "call 0: 0 at Some(1) retry, connection refused, 2 ms",
            "call 0: 1 retry to 10.0.0.2:80 after 2 ms",
            "call 0: 1 at Some(2) accept, not said, 1 ms",
            "call 0 accepted",
        ]
    );
}

#[test]
fn l12_a_call_that_is_dropped_ends_with_its_attempts() {
    let (recorder, world) = watched(&[1, 2]);
    assert!(world.run_for(15, &backup(), &[None, None]).is_none());
    assert_eq!(
        recorder.take()[3..],
        [
            "call 0: 0 at Some(1) cancelled, not said, 14 ms",
            "call 0: 1 at Some(2) cancelled, not said, 4 ms",
            "call 0 cancelled",
        ]
    );
}

#[test]
fn l2_a_deadline_abandons_what_is_in_flight_and_l21_a_limit_of_an_attempt_ends_it() {
    let (recorder, world) = watched(&[1, 2]);
    let short = CallOptions::new().with_timeout(Duration::from_millis(20));
    world.run(&short, &[None]);
    assert_eq!(recorder.take()[2..], ["call 0: 0 at Some(1) abandoned, not said, 20 ms", "call 0 deadline passed"]);
    let options = CallOptions::new().with_attempt_timeout(Duration::from_millis(5));
    world.run(&options, &[None, Some((1, Ok(())))]);
    assert_eq!(recorder.take()[2], "call 1: 0 at Some(2) retry, attempt timeout, 5 ms");
}

#[test]
fn l16_calls_without_attempts_and_calls_that_are_rejected() {
    let (recorder, world) = watched(&[]);
    world.run(&CallOptions::new(), &[]);
    assert_eq!(recorder.take(), ["call 0 started", "call 0 no server"]);
    let impossible = CallOptions { max_retry: Some(200), ..CallOptions::new() };
    let crowded = CallOptions { max_backups: Some(100), ..CallOptions::new() };
    for options in [impossible, crowded] {
        let mut rejected = std::pin::pin!(world.call(&options, &[]));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(rejected.as_mut().poll(&mut cx).is_ready());
        assert_eq!(recorder.take(), [""; 0]);
    }
    assert_eq!((world.settings.counters().calls(), world.settings.counters().no_server), (1, 1));
}

#[test]
fn several_backups_are_told_as_one_is() {
    let (recorder, world) = watched(&[1, 2, 3]);
    let options = CallOptions { max_backups: Some(2), ..backup() };
    world.run(&options, &[None, None, Some((5, Ok(())))]);
    let told = recorder.take();
    assert_eq!(told[3], "call 0: 2 backup to 10.0.0.3:80 after 20 ms");
    assert_eq!(
        told[4..],
        [
            "call 0: 2 at Some(3) accept, not said, 5 ms",
            "call 0: 0 at Some(2) abandoned, not said, 25 ms",
            "call 0: 1 at Some(1) abandoned, not said, 15 ms",
            "call 0 accepted",
        ]
    );
}

/// An observer whose methods panic.
struct Angry;

impl Observer for Angry {
    fn call_started(&self, _: CallId) {
        panic!("a call");
    }
    fn attempt_started(&self, _: &AttemptStarted<'_>) {
        panic!("an attempt");
    }
    fn attempt_ended(&self, _: &AttemptEnded<'_>) {
        panic!("an end");
    }
    fn call_ended(&self, _: CallId, _: &CallEnd<'_>) {
        panic!("an end of a call");
    }
    fn server_changed(&self, _: &ServerRef<'_>, _: ServerChange) {
        panic!("a server");
    }
}

#[test]
fn an_observer_that_panics_harms_no_call_and_the_next_one_is_told() {
    let recorder = Arc::new(Recorder::default());
    let mut setup = Setup::new();
    setup.observers.add(Arc::new(Angry));
    setup.observers.add(Arc::clone(&recorder) as Arc<dyn Observer>);
    let world = World::new(setup, &[1, 2]);
    let report = world.run(&backup(), &[None, Some((3, Ok(())))]);
    assert_eq!(report.end(), Some(End::Accepted));
    assert_eq!(recorder.take().len(), 8, "two servers, and six of the call");
    assert_eq!([1, 2].map(|key| world.node(key).in_flight()), [0, 0]);
}

/// A policy that refuses every backup.
struct Refuses;

impl BackupPolicy for Refuses {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        Err(Denial::Policy)
    }
}

#[test]
fn l20_an_attempt_that_panics_is_told_as_cancelled() {
    let (recorder, world) = watched(&[1]);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut host = hedge_fleet::CallHost::new(&world, ());
        let options = CallOptions::new();
        let mut call = std::pin::pin!(async {
            hedge_fleet::run!(
                host,
                &options,
                hedge_fleet::hedge_core::policy::Idempotency::Unset,
                |_| async { if true { panic!("the attempt") } else { Ok::<(), crate::testing::Failed>(()) } },
                |_call, result| result
            )
        });
        let _ = call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }));
    assert!(unwound.is_err());
    assert_eq!(recorder.take()[2..], ["call 0: 0 at Some(1) cancelled, not said, 0 us", "call 0 cancelled"]);
}

#[test]
fn counters_count_each_end_and_each_kind_of_attempt() {
    let world = World::new(Setup::new(), &[1, 2]);
    let plain = CallOptions::new();
    world.run(&plain, &[Some((1, Ok(())))]);
    world.run(&backup(), &[None, Some((3, Ok(())))]);
    world.run(&backup(), &[Some((12, Ok(()))), None]);
    world.run(&plain, &[Some((1, Err(ErrorKind::Refused))), Some((1, Ok(())))]);
    world.run(&plain, &[Some((1, Err(ErrorKind::Internal)))]);
    world.run(&plain, &[Some((1, Err(ErrorKind::BadRequest)))]);
    world.run(&plain, &[None]);
    assert!(world.run_for(5, &plain, &[None]).is_none());
    let cancel = CancelToken::new();
    cancel.cancel();
    world.run(&CallOptions { cancel: Some(cancel), ..CallOptions::new() }, &[None]);
    world.run(&CallOptions { backup_policy: Some(Arc::new(Refuses)), ..backup() }, &[Some((12, Ok(())))]);
    world.set(&[]);
    world.run(&plain, &[]);

    let counters = world.settings.counters();
    assert_eq!((counters.accepted, counters.failed, counters.fatal), (5, 1, 1));
    assert_eq!((counters.deadline, counters.cancelled, counters.no_server, counters.all_down), (1, 2, 1, 0));
    assert_eq!((counters.first_attempts, counters.retries), (9, 1));
    assert_eq!((counters.backups, counters.backups_won), (2, 1));
    assert_eq!((counters.calls(), counters.attempts(), counters.ended(End::Cancelled)), (11, 12, 2));
    assert_eq!(counters.denied(Extra::Backup, Denial::Policy), 0, "a call's own policy is not the channel's");
}

#[test]
fn b6_counters_have_the_refusals_too() {
    let mut setup = Setup::new();
    setup.policy = Some(Arc::new(Refuses));
    setup.options.backup = BackupDelay::after(hedge_fleet::hedge_core::time::Duration::from_millis(10));
    setup.options.timeout = Timeout::after(hedge_fleet::hedge_core::time::Duration::from_millis(50));
    let world = World::new(setup, &[1, 2]);
    world.run(&CallOptions::new(), &[Some((12, Ok(())))]);
    let counters = world.settings.counters();
    assert_eq!(counters.denied(Extra::Backup, Denial::Policy), 1);
    assert_eq!(counters.denied(Extra::Retry, Denial::Policy), 0);
    assert_eq!((counters.accepted, counters.backups), (1, 0));
}

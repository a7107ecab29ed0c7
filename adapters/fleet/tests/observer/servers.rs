//! The events of servers.

use std::sync::Arc;
use std::time::Duration;

use hedge_core::bounded::Bounded;
use hedge_fleet::hedge_core::health::{BreakerOptions, FailureOptions, IsolationLimit};
use hedge_fleet::hedge_core::outcome::ErrorKind;
use hedge_fleet::{CallOptions, CheckOutcome, CheckStep, Observer, Setup};

use hedge_fleet::hedge_core::drive::Timer as _;

use crate::world::{Answer, Recorder, World};

/// A world with a recorder and a circuit breaker, which isolates a server for 100 ms after one failure. `percent` of
/// the servers stay selectable.
fn with_breaker(recorder: &Arc<Recorder>, percent: u32, keys: &[u16]) -> World {
    let mut setup = Setup::new();
    setup.options.max_retry = 0;
    setup.breaker = Some(BreakerOptions::ConsecutiveFailures(FailureOptions {
        failures: Bounded::of::<1>(),
        ..FailureOptions::DEFAULT
    }));
    setup.isolation_limit = IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() };
    setup.observers.add(Arc::clone(recorder) as Arc<dyn Observer>);
    let world = World::new(setup, keys);
    recorder.take();
    world
}

const FAILS: Answer = Some((1, Err(ErrorKind::Broken)));
const ANSWERS: Answer = Some((1, Ok(())));

/// The events of servers that were recorded, without the events of calls.
fn of_servers(recorder: &Recorder) -> Vec<String> {
    recorder.take().into_iter().filter(|line| line.starts_with("10.")).collect()
}

#[test]
fn n1_a_list_tells_what_it_changes() {
    let recorder = Arc::new(Recorder::default());
    let mut setup = Setup::new();
    setup.observers.add(Arc::clone(&recorder) as Arc<dyn Observer>);
    let world = World::new(setup, &[1, 2]);
    assert_eq!(recorder.take(), ["10.0.0.1:80 inserted", "10.0.0.2:80 inserted"]);
    world.set(&[2, 3]);
    assert_eq!(recorder.take(), ["10.0.0.1:80 removed", "10.0.0.3:80 inserted"]);
    world.set(&[2, 3]);
    assert_eq!(recorder.take(), [""; 0]);
}

#[test]
fn h2_a_breaker_isolates_probes_and_brings_back() {
    let recorder = Arc::new(Recorder::default());
    let world = with_breaker(&recorder, 1, &[1, 2]);
    let options = CallOptions::new();
    world.run(&options, &[FAILS]);
    assert_eq!(
        recorder.take()[1..],
        [
            "call 0: 0 first to 10.0.0.1:80 after 0 us",
            "10.0.0.1:80 isolated for 100 ms",
            "call 0: 0 at Some(1) retry, connection broken, 1 ms",
            "call 0 failed",
        ]
    );
    world.run(&options, &[ANSWERS]);
    assert_eq!(of_servers(&recorder), [""; 0], "it is isolated, so the other one answers");
    world.clock.advance(101);
    world.run(&options, &[FAILS]);
    assert_eq!(of_servers(&recorder), ["10.0.0.1:80 half-open", "10.0.0.1:80 isolated for 200 ms"]);
    world.run(&options, &[ANSWERS]);
    world.clock.advance(201);
    world.run(&options, &[ANSWERS]);
    assert_eq!(of_servers(&recorder), ["10.0.0.1:80 half-open", "10.0.0.1:80 returned"]);
    world.run(&options, &[ANSWERS]);
    assert_eq!(of_servers(&recorder), [""; 0]);
}

#[test]
fn h4_a_lifted_isolation_is_told() {
    let recorder = Arc::new(Recorder::default());
    let world = with_breaker(&recorder, 50, &[1, 2]);
    world.run(&CallOptions::new(), &[FAILS]);
    assert_eq!(of_servers(&recorder), ["10.0.0.1:80 isolated for 100 ms"]);
    // The only server of a list may not be isolated.
    world.set(&[1]);
    assert_eq!(recorder.take(), ["10.0.0.2:80 removed", "10.0.0.1:80 isolation lifted"]);
}

#[test]
fn h4_an_isolation_that_gives_its_place_to_another_server_is_told() {
    let recorder = Arc::new(Recorder::default());
    let world = with_breaker(&recorder, 50, &[1, 2]);
    world.run(&CallOptions::new(), &[FAILS]);
    assert_eq!(of_servers(&recorder), ["10.0.0.1:80 isolated for 100 ms"]);
    // The call begins while server 1 is isolated, and fails after that isolation is over.
    world.run(&CallOptions::new(), &[Some((150, Err(ErrorKind::Broken)))]);
    assert_eq!(of_servers(&recorder), ["10.0.0.2:80 isolated for 100 ms", "10.0.0.1:80 isolation lifted"]);
}

#[test]
fn h1_a_broken_connection_and_h5_the_call_that_is_let_through() {
    let recorder = Arc::new(Recorder::default());
    let world = with_breaker(&recorder, 1, &[1]);
    let node = world.node(1);
    let broke = world.servers.set_broken(&node, true, world.clock.now());
    assert_eq!(recorder.take(), [""; 0], "not told yet");
    broke.tell(&world.servers, &node);
    world.servers.set_broken(&node, true, world.clock.now()).tell(&world.servers, &node);
    assert_eq!(recorder.take(), ["10.0.0.1:80 connection broken"], "once");
    world.servers.tell_check(&node, CheckStep::Connect, CheckOutcome::Failed, Duration::from_millis(3));
    world.clock.advance(101);
    world.run(&CallOptions::new(), &[ANSWERS]);
    assert_eq!(of_servers(&recorder), ["10.0.0.1:80 half-open", "10.0.0.1:80 connected"]);
}

#[test]
fn n5_a_server_that_is_withdrawn_by_hand_is_told_once() {
    let recorder = Arc::new(Recorder::default());
    let world = with_breaker(&recorder, 1, &[1]);
    for usable in [true, false, false, true] {
        world.servers.set_usable(&world.node(1), usable, world.clock.now());
    }
    assert_eq!(recorder.take(), ["10.0.0.1:80 withdrawn", "10.0.0.1:80 restored"]);
}

//! Tests of the breakers in virtual time.

extern crate std;

use std::format;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::bounded::Bounded;
#[cfg(feature = "serde")]
use crate::bounded::SpanRange;
use crate::health::{FailureState, WindowOptions};

const MS: Micros = Micros::from_millis(1);
const FAILED: Outcome = Outcome::Failure { latency: MS };
const GOOD: Outcome = Outcome::Success { latency: MS };
const ABANDONED: Outcome = Outcome::Uncounted { age: MS };

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn in_a_row(failures: u32) -> ConsecutiveFailures {
    let failures = Bounded::new(failures).unwrap();
    ConsecutiveFailures::new(FailureOptions { failures, ..FailureOptions::DEFAULT })
}

fn isolated(ms: u64) -> Option<BreakerChange> {
    Some(BreakerChange::Isolated { isolation: Duration::from_millis(ms) })
}

/// Starts a probe at the first millisecond, from `now` on, at which the server is usable. Returns that millisecond.
fn probe<B: Breaker>(breaker: &B, server: &B::State, now: u64) -> u64 {
    let probed = (now..now + 40_000).find(|ms| breaker.usable(server, at(*ms))).unwrap();
    assert!(!breaker.started(server, at(probed - 1), false), "not a moment earlier");
    assert!(breaker.started(server, at(probed), false));
    probed
}

#[test]
fn h2_a_circuit_breaker_isolates_as_brpcs_does() {
    let breaker = CircuitBreaker::new(CircuitOptions::DEFAULT);
    let server = CircuitState::default();
    for call in 1..=150 {
        assert_eq!(breaker.finished(&server, at(call), FAILED, || true), None, "call {call}");
    }
    assert_eq!(breaker.finished(&server, at(151), FAILED, || true), isolated(100));
    assert!(breaker.is_isolated(&server) && !breaker.usable(&server, at(151)));
    assert_eq!(breaker.finished(&server, at(151), FAILED, || true), None, "it is already");
    let until = breaker.isolated_until(&server, at(151)).unwrap();
    assert!(at(251) <= until && until < at(253), "{until:?}");
    assert_eq!(probe(&breaker, &server, 151), 252);
    assert_eq!(breaker.finished(&server, at(300), GOOD, || true), Some(BreakerChange::Returned));
    for call in 1..=150 {
        assert_eq!(breaker.finished(&server, at(300), FAILED, || true), None, "it begins anew: call {call}");
    }
    assert_eq!(breaker.finished(&server, at(310), FAILED, || true), isolated(200), "soon again");
}

#[test]
fn h2_a_full_window_keeps_its_mean_when_the_server_returns() {
    let window = WindowOptions::of::<100, 10>();
    let options = CircuitOptions { short: window, long: window, ..CircuitOptions::DEFAULT };
    let breaker = CircuitBreaker::new(options);
    let server = CircuitState::default();
    (0..100).for_each(|_| assert_eq!(breaker.finished(&server, at(1), GOOD, || true), None));
    let fail = || (1..).find(|_| breaker.finished(&server, at(2), FAILED, || true).is_some()).unwrap();
    assert_eq!(fail(), 11, "10.2 means");
    let probed = probe(&breaker, &server, 2);
    assert_eq!(breaker.finished(&server, at(probed + 1), GOOD, || true), Some(BreakerChange::Returned));
    assert_eq!(fail(), 11, "costs are forgotten, the mean is not");
}

#[test]
fn h2_failures_in_a_row_isolate_and_a_success_breaks_the_row() {
    let breaker = in_a_row(5);
    let server = FailureState::default();
    for round in 0..3 {
        (0..4).for_each(|_| assert_eq!(breaker.finished(&server, at(round), FAILED, || true), None));
        assert_eq!(breaker.finished(&server, at(round), GOOD, || true), None);
    }
    (0..4).for_each(|_| assert_eq!(breaker.finished(&server, at(9), FAILED, || true), None));
    assert_eq!(breaker.finished(&server, at(9), FAILED, || true), isolated(100));
}

#[test]
fn h2_isolations_double_up_to_the_longest_and_begin_anew_after_a_good_while() {
    let breaker = in_a_row(1);
    let server = FailureState::default();
    let mut now = 1_000;
    assert_eq!(breaker.finished(&server, at(now), FAILED, || true), isolated(100));
    for expected in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000] {
        now = probe(&breaker, &server, now) + 1;
        assert_eq!(breaker.finished(&server, at(now), FAILED, || true), isolated(expected));
    }
    now = probe(&breaker, &server, now) + 1;
    assert_eq!(breaker.finished(&server, at(now), GOOD, || true), Some(BreakerChange::Returned));
    assert_eq!(breaker.finished(&server, at(now + 29_990), FAILED, || true), isolated(30_000), "soon again");
    now = probe(&breaker, &server, now + 29_990) + 1;
    assert_eq!(breaker.finished(&server, at(now), GOOD, || true), Some(BreakerChange::Returned));
    assert_eq!(breaker.finished(&server, at(now + 30_010), FAILED, || true), isolated(100));
}

#[test]
fn h2_so_many_probes_at_a_time_and_no_more() {
    for probes in [1, 3] {
        let isolation = IsolationOptions { probes: Bounded::new(probes).unwrap(), ..IsolationOptions::DEFAULT };
        let breaker = ConsecutiveFailures::new(FailureOptions { failures: Bounded::of::<1>(), isolation });
        let server = FailureState::default();
        let _ = breaker.finished(&server, at(0), FAILED, || true);
        let now = at(200);
        let let_through = (0..10).filter(|_| breaker.usable(&server, now) && breaker.started(&server, now, false));
        assert_eq!(let_through.count(), probes as usize);
        assert!(!breaker.started(&server, now, false), "a look that is too late");
        let ended = at(201);
        assert_eq!(breaker.finished(&server, ended, ABANDONED, || true), None);
        assert!(breaker.usable(&server, ended), "a probe that was abandoned makes room");
        assert!(breaker.started(&server, ended, false));
        assert!(!breaker.usable(&server, ended));
    }
}

#[test]
fn h2_what_began_before_the_probing_decides_nothing() {
    let breaker = in_a_row(1);
    let server = FailureState::default();
    let _ = breaker.finished(&server, at(1_000), FAILED, || true);
    let probed = probe(&breaker, &server, 1_000);
    let now = at(probed + 50);
    for latency in [Micros::from_millis(60), Micros::from_secs(1)] {
        for old in [Outcome::Failure { latency }, Outcome::Success { latency }, Outcome::Uncounted { age: latency }] {
            assert_eq!(breaker.finished(&server, now, old, || true), None);
            assert!(breaker.is_isolated(&server) && !breaker.usable(&server, now), "the probe is still out");
        }
    }
    let answer = Outcome::Success { latency: Micros::from_millis(50) };
    assert_eq!(breaker.finished(&server, now, answer, || true), Some(BreakerChange::Returned));
}

#[test]
fn h2_an_attempt_at_an_isolated_server_probes_only_when_the_isolation_is_over() {
    let breaker = in_a_row(1);
    let server = FailureState::default();
    let _ = breaker.finished(&server, at(1_000), FAILED, || true);
    assert!(breaker.started(&server, at(1_010), true), "FailTry");
    assert_eq!(breaker.finished(&server, at(1_011), GOOD, || true), None);
    assert!(breaker.started(&server, at(1_200), true));
    assert!(!breaker.usable(&server, at(1_200)), "it is the probe");
    assert!(breaker.started(&server, at(1_200), true), "a second one, all the same");
    assert_eq!(breaker.finished(&server, at(1_201), ABANDONED, || true), None);
    assert!(!breaker.usable(&server, at(1_201)));
    assert_eq!(breaker.finished(&server, at(1_201), GOOD, || true), Some(BreakerChange::Returned));
}

#[test]
fn h2_a_probe_that_is_lost_does_not_isolate_for_good() {
    let breaker = in_a_row(1);
    let server = FailureState::default();
    let _ = breaker.finished(&server, at(0), FAILED, || true);
    let probed = probe(&breaker, &server, 0);
    assert!(!breaker.usable(&server, at(probed + 29_990)));
    let later = probed + 30_010;
    assert!(breaker.started(&server, at(later), false));
    assert!(!breaker.usable(&server, at(later)));
    let lost = Outcome::Failure { latency: Micros::from_millis(30_011) };
    assert_eq!(breaker.finished(&server, at(later + 1), lost, || true), None, "too late to decide");
}

#[test]
fn h2_a_clock_that_goes_round_isolates_nobody() {
    let breaker = in_a_row(1);
    let round = 1 << 42;
    for origin in [0, round - 50_000, 3 * round - 90_000] {
        let server = FailureState::default();
        let now = Instant::from_micros(origin);
        assert_eq!(breaker.finished(&server, now, FAILED, || true), isolated(100));
        assert!(!breaker.usable(&server, now + Duration::from_millis(99)));
        for (days, ms) in [(0, 102), (1, 0), (20, 0), (30, 0), (50, 0)] {
            let later = now + Duration::from_secs(days * 86_400) + Duration::from_millis(ms);
            assert!(breaker.usable(&server, later), "{days} days");
            assert_eq!(breaker.isolated_until(&server, later), None);
        }
    }
}

#[test]
fn l13_s7_abandoned_and_local_attempts_and_refusals_over_the_limit_never_count() {
    let latency = MS;
    let feedback = [
        (Feedback::Abandoned { age: MS }, Code::NONE),
        (Feedback::Abandoned { age: MS }, ErrorKind::Broken.into()),
        (Feedback::Local { age: MS }, ErrorKind::BadRequest.into()),
        (Feedback::Local { age: MS }, Code::NONE),
        (Feedback::Failure { latency }, ErrorKind::OverLimit.into()),
    ];
    let breaker = in_a_row(1);
    let (server, circuit) = (FailureState::default(), CircuitState::default());
    let brpc = CircuitBreaker::new(CircuitOptions::DEFAULT);
    for (feedback, code) in feedback {
        let outcome = Outcome::new(feedback, code);
        for _ in 0..10_000 {
            assert_eq!(breaker.finished(&server, at(1), outcome, || true), None);
            assert_eq!(brpc.finished(&circuit, at(1), outcome, || true), None);
        }
    }
    assert_eq!(format!("{circuit:?}"), format!("{:?}", CircuitState::default()));
    assert_eq!(Outcome::new(Feedback::Success { latency }, Code::NONE), GOOD);
    assert_eq!(Outcome::new(Feedback::Failure { latency }, ErrorKind::Broken.into()), FAILED);
}

#[test]
fn h4_who_was_refused_asks_again_at_the_next_failure_and_an_isolation_is_lifted_once() {
    let (breaker, server) = (in_a_row(2), FailureState::default());
    let fail = |ms, may| breaker.finished(&server, at(ms), FAILED, || may);
    assert_eq!((fail(0, true), fail(1, false), fail(2, true)), (None, None, isolated(100)));
    assert!(breaker.lift(&server, at(20)) && !breaker.lift(&server, at(20)));
    assert!(breaker.usable(&server, at(20)));
}

#[test]
fn h2_each_feedback_is_counted_once_by_many_threads() {
    const THREADS: usize = 4;
    const EACH: usize = 2_475;
    let window = WindowOptions::of::<10_000, 10>();
    let circuit = CircuitOptions { short: window, long: window, ..CircuitOptions::DEFAULT };
    let failures = FailureOptions { failures: Bounded::of::<1_000>(), ..FailureOptions::DEFAULT };
    for options in [BreakerOptions::Circuit(circuit), BreakerOptions::ConsecutiveFailures(failures)] {
        let breaker = AnyBreaker::new(options);
        let server = CircuitState::default();
        let (fed, changes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let feed = |times: usize| {
            for _ in 0..times {
                fed.fetch_add(1, Ordering::Relaxed);
                if breaker.finished(&server, at(1), FAILED, || true).is_some() {
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        // All threads together report one failure less than the breaker tolerates. Then they report further failures at
        // the same time.
        let before = if matches!(breaker, AnyBreaker::Circuit(_)) { 1_000 } else { 999 };
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let share = before / THREADS + usize::from(thread < before % THREADS);
                scope.spawn(move || feed(share));
            }
        });
        assert_eq!((fed.load(Ordering::Relaxed), changes.load(Ordering::Relaxed)), (before, 0));
        thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(|| feed(EACH)))));
        assert_eq!(changes.load(Ordering::Relaxed), 1, "{options:?}: isolated once");
    }
}

#[test]
fn h2_one_probe_among_many_threads() {
    let breaker = in_a_row(1);
    let server = FailureState::default();
    let mut now = 0;
    assert!(breaker.finished(&server, at(now), FAILED, || true).is_some());
    for round in 0..300 {
        now += 40_000;
        let probes = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if breaker.usable(&server, at(now)) && breaker.started(&server, at(now), false) {
                        probes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(probes.load(Ordering::Relaxed), 1, "round {round}");
        assert!(breaker.finished(&server, at(now + 1), FAILED, || true).is_some());
    }
}

#[cfg(feature = "serde")]
#[test]
fn options_are_read_over_the_defaults() {
    let read = |text| serde_json::from_str::<BreakerOptions>(text).unwrap();
    assert_eq!(read(r#"{"circuit": {}}"#), BreakerOptions::Circuit(CircuitOptions::DEFAULT));
    let isolation = IsolationOptions { times: SpanRange::of_millis::<100, 5_000>(), ..IsolationOptions::DEFAULT };
    let expected = BreakerOptions::ConsecutiveFailures(FailureOptions { failures: Bounded::of::<3>(), isolation });
    assert_eq!(read(r#"{"consecutive_failures": {"failures": 3, "isolation": {"max": "5s"}}}"#), expected);
    assert!(serde_json::from_str::<BreakerOptions>(r#"{"circuit": {"window": 1}}"#).is_err());
}

#[test]
fn sizes_are_what_the_docs_state() {
    assert_eq!((size_of::<Gate>(), size_of::<FailureState>(), size_of::<CircuitState>()), (8, 12, 32));
    assert_eq!(size_of::<CircuitBreaker>(), 80);
}

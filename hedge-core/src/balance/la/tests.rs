//! Tests of the rules of `la`, and of ten servers under `la` in virtual time.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use super::super::testing::{ListedServer, Servers, selection};
use super::super::{Balancer, Heap, Offer, Search};
use super::*;
use crate::id::{AttemptId, ServerId};
use crate::outcome::{Code, Feedback, SentAttempt};
use crate::time::{Duration, Instant, Micros, Timeout};

const SERVERS: u32 = 10;
const SICK: u16 = 3;
const FAILURE: LaFailure = LaFailure { max_retry: 3, retried: 0, timeout: Timeout::after(Duration::from_millis(500)) };
/// The mean weight of the other servers.
const OTHERS: u64 = 9_000_000;
/// The smallest weight of a server that answers as fast as the others.
const KEPT: u64 = OTHERS / 8 * 7;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn alone() -> LaOthers {
    LaOthers::NONE
}

fn others() -> LaOthers {
    LaOthers { weight: OTHERS, latency: Micros::from_millis(10) }
}

/// Makes `calls` calls of `latency` ms, one after another, beginning at `from` ms. Returns the server's weight after
/// the last call.
fn answer(stats: &LaStats, from: u64, calls: u64, latency: u64) -> u64 {
    answer_beside(others, stats, from, calls, latency)
}

fn answer_beside(others: fn() -> LaOthers, stats: &LaStats, from: u64, calls: u64, latency: u64) -> u64 {
    let ends = (0..calls).map(|call| from + (call + 1) * latency);
    ends.fold(0, |_, end| {
        stats.started(at(end - latency), others);
        stats.succeeded(at(end), at(end - latency), others).unwrap()
    })
}

fn fail(stats: &LaStats, ms: u64) -> u64 {
    stats.started(at(ms - 1), others);
    stats.failed(at(ms), at(ms - 1), FAILURE, others).unwrap()
}

#[test]
fn s3_a_weight_is_throughput_over_latency_of_the_last_128_answers() {
    let stats = LaStats::new(LaStats::SCALE);
    assert_eq!(
        answer_beside(alone, &stats, 0, 10, 2),
        LaStats::SCALE / 2_000,
        "one a second, until there is more to see"
    );
    assert_eq!(answer(&stats, 20, 127, 4), LaStats::SCALE * 250 / 4_000, "the first of 128 only says when they began");
    assert_eq!(stats.latency(), Duration::from_millis(4));
}

#[test]
fn s3_calls_in_flight_for_more_than_1_5_averages_lower_a_weight() {
    let stats = LaStats::new(LaStats::SCALE);
    let weight = answer_beside(alone, &stats, 0, 10, 10);
    stats.started(at(100), alone);
    stats.started(at(110), alone);
    assert_eq!(stats.weight(at(119), alone), weight);
    assert_eq!(stats.weight(at(120), alone), weight, "15 ms on average");
    assert_eq!(stats.weight(at(135), alone), weight / 2);
    assert_eq!(stats.weight(Instant::from_millis(1_000_000_000), alone), 1_000, "not below the floor");
    assert_eq!(stats.weight(at(0), alone), weight, "a clock that went back");
    assert_eq!(stats.in_flight(), 2);
}

#[test]
fn s3_an_error_lengthens_the_last_answer_and_more_so_the_fewer_retries_are_left() {
    for (max_retry, retried, millis) in [(3, 0, 12), (2, 1, 6 + 250), (2, 2, 500), (0, 0, 500)] {
        let stats = LaStats::new(LaStats::SCALE);
        answer(&stats, 0, 3, 10);
        stats.started(at(30), alone);
        let failure = LaFailure { max_retry, retried, ..FAILURE };
        stats.failed(at(40), at(30), failure, alone).unwrap();
        assert_eq!(stats.latency(), Duration::from_millis((20 + millis) / 2), "{failure:?}");
    }
}

#[test]
fn s3_an_error_is_one_however_fast_and_whatever_the_timeout() {
    let stats = LaStats::new(LaStats::SCALE);
    stats.started(at(5), alone);
    let failure = LaFailure { timeout: Timeout::NEVER, ..FAILURE };
    assert_eq!(stats.failed(at(5), at(5), failure, alone), Some(LaStats::SCALE / 30_000_000 + 1_000 - 33));
    assert_eq!(stats.latency(), Duration::from_secs(30));
}

#[test]
fn s3_a_server_that_has_not_answered_weighs_no_more_than_the_others() {
    let stats = LaStats::new(LaStats::SCALE);
    assert_eq!(stats.weight(at(0), alone), LaStats::SCALE);
    assert_eq!(stats.weight(at(0), others), OTHERS);
    assert_eq!(stats.started(at(0), others), OTHERS);
    assert_eq!(stats.succeeded(at(0), at(0), others), None, "no time at all says nothing");
    assert_eq!(stats.in_flight(), 0);
}

#[test]
fn s3_until_its_throughput_is_known_a_server_weighs_no_less_than_the_others() {
    let stats = LaStats::new(LaStats::SCALE);
    assert_eq!(answer(&stats, 0, 100, 10), OTHERS);
    assert_eq!(answer(&stats, 1_000, 1, 10), LaStats::SCALE * 100 / 10_000, "for a second");
}

#[test]
fn s3_three_errors_in_a_row_take_a_server_out() {
    let stats = LaStats::new(LaStats::SCALE);
    answer(&stats, 0, 128, 10);
    assert!(fail(&stats, 1_290) > 1_000 && fail(&stats, 1_300) > 1_000);
    assert!(answer(&stats, 1_300, 1, 10) > 1_000);
    assert!(fail(&stats, 1_320) > 1_000 && fail(&stats, 1_330) > 1_000, "not in a row");
    assert_eq!(fail(&stats, 1_340), 1_000);
    assert!(stats.weight(at(1_340), alone) > 1_000, "alone there is nothing to be out of");
}

#[test]
fn s3_after_2_s_without_an_error_one_call_tries_and_128_bring_a_server_back() {
    let stats = LaStats::new(LaStats::SCALE);
    (1..4).for_each(|ms| assert!(fail(&stats, ms) < 3_000));
    assert_eq!(stats.weight(at(2_002), others), 1_000);
    assert_eq!(stats.weight(at(2_003), others), OTHERS);
    assert_eq!(stats.started(at(2_003), others), 1_000, "one tries");
    assert_eq!(stats.weight(at(2_004), others), 1_000);
    assert_eq!(stats.succeeded(at(2_013), at(2_003), others), Some(KEPT));
    stats.started(at(2_013), others);
    assert_eq!(stats.weight(at(2_014), others), KEPT, "now as many as come");
    stats.succeeded(at(2_023), at(2_013), others);
    assert_eq!(answer(&stats, 2_023, 125, 10), KEPT);
    assert_eq!(answer(&stats, 3_273, 1, 10), LaStats::SCALE * 100 / 10_000, "by its own answers");
}

#[test]
fn s3_a_server_that_is_better_than_the_others_does_not_become_worse_by_rest() {
    let stats = LaStats::new(LaStats::SCALE);
    let weight = answer(&stats, 0, 200, 1);
    assert!(weight > OTHERS);
    let after = fail(&stats, 202);
    assert!(after > OTHERS);
    assert_eq!(stats.weight(at(9_000), others), after);
}

#[test]
fn s3_a_server_that_has_recovered_from_being_slow_returns_slowly() {
    let stats = LaStats::new(LaStats::SCALE);
    for ms in 1..4 {
        fail(&stats, ms);
    }
    stats.started(at(2_003), others);
    let after = stats.succeeded(at(2_103), at(2_003), others);
    assert_eq!(after, Some(OTHERS / 20), "it takes ten times as long as the others: a try when it is idle");
    stats.started(at(2_103), others);
    assert!(stats.weight(at(2_104), others) <= KEPT / 100 + 1_000);
}

#[test]
fn l13_losers_ages_are_lower_bounds_under_la() {
    let stats = LaStats::new(LaStats::SCALE);
    let before = answer(&stats, 0, 200, 5);
    assert_eq!(before, LaStats::SCALE * 200 / 5_000, "its own, which is more than what the others weigh");
    let abandon = |from: u64, age: u64| {
        stats.started(at(from), others);
        stats.abandoned(at(from + age), at(from), others)
    };
    let short = abandon(1_000, 3);
    assert!(short.abs_diff(before) < before / 50, "at least 3 ms is nothing new");
    let long = abandon(1_003, 20);
    assert!(long <= before / 4, "at least 20 ms is four times as long");
    assert_eq!((stats.latency(), stats.in_flight()), (Duration::from_millis(5), 0), "and no answer");
    for number in 0..500 {
        abandon(1_023 + 20 * number, 20);
    }
    let least = abandon(11_023, 20);
    assert!(
        (KEPT / 4..KEPT / 3).contains(&least),
        "{least}: a quarter, as it takes twice as long as the others, or longer"
    );
    let back = answer(&stats, 11_043, 4, 5);
    assert!(back >= KEPT, "{back}: a few answers, and it is as it was");
}

#[test]
fn l13_a_server_that_never_answers_weighs_little_and_is_tried_every_2_s() {
    let stats = LaStats::new(LaStats::SCALE);
    stats.started(at(0), others);
    assert!(stats.abandoned(at(200), at(0), others) < OTHERS / 300);
    assert!(stats.weight(at(2_199), others) < OTHERS / 300);
    assert_eq!(stats.weight(at(2_200), others), OTHERS / 20);
    assert!(stats.started(at(2_200), others) < OTHERS / 300, "one tries");
    assert!(stats.abandoned(at(2_400), at(2_200), others) < OTHERS / 300);
    assert!(stats.weight(at(4_399), others) < OTHERS / 300);
}

#[test]
fn l13_a_try_that_is_abandoned_says_nothing_of_an_error() {
    let stats = LaStats::new(LaStats::SCALE);
    answer(&stats, 0, 10, 10);
    for ms in 201..204 {
        fail(&stats, ms);
    }
    stats.started(at(2_203), others);
    assert_eq!(stats.abandoned(at(2_300), at(2_203), others), 1_000);
    assert_eq!((stats.weight(at(4_299), others), stats.weight(at(4_300), others)), (1_000, OTHERS));
}

#[test]
fn s7_what_says_nothing_of_a_server_only_ends_what_is_in_flight() {
    let stats = LaStats::new(LaStats::SCALE);
    let weight = answer(&stats, 0, 200, 10);
    stats.started(at(2_000), others);
    assert!(stats.weight(at(2_100), others) < weight);
    assert_eq!(stats.withdrawn(at(2_100), at(2_000), others), weight);
    assert_eq!((stats.in_flight(), stats.latency()), (0, Duration::from_millis(10)));
}

#[test]
fn s3_a_server_that_answers_as_soon_as_the_others_keeps_seven_eighths_of_what_they_weigh() {
    for (latency, least) in [(5, KEPT), (10, KEPT), (20, KEPT / 4), (100, KEPT / 100)] {
        let stats = LaStats::new(LaStats::SCALE);
        // The server gets at most one call a second. By its throughput alone it would weigh almost nothing.
        for second in 0..200 {
            stats.started(at(second * 1_000), others);
            stats.succeeded(at(second * 1_000 + latency), at(second * 1_000), others);
        }
        stats.started(at(200_000), others);
        assert_eq!(stats.weight(at(200_001), others), least.max(stats.base()), "{latency} ms");
        stats.withdrawn(at(200_001), at(200_000), others);
        assert_eq!(stats.weight(at(200_001), others), least.max(OTHERS / 20), "{latency} ms, and idle");
        let alone = stats.weight(at(200_001), alone);
        assert_eq!(alone, stats.base(), "alone it is brpc's");
    }
}

#[test]
fn s3_threads_lose_no_attempt_in_flight() {
    let stats = LaStats::new(LaStats::SCALE);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let stats = &stats;
            scope.spawn(move || {
                for ms in 1..5_000 {
                    stats.started(at(ms - 1), others);
                    match (ms + thread) % 3 {
                        0 => drop(stats.succeeded(at(ms), at(ms - 1), others)),
                        1 => drop(stats.failed(at(ms), at(ms - 1), FAILURE, others)),
                        _ => drop(stats.abandoned(at(ms), at(ms - 1), others)),
                    }
                }
            });
        }
    });
    assert_eq!(stats.in_flight(), 0);
    stats.started(at(6_000), others);
    assert_eq!(stats.weight(at(6_000), alone), stats.base().max(1_000), "nothing is left of the others' begins");
}

#[test]
fn sizes_are_what_the_docs_state() {
    assert_eq!(size_of::<LaStats>(), 1_080);
    assert_eq!(size_of::<LaNode>(), 16);
}

/// Ten servers, and a call every millisecond.
struct World {
    la: LocalityAware<Heap>,
    servers: Servers<<LocalityAware<Heap> as Balancer>::Stats>,
    rng: fastrand::Rng,
    /// The attempts in flight, sorted by end and number. Each has its server, its start, and whether the server will
    /// answer.
    working: BTreeMap<(u64, u64), (ServerId, Instant, bool)>,
    calls: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut la = LocalityAware::new(seed);
        let server = |address: u32| ListedServer {
            address: std::format!("{address:04}"),
            usable: true,
            weight: 1,
            in_flight: 0,
            stats: la.stats(),
        };
        let slots: Vec<_> = (0..SERVERS).map(|address| Some(server(address))).collect();
        let servers = Servers { generations: std::vec![0; slots.len()], slots };
        la.arrange(&servers).unwrap();
        Self { la, servers, rng: fastrand::Rng::with_seed(seed), working: BTreeMap::new(), calls: 0 }
    }

    fn end_those_until(&mut self, now: u64) {
        while let Some(entry) = self.working.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((end, _), (server, begin, answered)) = entry.remove_entry();
            let end = Instant::from_micros(end);
            let sent =
                SentAttempt { server, at: begin, attempt: AttemptId::FIRST, max_retry: 3, timeout: FAILURE.timeout };
            let latency = end.micros_since(begin);
            let feedback = if answered { Feedback::Success { latency } } else { Feedback::Failure { latency } };
            self.la.finished(&self.servers, &sent.finished(end, feedback, Code::NONE));
        }
    }

    fn start(&mut self, now: Instant) -> ServerId {
        let selection = selection(None, now);
        let search = Search { list: &self.servers, selection: &selection };
        let Offer { candidate, ticket } = self.la.offers(search, &mut || self.rng.u32(..)).next().unwrap();
        self.la.started(&self.servers, candidate.server, Some(ticket), now);
        candidate.server
    }

    /// Makes calls for `seconds`, and returns each server's share of the calls. The sick server takes `sick.0`
    /// microseconds for a call. It answers if `sick.1` is true, and fails otherwise.
    fn run(&mut self, seconds: u64, sick: (u64, bool)) -> Vec<f64> {
        let mut had = [0; SERVERS as usize];
        for _ in 0..seconds * 1_000 {
            let now = self.calls * 1_000;
            self.end_those_until(now);
            let begin = Instant::from_micros(now);
            let server = self.start(begin);
            let (takes, answered) = if server.slot() == SICK { sick } else { (10_000, true) };
            self.working.insert((now + takes, self.calls), (server, begin, answered));
            self.calls += 1;
            had[usize::from(server.slot())] += 1;
        }
        had.iter().map(|had| f64::from(*had) / (seconds * 1_000) as f64).collect()
    }
}

const HEALTHY: (u64, bool) = (10_000, true);

#[test]
fn s3_a_server_that_fails_fast_or_hangs_draws_little_and_is_back_soon() {
    for seed in 1..6 {
        for (before, outage, sick) in
            [(0, 10, (1_000, false)), (20, 5, (1_000, false)), (20, 60, (1_000, false)), (20, 60, (500_000, false))]
        {
            let mut world = World::new(seed);
            world.run(before, HEALTHY);
            let out = world.run(outage, sick)[usize::from(SICK)];
            assert!(out < 0.002, "{before} s healthy, then {outage} s of {sick:?}: {out}, seed {seed}");
            world.run(5, HEALTHY);
            let back = world.run(5, HEALTHY)[usize::from(SICK)];
            assert!(back > 0.08, "{before} s healthy, then {outage} s of {sick:?}: back {back}, seed {seed}");
            let later = world.run(20, HEALTHY)[usize::from(SICK)];
            assert!(later > 0.08, "{before} s healthy, then {outage} s of {sick:?}: later {later}, seed {seed}");
        }
    }
}

#[test]
fn s3_equal_servers_keep_about_equal_shares() {
    for seed in 1..6 {
        let mut world = World::new(seed);
        world.run(30, HEALTHY);
        let shares = world.run(10, HEALTHY);
        assert!(shares.iter().all(|share| (0.07..0.14).contains(share)), "{shares:?}, seed {seed}");
    }
}

#[test]
fn s3_a_server_that_is_twice_as_fast_draws_most() {
    let mut world = World::new(1);
    world.run(20, (5_000, true));
    let share = world.run(5, (5_000, true))[usize::from(SICK)];
    assert!(share > 0.5, "{share}");
}

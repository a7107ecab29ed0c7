//! The rules of `la`, and ten servers under it in virtual time.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::policy::Timeout;
use crate::time::{Duration, Instant};

const SERVERS: u32 = 10;
const SICK: u32 = 3;
const FAILURE: LaFailure = LaFailure { max_retry: 3, retried: 0, timeout: Timeout::After(Duration::from_millis(500)) };
/// What the others weigh.
const OTHERS: u64 = 50_000_000;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn alone() -> u64 {
    0
}

fn others() -> u64 {
    OTHERS
}

/// Calls of `latency` ms, one after another.
fn answer(stats: &LaStats, from: u64, calls: u64, latency: u64) -> u64 {
    answer_beside(others, stats, from, calls, latency)
}

fn answer_beside(others: fn() -> u64, stats: &LaStats, from: u64, calls: u64, latency: u64) -> u64 {
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
    let failure = LaFailure { timeout: Timeout::Never, ..FAILURE };
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
    assert_eq!(stats.succeeded(at(2_013), at(2_003), others), Some(OTHERS));
    stats.started(at(2_013), others);
    assert_eq!(stats.weight(at(2_014), others), OTHERS, "now as many as come");
    stats.succeeded(at(2_023), at(2_013), others);
    assert_eq!(answer(&stats, 2_023, 125, 10), OTHERS);
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
fn l13_abandoned_attempts_are_no_answers_and_a_try_that_is_abandoned_says_nothing() {
    let stats = LaStats::new(LaStats::SCALE);
    let weight = answer(&stats, 0, 10, 10);
    stats.started(at(100), others);
    assert!(stats.weight(at(200), others) < weight);
    assert_eq!(stats.abandoned(at(200), at(100), others), weight);
    assert_eq!((stats.in_flight(), stats.latency()), (0, Duration::from_millis(10)));

    (201..204).for_each(|ms| {
        fail(&stats, ms);
    });
    stats.started(at(2_203), others);
    assert_eq!(stats.abandoned(at(2_300), at(2_203), others), 1_000);
    assert_eq!((stats.weight(at(4_299), others), stats.weight(at(4_300), others)), (1_000, OTHERS));
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
    assert_eq!(size_of::<LaStats>(), 1_072);
    assert_eq!(size_of::<LaNode>(), 16);
}

/// Ten servers and a call a millisecond.
struct World {
    stats: Vec<LaStats>,
    tree: LaTree<Vec<LaNode>>,
    /// By end and number: server, begin, whether it will be answered.
    working: BTreeMap<(u64, u64), (u32, Instant, bool)>,
    calls: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let stats: Vec<_> = (0..SERVERS).map(|_| LaStats::new(LaStats::SCALE)).collect();
        let tree = LaTree::new(stats.iter().map(|_| LaNode::new()).collect::<Vec<_>>(), seed);
        (0..SERVERS).for_each(|server| tree.set(server, LaStats::SCALE));
        Self { stats, tree, working: BTreeMap::new(), calls: 0 }
    }

    fn update(&self, server: u32, weight: impl FnOnce(&LaStats, &dyn Fn() -> u64) -> Option<u64>) {
        let others = || self.tree.mean_of_others(server, SERVERS);
        if let Some(weight) = weight(&self.stats[server as usize], &others) {
            self.tree.set(server, weight);
        }
    }

    fn end_those_until(&mut self, now: u64) {
        while let Some(entry) = self.working.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((end, _), (server, begin, answered)) = entry.remove_entry();
            let end = Instant::from_micros(end);
            self.update(server, |stats, others| match answered {
                true => stats.succeeded(end, begin, others),
                false => stats.failed(end, begin, FAILURE, others),
            });
            let turn = self.tree.next_turn();
            self.update(turn, |stats, others| Some(stats.weight(end, others)));
        }
    }

    fn start(&mut self, now: Instant) -> u32 {
        let server = self.tree.pick(self.tree.draw(), &[]).unwrap().position;
        self.tree.next_draw();
        self.update(server, |stats, others| Some(stats.started(now, others)));
        server
    }

    /// Lets seconds pass; answers the shares of the servers. The sick one answers, or fails, after so many microseconds.
    fn run(&mut self, seconds: u64, sick: (u64, bool)) -> Vec<f64> {
        let mut had = [0; SERVERS as usize];
        for _ in 0..seconds * 1_000 {
            let now = self.calls * 1_000;
            self.end_those_until(now);
            let begin = Instant::from_micros(now);
            let server = self.start(begin);
            let (takes, answered) = if server == SICK { sick } else { (10_000, true) };
            self.working.insert((now + takes, self.calls), (server, begin, answered));
            self.calls += 1;
            had[server as usize] += 1;
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
            let out = world.run(outage, sick)[SICK as usize];
            assert!(out < 0.002, "{before} s healthy, then {outage} s of {sick:?}: {out}, seed {seed}");
            world.run(5, HEALTHY);
            let back = world.run(5, HEALTHY)[SICK as usize];
            assert!(back > 0.08, "{before} s healthy, then {outage} s of {sick:?}: back {back}, seed {seed}");
            let later = world.run(20, HEALTHY)[SICK as usize];
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
    let share = world.run(5, (5_000, true))[SICK as usize];
    assert!(share > 0.5, "{share}");
}

//! Tests of the rules of `prequal`, and of ten servers under `prequal` in virtual time.

extern crate std;

use std::collections::{BTreeMap, BTreeSet};
use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::balance::p2c::{P2c, P2cOptions, P2cStats};
use crate::bounded::{Bounded, BoundedSpan};
use crate::outcome::Feedback;
use crate::time::{Duration, Timeout};

const OPTIONS: PrequalOptions = PrequalOptions::DEFAULT;
/// A number of servers with which a probe is used once or twice.
const MANY: u32 = 100;
/// A number of servers that is so small that a probe may be used any number of times.
const FEW: u32 = 10;

fn prequal(options: PrequalOptions) -> ProbePool {
    ProbePool::new(options, 1)
}

fn rates(probes: u32, removals: u32) -> ProbeRates {
    ProbeRates::new(Probes::new(probes).unwrap(), removals).unwrap()
}

#[test]
fn calls_remove_fewer_probes_than_they_send() {
    let probes = Probes::new(3_000).unwrap();
    assert_eq!(ProbeRates::new(probes, 2_999), Ok(rates(3_000, 2_999)));
    let error = ProbeRates::new(probes, 3_000).unwrap_err();
    assert_eq!(error.to_string(), "removals 3000: must be in [0, 3000), below the probes");
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn ms(ms: u64) -> Micros {
    Micros::from_millis(ms)
}

fn server(slot: u16) -> ServerId {
    ServerId::new(slot, 9)
}

/// Records that the server in `slot` answers a probe with `in_flight` requests and a latency of `latency` ms.
fn probed(prequal: &ProbePool, at_ms: u64, servers: u32, slot: u16, in_flight: u32, latency: u64) {
    prequal.probed(at(at_ms), servers, server(slot), ProbeAnswer { in_flight, latency: ms(latency).into() });
}

fn chosen(prequal: &ProbePool, at_ms: u64) -> Option<u16> {
    prequal.choose(at(at_ms), |_| Some(Micros::ZERO)).map(ServerId::slot)
}

/// Returns the slot and the requests in flight of each probe in the pool, sorted by slot.
fn pooled(prequal: &ProbePool, at_ms: u64) -> Vec<(u16, u32)> {
    let mut pooled: Vec<_> = prequal.fresh(at(at_ms)).map(|probe| (probe.server.slot(), probe.in_flight)).collect();
    pooled.sort_unstable();
    pooled
}

#[test]
fn the_quickest_cold_probe_is_chosen_and_if_all_are_hot_the_least_busy() {
    let prequal = prequal(OPTIONS);
    // These answers make the quantile 3: of all 56 answers, 53 have at most 3 requests in flight.
    for answer in 0..50 {
        probed(&prequal, 0, FEW, 9, answer % 4, 1);
    }
    for (slot, in_flight, latency) in [(0, 9, 1), (1, 3, 30), (2, 2, 20), (3, 3, 20), (4, 50, 2), (9, 60, 1)] {
        probed(&prequal, 0, FEW, slot, in_flight, latency);
    }
    assert_eq!(chosen(&prequal, 1), Some(2), "of equals the less busy");
    let without = |gone: &[u16]| {
        let usable = |server: ServerId| (!gone.contains(&server.slot())).then_some(Micros::ZERO);
        prequal.choose(at(1), usable).map(ServerId::slot)
    };
    assert_eq!(without(&[2]), Some(3));
    assert_eq!(without(&[2, 3]), Some(1));
    assert_eq!(without(&[1, 2, 3]), Some(0), "all hot");
    assert_eq!(without(&[0, 1, 2, 3]), Some(4));
    assert_eq!(without(&[0, 1, 2, 3, 4]), None, "one is no choice");
    assert_eq!(pooled(&prequal, 1).len(), 6, "to look changes nothing");
}

#[test]
fn at_the_ends_of_the_quantile_one_signal_decides() {
    for (quantile, expected) in [(0, 1), (1_000, 0)] {
        let prequal = prequal(PrequalOptions { rif_quantile_permille: Bounded::new(quantile).unwrap(), ..OPTIONS });
        probed(&prequal, 0, FEW, 0, 900, 1);
        probed(&prequal, 0, FEW, 1, 0, 1_000);
        prequal.sent(server(0));
        assert_eq!(chosen(&prequal, 0), Some(expected));
    }
}

#[test]
fn fewer_probes_than_two_are_no_choice_and_old_ones_are_none() {
    let prequal = prequal(OPTIONS);
    assert_eq!(chosen(&prequal, 0), None);
    probed(&prequal, 0, FEW, 0, 1, 10);
    assert_eq!(chosen(&prequal, 0), None);
    probed(&prequal, 500, FEW, 1, 1, 20);
    assert_eq!(chosen(&prequal, 500), Some(0));
    assert_eq!(chosen(&prequal, 1_000), Some(0), "1 s is not too old");
    assert_eq!(chosen(&prequal, 1_001), None);
    assert_eq!(pooled(&prequal, 1_001), [(1, 1)]);
    assert!(!prequal.is_empty(at(1_500)) && prequal.is_empty(at(1_501)));
    let alone = PrequalOptions { min_probes: Bounded::of::<1>(), max_age: BoundedSpan::of_millis::<5>(), ..OPTIONS };
    let alone = ProbePool::new(alone, 1);
    probed(&alone, 0, FEW, 3, 1, 10);
    assert_eq!([chosen(&alone, 5), chosen(&alone, 6)], [Some(3), None]);
}

#[test]
fn a_new_answer_replaces_the_servers_last_or_the_oldest() {
    let prequal = prequal(OPTIONS);
    for slot in 0..16 {
        probed(&prequal, u64::from(slot ^ 1), MANY, slot, 1, 10);
    }
    probed(&prequal, 20, MANY, 7, 5, 10);
    assert_eq!(prequal.len(at(20)), 16);
    assert_eq!(pooled(&prequal, 20)[7], (7, 5));
    probed(&prequal, 21, MANY, 99, 1, 10);
    let slots: Vec<u16> = pooled(&prequal, 21).iter().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 99], "1 was the oldest");
    // A server with another generation in the same slot is another server.
    prequal.probed(at(22), MANY, ServerId::new(7, 10), ProbeAnswer { in_flight: 0, latency: ms(1).into() });
    assert_eq!(prequal.choose(at(22), |_| Some(Micros::ZERO)), Some(ServerId::new(7, 10)));
    assert_eq!(pooled(&prequal, 22)[5..7], [(7, 0), (7, 5)]);
}

#[test]
fn what_this_client_sends_counts_as_in_flight_until_the_next_answer() {
    let prequal = prequal(OPTIONS);
    probed(&prequal, 0, FEW, 0, 1, 10);
    probed(&prequal, 0, FEW, 1, 2, 20);
    assert_eq!(chosen(&prequal, 0), Some(0));
    prequal.commit(server(0));
    prequal.sent(server(0));
    prequal.sent(server(5));
    assert_eq!(pooled(&prequal, 0), [(0, 3), (1, 2)]);
    assert_eq!(chosen(&prequal, 0), Some(1), "three in flight are more than anybody told");
    probed(&prequal, 1, FEW, 0, 2, 10);
    assert_eq!(chosen(&prequal, 1), Some(0));
    probed(&prequal, 1, FEW, 0, u32::MAX, 10);
    prequal.sent(server(0));
    assert_eq!(pooled(&prequal, 1)[0], (0, (1 << 24) - 1), "it saturates");
}

#[test]
fn a_probe_is_used_as_often_as_the_paper_says() {
    for (probes, removals, delta, servers, expected) in [
        (3_000, 1_000, 1_000, 100, 1.3158),
        (1_000, 250, 1_000, 100, 3.3898),
        (500, 250, 1_000, 100, 11.7647),
        (5_000, 1_000, 1_000, 100, 1.0),
        (3_000, 1_000, 2_500, 1_000, 1.7933),
        (3_000, 1_000, 1_000, 25, 25.0),
        (3_000, 1_000, 1_000, u32::MAX, 1.0),
    ] {
        let options = PrequalOptions {
            rates: rates(probes, removals),
            reuse_delta_permille: Bounded::new(delta).unwrap(),
            ..OPTIONS
        };
        let prequal = prequal(options);
        let mut total = 0;
        for _ in 0..20_000 {
            let uses = prequal.uses(servers);
            assert!((f64::from(uses) - expected).abs() < 1.0, "{options:?}: {uses}");
            total += uses;
        }
        let mean = f64::from(total) / 20_000.0;
        assert!((mean - expected).abs() < 0.02, "{options:?}: {mean}, expected {expected}");
    }
    for (servers, endless) in [(0, true), (10, true), (16, true), (24, true), (25, false)] {
        assert_eq!(prequal(OPTIONS).uses(servers) == ENDLESS, endless, "{servers} servers");
    }
}

#[test]
fn a_probe_that_is_used_up_leaves() {
    let prequal = prequal(PrequalOptions { reuse_delta_permille: Bounded::of::<3_560>(), ..OPTIONS });
    assert_eq!(prequal.uses(MANY), 3);
    for slot in 0..3 {
        probed(&prequal, 0, MANY, slot, 1, 10);
    }
    for uses in 1..3 {
        prequal.commit(server(0));
        assert_eq!(pooled(&prequal, 0)[0], (0, 1 + uses));
    }
    prequal.sent(server(0));
    assert_eq!(pooled(&prequal, 0)[0], (0, 4), "what it was not chosen for is no use");
    prequal.commit(server(0));
    assert_eq!(pooled(&prequal, 0), [(1, 1), (2, 1)]);
    prequal.commit(server(0));
    assert_eq!(pooled(&prequal, 0).len(), 2, "one that is gone is not used");
    let endless = ProbePool::new(OPTIONS, 1);
    probed(&endless, 0, FEW, 0, 1, 10);
    for _ in 0..1_000 {
        endless.commit(server(0));
    }
    assert_eq!(pooled(&endless, 0), [(0, 1_001)]);
}

#[test]
fn the_place_of_a_probe_that_is_used_up_is_free() {
    let prequal = prequal(PrequalOptions { rates: ProbeRates::of::<9_000, 1_000>(), ..OPTIONS });
    assert_eq!(prequal.uses(MANY), 1);
    // The word of a probe with one request in flight and no use left must differ from the word of a slot that is being
    // written.
    let first = ServerId::new(0, 0);
    prequal.probed(at(0), MANY, first, ProbeAnswer { in_flight: 0, latency: ms(1).into() });
    prequal.commit(first);
    for slot in 1..17 {
        probed(&prequal, 0, MANY, slot, 1, 10);
    }
    assert_eq!(prequal.len(at(0)), 16);
}

#[test]
fn the_oldest_and_the_worst_are_removed_in_turn_but_as_many_as_a_call_brings() {
    let prequal = prequal(OPTIONS);
    // The quantile of seven answers is the largest one, so only a server that gets more requests becomes hot.
    for (slot, in_flight, latency) in
        [(0, 4, 10), (1, 3, 20), (2, 2, 90), (3, 1, 40), (4, 4, 30), (5, 4, 35), (6, 1, 36)]
    {
        probed(&prequal, u64::from(slot), MANY, slot, in_flight, latency);
    }
    let after = |slots: &[u16]| {
        let due = prequal.call_started(at(10));
        let left: Vec<u16> = pooled(&prequal, 10).iter().map(|(slot, _)| *slot).collect();
        assert_eq!(left, slots);
        due
    };
    after(&[1, 2, 3, 4, 5, 6]);
    after(&[1, 3, 4, 5, 6]);
    after(&[3, 4, 5, 6]);
    prequal.sent(server(5));
    after(&[3, 4, 6]);
    assert_eq!(after(&[3, 4, 6]), 3, "and three probes are due");
    assert_eq!(chosen(&prequal, 10), Some(4));
    let two = ProbePool::new(PrequalOptions { rates: ProbeRates::of::<3_000, 2_000>(), ..OPTIONS }, 1);
    for (slot, latency) in [(0, 10), (1, 20), (2, 90), (3, 40), (4, 50)] {
        probed(&two, slot, MANY, u16::try_from(slot).unwrap(), 1, latency);
    }
    assert_eq!(two.call_started(at(10)), 3);
    assert_eq!(pooled(&two, 10), [(1, 1), (3, 1), (4, 1)]);
}

#[test]
fn probes_that_are_too_old_are_not_what_is_removed() {
    let prequal = prequal(OPTIONS);
    for slot in 0..8 {
        probed(&prequal, u64::from(slot / 4) * 900 + u64::from(slot), MANY, slot, 1, 10);
    }
    assert_eq!(prequal.call_started(at(1_004)), 3);
    assert_eq!(pooled(&prequal, 1_004), [(5, 1), (6, 1), (7, 1)]);
    let _ = prequal.call_started(at(1_004));
    assert_eq!(pooled(&prequal, 1_004).len(), 3);
}

#[test]
fn rates_with_a_fraction_are_counted_out() {
    for (probes, removals, first) in
        [(3_000, 1_000, [3, 3, 3, 3]), (500, 250, [1, 0, 1, 0]), (2_250, 333, [3, 2, 2, 2]), (1, 0, [1, 0, 0, 0])]
    {
        let options = PrequalOptions { rates: rates(probes, removals), ..OPTIONS };
        let prequal = prequal(options);
        let due: Vec<u32> = (0..10_000).map(|_| prequal.call_started(at(0))).collect();
        assert_eq!(due[..4], first);
        assert!((due.iter().sum::<u32>()).abs_diff(probes * 10) <= 1, "{options:?}");
        let removed: u32 = (0..10_000).map(|_| prequal.removals.next()).sum();
        assert!(removed.abs_diff(removals * 10) <= 1, "{options:?}: {removed}");
    }
}

#[test]
fn targets_are_distinct_and_every_set_of_them_is_as_likely() {
    const SEED: u64 = 3;
    let prequal = ProbePool::new(OPTIONS, SEED);
    let mut counts: BTreeMap<BTreeSet<u32>, u32> = BTreeMap::new();
    let draws = 60_000;
    for _ in 0..draws {
        *counts.entry(prequal.targets(6, 3).collect()).or_default() += 1;
    }
    assert_eq!(counts.len(), 20, "sets of 3 of 6");
    for (set, count) in counts {
        assert_eq!(set.len(), 3);
        assert!(count.abs_diff(draws / 20) < 200, "{set:?}: {count}, seed {SEED}");
    }
    for (servers, probes, expected) in [(0, 3, 0), (2, 3, 2), (1, 1, 1), (1_000, 99, 16), (u32::MAX, 16, 16)] {
        let targets = prequal.targets(servers, probes);
        assert_eq!(targets.len(), expected);
        let drawn: BTreeSet<u32> = targets.collect();
        assert_eq!(drawn.len(), expected, "{drawn:?}");
        assert!(drawn.iter().all(|position| *position < servers));
    }
}

#[test]
fn a_penalty_counts_as_latency_and_a_long_one_takes_a_server_out() {
    let prequal = prequal(OPTIONS);
    for (slot, latency) in [(0, 1), (1, 40), (2, 60)] {
        probed(&prequal, 0, FEW, slot, 1, latency);
    }
    let choose = |penalties: [Option<u64>; 3]| {
        let penalty = |server: ServerId| penalties[usize::from(server.slot())].map(ms);
        prequal.choose(at(0), penalty).map(ServerId::slot)
    };
    assert_eq!(choose([Some(0), Some(0), Some(0)]), Some(0));
    assert_eq!(choose([Some(10), Some(0), Some(0)]), Some(0), "10 ms are tolerated");
    assert_eq!(choose([Some(11), Some(0), Some(0)]), Some(1));
    assert_eq!(choose([None, Some(30), Some(0)]), Some(2));
    assert_eq!(choose([Some(500), Some(41), Some(0)]), None, "one is left");
    assert_eq!(choose([Some(500), None, None]), None);
}

#[test]
fn sizes_are_what_the_docs_state() {
    assert_eq!([size_of::<ProbePool>(), size_of::<ServerLoad>()], [600, 1_744]);
}

#[test]
fn threads_leave_a_sane_pool() {
    const SEED: u64 = 5;
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 5_000;
    for servers in [4_u16, 40] {
        let prequal = ProbePool::new(OPTIONS, SEED);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let prequal = &prequal;
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(SEED + thread);
                    for round in 0..ROUNDS {
                        let now = Instant::from_micros(1_000_000 + round * 10);
                        for _ in 0..prequal.call_started(now) {
                            // Each server has an answer of its own, so a torn probe is noticed.
                            let slot = rng.u16(0..servers);
                            let answer =
                                ProbeAnswer { in_flight: u32::from(slot) * 64, latency: ms(slot.into()).into() };
                            prequal.probed(now, servers.into(), server(slot), answer);
                        }
                        for probe in prequal.fresh(now) {
                            let slot = probe.server.slot();
                            assert_eq!((probe.server, probe.latency), (server(slot), ms(slot.into())), "torn, {SEED}");
                        }
                        match prequal.choose(now, |_| Some(Micros::ZERO)) {
                            Some(server) => prequal.commit(server),
                            None => prequal.sent(server(0)),
                        }
                    }
                });
            }
        });
        let now = Instant::from_micros(1_000_000 + ROUNDS * 10);
        // A slot that is still claimed would not take another server's probe.
        for slot in 1_000..1_016 {
            prequal.probed(now + ms(1), MANY, server(slot), ProbeAnswer { in_flight: 1, latency: ms(1).into() });
        }
        let left: Vec<u16> = prequal.fresh(now + ms(1)).map(|probe| probe.server.slot()).collect();
        assert_eq!(left.len(), 16, "{servers} servers: {left:?}, seed {SEED}");
        assert!(left.iter().all(|slot| *slot >= 1_000), "{servers} servers: {left:?}, seed {SEED}");
    }
}

const SERVERS: u16 = 10;
const SLOW: u16 = 3;
const FAILING: u16 = 7;
/// How many requests a server works on at the same time.
const WORKERS: usize = 4;
const TIMEOUT: Timeout = Timeout::after(Duration::from_millis(500));

enum Event {
    Answered { server: u16, before: u32, began: Instant, failed: bool },
    Probed { server: u16 },
}

/// Ten servers in virtual time. Each takes 10 ms for a request (the slow one 100 ms), and works on four requests at a
/// time. The failing server fails at once. A probe takes 1 ms in total. If the pool makes no choice, a random server is
/// chosen.
struct World {
    rng: fastrand::Rng,
    prequal: ProbePool,
    loads: [ServerLoad; SERVERS as usize],
    p2c: P2c,
    stats: [P2cStats; SERVERS as usize],
    free_at: [[Instant; WORKERS]; SERVERS as usize],
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    now: Instant,
    sick: bool,
    averse: bool,
    latencies: Vec<Micros>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            prequal: ProbePool::new(OPTIONS, seed),
            loads: [const { ServerLoad::new() }; SERVERS as usize],
            p2c: P2c::new(P2cOptions::DEFAULT),
            stats: [const { P2cStats::new() }; SERVERS as usize],
            free_at: [[Instant::ZERO; WORKERS]; SERVERS as usize],
            events: BTreeMap::new(),
            sequence: 0,
            now: Instant::ZERO,
            sick: true,
            averse: true,
            latencies: Vec::new(),
        }
    }

    fn after(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    /// Makes `calls` calls in each of `seconds` seconds, at equal intervals. Returns each server's share of the calls.
    /// Also returns the share of calls for which the pool made no choice.
    fn run(&mut self, seconds: u64, calls: u64) -> ([f64; SERVERS as usize], f64) {
        let (mut counts, mut others) = ([0_u32; SERVERS as usize], 0_u32);
        let start = self.now;
        for call in 0..seconds * calls {
            let now = start + Micros::from_micros(call * 1_000_000 / calls);
            self.settle(now);
            let due = self.prequal.call_started(now);
            for position in self.prequal.targets(SERVERS.into(), due) {
                self.after(now + ms(1), Event::Probed { server: u16::try_from(position).unwrap() });
            }
            let penalty = |server: ServerId| {
                let penalty = self.p2c.penalty(&self.stats[usize::from(server.slot())], now);
                Some(if self.averse { penalty } else { Micros::ZERO })
            };
            let chosen = if let Some(server) = self.prequal.choose(now, penalty) {
                self.prequal.commit(server);
                server.slot()
            } else {
                others += 1;
                let chosen = self.rng.u16(0..SERVERS);
                self.prequal.sent(server(chosen));
                chosen
            };
            counts[usize::from(chosen)] += 1;
            self.send(now, chosen);
        }
        self.now = start + Micros::from_secs(seconds);
        let share = |count: u32| f64::from(count) / (seconds * calls) as f64;
        (counts.map(share), share(others))
    }

    fn send(&mut self, now: Instant, chosen: u16) {
        let before = self.loads[usize::from(chosen)].started();
        let failed = self.sick && chosen == FAILING;
        let takes = match chosen {
            FAILING if failed => ms(0),
            SLOW if self.sick => ms(100),
            _ => ms(10),
        };
        let worker = self.free_at[usize::from(chosen)].iter_mut().min().unwrap();
        *worker = now.max(*worker) + takes;
        let end = *worker + Micros::from_micros(200);
        self.after(end, Event::Answered { server: chosen, before, began: now, failed });
    }

    fn settle(&mut self, now: Instant) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), event) = entry.remove_entry();
            match event {
                Event::Probed { server: index } => {
                    let answer = self.loads[usize::from(index)].answer(at);
                    self.prequal.probed(at, SERVERS.into(), server(index), answer);
                }
                Event::Answered { server, before, began, failed } => {
                    // A server counts its failures as responses here. So a server that fails fast looks good in its
                    // answers to probes.
                    self.loads[usize::from(server)].finished(at, before, at.since(began));
                    let latency = at.micros_since(began);
                    let feedback = if failed { Feedback::Failure { latency } } else { Feedback::Success { latency } };
                    self.p2c.feedback(&self.stats[usize::from(server)], at, feedback, TIMEOUT);
                    if !failed {
                        self.latencies.push(latency);
                    }
                }
            }
        }
    }

    fn percentile(&mut self, percent: usize) -> Micros {
        self.latencies.sort_unstable();
        self.latencies[self.latencies.len() * percent / 100]
    }
}

#[test]
fn a_slow_server_and_one_that_fails_draw_little_and_are_back_soon() {
    for seed in 1..3 {
        let mut world = World::new(seed);
        world.run(2, 2_000);
        world.latencies.clear();
        let (shares, others) = world.run(10, 2_000);
        let (slow, failing) = (shares[usize::from(SLOW)], shares[usize::from(FAILING)]);
        assert!(slow < 0.02, "slow: {shares:?}, seed {seed}");
        assert!(failing < 0.002, "failing: {shares:?}, seed {seed}");
        assert!(others < 0.01, "{others} without a choice, seed {seed}");
        assert_eq!(shares.iter().filter(|share| **share > 0.09).count(), 8, "{shares:?}, seed {seed}");
        let p99 = world.percentile(99);
        assert!(p99 < ms(20), "{p99}, seed {seed}");
        world.sick = false;
        world.run(10, 2_000);
        let (shares, _) = world.run(2, 2_000);
        assert!(shares[usize::from(FAILING)] > 0.09, "back: {shares:?}, seed {seed}");
        world.run(20, 2_000);
        let (shares, _) = world.run(2, 2_000);
        assert!(shares.iter().all(|share| *share > 0.08), "back: {shares:?}, seed {seed}");
    }
}

#[test]
fn without_aversion_a_server_that_fails_fast_is_a_sinkhole() {
    let mut world = World::new(1);
    world.averse = false;
    let (shares, _) = world.run(5, 2_000);
    assert!(shares[usize::from(FAILING)] > 0.5, "{shares:?}");
}

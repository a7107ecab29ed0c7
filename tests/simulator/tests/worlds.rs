//! Worlds at random, and one by design. A million calls are the part of the crate's program.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use hedge_core::balance::AnyBalancer;
use hedge_core::outcome::End;
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions};
use hedge_core::time::{Duration, Instant};
use hedge_simulator::storm::{storm, world};
use hedge_simulator::{CallPlan, Change, Faults, Latency, Line, ServerModel, SimPolicy, World};

#[test]
fn no_promise_is_broken_in_random_worlds_and_everything_happens() {
    const SEED: u64 = 7;
    println!("seed {SEED}");
    let coverage = storm(60_000, SEED).unwrap();
    assert_eq!(coverage.missing(), [""; 0]);
    assert!(coverage.calls() >= 60_000);
}

#[test]
fn two_runs_from_one_seed_are_identical_to_the_byte() {
    for seed in 0..20 {
        let bytes = || world(seed, true).unwrap().1.unwrap();
        assert_eq!(bytes(), bytes(), "seed {seed}");
    }
    assert_ne!(world(1, true).unwrap().1, world(2, true).unwrap().1);
}

/// Latencies in us, ascending, and the attempts of 10,000 calls on ten servers that stall on 5 % of the requests.
fn stalling_fleet(backup: BackupDelay) -> (Vec<u64>, usize) {
    let options = ChannelOptions { backup, ..ChannelOptions::brpc() };
    let line = Line::new(options, AnyBalancer::named("random", 1).unwrap(), SimPolicy::default(), 1);
    let base = Latency::LogNormal(Duration::from_micros(500), 0.5);
    let latency = Latency::Stalling { base: Box::new(base), stall: Duration::from_millis(20), probability: 0.05 };
    let servers = (0..10).map(|address| {
        line.apply(Change::Insert(address, 0), Instant::ZERO);
        ServerModel::new(latency.clone(), Faults::default(), 0)
    });
    let servers = servers.collect();
    let options = CallOptions::new();
    let plans: Vec<_> = (0..10_000)
        .map(|n| CallPlan { start: Instant::from_micros(n * 250), options: &options, cancel_at: None, drop_at: None })
        .collect();
    let (outcomes, _) = World::new(&line, servers, 42).run(&plans, &[]).unwrap();
    let mut latencies = Vec::new();
    let mut attempts = 0;
    for outcome in &outcomes {
        assert_eq!(outcome.report().end(), Some(End::Accepted));
        latencies.push(outcome.report().elapsed_micros().as_micros());
        attempts += outcome.report().attempts().len();
    }
    latencies.sort_unstable();
    (latencies, attempts)
}

#[test]
fn a_backup_after_2_ms_cuts_the_tail_of_a_stalling_fleet_for_few_requests() {
    let (plain, plain_attempts) = stalling_fleet(BackupDelay::OFF);
    let (hedged, attempts) = stalling_fleet(BackupDelay::after(Duration::from_millis(2)));
    let p99 = |latencies: &[u64]| latencies[latencies.len() * 99 / 100];
    assert_eq!(plain_attempts, 10_000);
    assert!(p99(&plain) > 20_000, "{}", p99(&plain));
    assert!(p99(&hedged) < 4_000, "{}", p99(&hedged));
    assert!(attempts <= 10_700, "{attempts}");
}

#[test]
fn a_queue_is_felt_by_those_who_come_later() {
    let options = ChannelOptions { max_retry: 0, ..ChannelOptions::brpc() };
    let line = Line::new(options, AnyBalancer::named("rr", 1).unwrap(), SimPolicy::default(), 1);
    line.apply(Change::Insert(0, 0), Instant::ZERO);
    let servers = vec![ServerModel::new(Latency::Constant(Duration::from_millis(10)), Faults::default(), 1)];
    let options = CallOptions::new();
    let plan = CallPlan { start: Instant::ZERO, options: &options, cancel_at: None, drop_at: None };
    let (outcomes, _) = World::new(&line, servers, 1).run(&[plan; 3], &[]).unwrap();
    let elapsed: Vec<u64> = outcomes.iter().map(|outcome| outcome.report().elapsed_micros().as_millis()).collect();
    assert_eq!(elapsed, [10, 20, 30]);
}

use std::collections::BTreeMap;
use std::sync::Arc;

use hedge_core::config::ServerLimits;
use hedge_core::limit::LimitOptions;
use hedge_core::outcome::Kind;
use hedge_core::time::Duration;

use crate::CallOptions;
use crate::testing::Line;
use crate::testing_calls::{Held, Polled, after_one_failure};

const SEED: u64 = 11;

/// The length of the slow start, in milliseconds.
const WINDOW: u64 = 10_000;

const BALANCERS: [&str; 8] = ["rr", "wrr", "random", "wr", "la", "p2c", "prequal", "c_murmurhash"];

const SLOW: ServerLimits = ServerLimits { slow_start: Some(Duration::from_millis(WINDOW)), ..ServerLimits::NONE };

/// Makes `count` picks, spread evenly over `span` milliseconds. Returns how many picks each server got.
fn picks(line: &Arc<Line>, random: &mut fastrand::Rng, from: u64, span: u64, count: u64) -> BTreeMap<u16, u64> {
    let mut picked = BTreeMap::new();
    for number in 0..count {
        line.clock.set(from + span * number / count);
        *picked.entry(line.pick(random, true).unwrap()).or_default() += 1;
    }
    picked
}

fn share(picked: &BTreeMap<u16, u64>, server: u16) -> f64 {
    let all: u64 = picked.values().sum();
    *picked.get(&server).unwrap_or(&0) as f64 / all as f64
}

/// Checks the share of a server in each tenth of the window. The server's ramp begins now. `full` is the full share of
/// the server.
fn assert_ramps(line: &Arc<Line>, random: &mut fastrand::Rng, server: u16, full: f64, balancer: &str) {
    const PICKS: u64 = 4_000;
    let (fixed, relative) = match balancer {
        // `p2c` and `prequal` prefer the faster of two servers, and the latencies here are random.
        "p2c" | "prequal" => (0.1, 0.5),
        // `la` compares the latencies of servers, which are random here.
        "la" => (0.08, 0.3),
        _ => (0.05, 0.15),
    };
    let start = line.clock.millis();
    for tenth in 0..12 {
        let seen = share(&picks(line, random, start + tenth * WINDOW / 10, WINDOW / 10, PICKS), server) / full;
        let expected = (0.1 + 0.9 * (tenth as f64 + 0.5) / 10.0).min(1.0);
        let tolerance = fixed + relative * expected;
        assert!(
            (seen - expected).abs() < tolerance,
            "{balancer}, tenth {tenth}: {seen:.3} of a share, not {expected:.3}"
        );
    }
    line.clock.set(start + 12 * WINDOW / 10);
}

/// Makes a channel with servers 1 to `servers`. Its balancer has learned the latencies of all of them.
fn line(balancer: &str, servers: u16, random: &mut fastrand::Rng) -> Arc<Line> {
    let all: Vec<u16> = (1..=servers).collect();
    let line = Line::with(balancer, SEED, &all, |setup| {
        setup.server_limits = SLOW;
        setup.breaker = Some(after_one_failure());
    });
    picks(&line, random, 0, 20_000, 4_000);
    line.clock.set(20_000);
    line
}

/// Returns the share of the calls that a server gets without slow start. On a hash ring, the servers do not get equal
/// shares, so the share is measured.
fn full_share(balancer: &str, servers: u16, server: u16) -> f64 {
    if balancer != "c_murmurhash" {
        return 1.0 / f64::from(servers);
    }
    let mut random = fastrand::Rng::with_seed(!SEED);
    let whole = line(balancer, servers, &mut random);
    share(&picks(&whole, &mut random, 20_000, 1, 40_000), server)
}

#[test]
fn s11_the_share_of_a_new_server_follows_the_ramp() {
    println!("seed {SEED}");
    for balancer in BALANCERS {
        let mut random = fastrand::Rng::with_seed(SEED);
        let line = line(balancer, 7, &mut random);
        line.set(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_ramps(&line, &mut random, 8, full_share(balancer, 8, 8), balancer);
    }
}

#[test]
fn s11_the_share_of_a_server_that_returns_follows_the_ramp() {
    println!("seed {SEED}");
    for balancer in ["rr", "wrr", "wr", "la", "p2c"] {
        let mut random = fastrand::Rng::with_seed(SEED);
        let line = line(balancer, 8, &mut random);
        line.set_broken(3, true);
        line.clock.set(23_000);
        assert_eq!(share(&picks(&line, &mut random, 23_000, 0, 100), 3), 0.0);
        line.set_broken(3, false);
        assert_ramps(&line, &mut random, 3, 1.0 / 8.0, balancer);
        // The same is true for a server that was withdrawn by hand and is put back.
        line.servers.set_usable(&line.node(5), false, line.now());
        line.servers.set_usable(&line.node(5), true, line.now());
        assert_ramps(&line, &mut random, 5, 1.0 / 8.0, balancer);
    }
}

#[test]
fn s11_a_probe_that_succeeds_begins_the_ramp() {
    println!("seed {SEED}");
    for balancer in ["rr", "wr", "p2c"] {
        let mut random = fastrand::Rng::with_seed(SEED);
        let line = line(balancer, 8, &mut random);
        let failed = line.pick(&mut random, false).unwrap();
        assert_eq!(share(&picks(&line, &mut random, 20_000, 0, 200), failed), 0.0, "{balancer}: isolated");
        // At 80 s the isolation is over, and the penalty that `p2c` gives a failed server has faded.
        line.clock.set(80_000);
        // The balancer chooses the server for the probe in the usual way, so this may take several picks.
        let probed = (0..1_000).any(|_| line.pick(&mut random, true) == Some(failed));
        assert!(probed, "{balancer}");
        assert_ramps(&line, &mut random, failed, 1.0 / 8.0, balancer);
    }
}

#[test]
fn s11_first_lists_and_lists_in_which_all_ramp_are_not_thinned() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    for balancer in BALANCERS {
        let line = Line::new(balancer, SEED, &[1, 2], SLOW);
        let is_even = !["p2c", "prequal", "c_murmurhash"].contains(&balancer);
        let first = picks(&line, &mut random, 0, 1, 2_000);
        if is_even {
            assert!((share(&first, 1) - 0.5).abs() < 0.06, "{balancer}: {first:?}");
        }
        line.set(&[3]);
        assert_eq!(picks(&line, &mut random, 1, 1, 100), BTreeMap::from([(3, 100)]), "{balancer}: the only server");
        line.clock.set(5_000);
        line.set(&[3, 4]);
        let both = picks(&line, &mut random, 5_000, 1, 2_000);
        if is_even {
            assert!((share(&both, 4) - 0.5).abs() < 0.1, "{balancer}: {both:?}");
        }
    }
}

#[test]
fn s11_the_others_being_down_or_full_a_server_takes_calls_whatever_its_share() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let limits = ServerLimits { max_in_flight_per_server: Some(1), ..SLOW };
    let line = Line::new("p2c", SEED, &[1], limits);
    line.set(&[1, 2]);
    let held = Held::default();
    let mut working = None;
    while held.servers().last() != Some(&1) {
        working = Some(Polled::waits(&line, CallOptions::new(), &held));
        if held.servers().last() == Some(&2) {
            held.answer(held.servers().len() - 1, true);
            assert!(working.take().unwrap().end().0.is_ok());
        }
    }
    assert_eq!(picks(&line, &mut random, 1, 1, 100), BTreeMap::from([(2, 100)]), "the other is full");
    held.answer(held.servers().len() - 1, true);
    assert!(working.unwrap().end().0.is_ok());
    line.set_broken(1, true);
    assert_eq!(picks(&line, &mut random, 2, 1, 100), BTreeMap::from([(2, 100)]), "the other is down");
}

#[test]
fn s11_retries_and_backups_reach_the_server_that_is_left() {
    for balancer in ["rr", "p2c", "la", "wr"] {
        let line = Line::with(balancer, SEED, &[1], |setup| {
            setup.server_limits = SLOW;
            setup.limits = LimitOptions::NONE;
        });
        line.set(&[1, 2]);
        let mut first_at_2 = 0;
        for call in 0..200 {
            let held = Held::default();
            let options = CallOptions { max_retry: Some(1), ..CallOptions::new() };
            let options = if call % 2 == 0 { options } else { options.with_backup(std::time::Duration::ZERO) };
            let mut polled = Polled::waits(&line, options, &held);
            if call % 2 == 0 {
                held.answer(0, false);
                assert!(polled.poll().is_none());
            }
            let servers = held.servers();
            assert_eq!((servers.len(), servers[0] + servers[1]), (2, 3), "{balancer}: {servers:?}");
            first_at_2 += u32::from(servers[0] == 2);
            held.answer(1, true);
            let (result, report) = polled.end();
            assert_eq!(result, Ok(servers[1]));
            let kind = if call % 2 == 0 { Kind::Retry } else { Kind::Backup };
            assert_eq!(report.attempts()[1].kind(), kind);
        }
        assert!(first_at_2 < 60, "{balancer}: {first_at_2} first attempts at the server that has just come");
    }
}

//! Tests that equal servers share the calls, and that a server that has left the list is forgotten.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::time::Duration;

const SEED: u64 = 7;
const CALLS: u64 = 4_000;

fn pool() -> ProbePool {
    ProbePool::new(PrequalOptions::DEFAULT, SEED)
}

/// Returns how many calls of one client go to each of `servers` servers. The servers are idle whenever they are probed,
/// and take the same time for every call. Their answers come one microsecond apart, in the order that `arrive` makes.
fn idle(servers: u16, arrive: impl Fn(&mut Vec<u32>)) -> Vec<u64> {
    let pool = pool();
    let mut counts = std::vec![0; servers.into()];
    for call in 0..CALLS {
        let now = Instant::from_millis(10 * call);
        let due = pool.call_started(now);
        let chosen = pool.choose(now, |_| Some(Micros::ZERO));
        chosen.inspect(|chosen| pool.commit(*chosen));
        let mut targets: Vec<u32> = pool.targets(servers.into(), due).collect();
        arrive(&mut targets);
        for (after, position) in (0..).zip(targets) {
            let answer = ProbeAnswer { in_flight: 0, latency: Duration::from_millis(5) };
            let server = ServerId::new(u16::try_from(position).unwrap(), 0);
            pool.probed(now + Micros::from_micros(after), servers.into(), server, answer);
        }
        if let Some(chosen) = chosen {
            counts[usize::from(chosen.slot())] += 1;
        }
    }
    counts
}

#[test]
fn idle_servers_that_are_alike_get_equal_shares() {
    for servers in [2, 3, 4, 8, 20] {
        let counts = idle(servers, |_| {});
        let fair = CALLS / u64::from(servers);
        assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 5), "{counts:?}, seed {SEED}");
    }
}

#[test]
fn a_server_whose_answer_is_always_the_last_or_the_first_gets_no_more_than_the_others() {
    for servers in [2, 3, 4, 8, 20] {
        for first in [true, false] {
            let counts = idle(servers, |targets| {
                targets.sort_unstable();
                if first {
                    targets.reverse();
                }
            });
            let fair = CALLS / u64::from(servers);
            let most = counts.iter().max().copied().unwrap();
            // The server that answers first always has the oldest probe, and the paper's removals remove the oldest
            // probe more often.
            assert!(most < fair * 3 / 2, "{counts:?}, seed {SEED}");
        }
    }
}

#[test]
fn every_order_of_the_targets_is_as_likely() {
    let pool = pool();
    let mut counts = BTreeMap::<Vec<u32>, u32>::new();
    let draws = 60_000;
    (0..draws).for_each(|_| *counts.entry(pool.targets(5, 3).collect()).or_default() += 1);
    assert_eq!(counts.len(), 60, "sequences of 3 of 5");
    for (order, count) in counts {
        assert!(count.abs_diff(draws / 60) < 200, "{order:?}: {count}, seed {SEED}");
    }
}

#[test]
fn l20_the_probe_of_a_server_that_has_left_is_not_that_of_another_with_its_id() {
    let pool = pool();
    let answer = |ms| ProbeAnswer { in_flight: 1, latency: Duration::from_millis(ms) };
    let now = Instant::ZERO;
    for (slot, ms) in [(0, 1), (1, 20), (2, 30)] {
        pool.probed(now, 3, ServerId::new(slot, 0), answer(ms));
    }
    let chosen = || pool.choose(now, |_| Some(Micros::ZERO)).map(ServerId::slot);
    assert_eq!(chosen(), Some(0));
    pool.retain(|server| server.slot() != 0);
    assert_eq!((chosen(), pool.len(now)), (Some(1), 2), "whoever has that id now");
}

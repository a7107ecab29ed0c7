use std::sync::Arc;

use hedge_core::balance::Balancer as _;
use hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_core::config::ServerLimits;
use hedge_core::health::RecoveryOptions;
use hedge_core::id::AttemptId;
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::time::{Duration, Micros, Timeout};

use crate::testing::Line;
use crate::testing_calls::after_one_failure;
use crate::{Balancer, Setup};

const SEED: u64 = 3;

const ONE_EACH: ServerLimits = ServerLimits { max_in_flight_per_server: Some(1), ..ServerLimits::NONE };

/// Returns the keys of the servers that the groups of a channel's balancer use.
fn used(line: &Line) -> Vec<u16> {
    let snapshot = line.servers.load();
    let Balancer::Grouped(groups) = snapshot.balancer() else { panic!("a balancer within groups") };
    groups.grouped().used().map(|position| *snapshot.list().nodes()[position].key()).collect()
}

#[test]
fn s9_an_isolated_server_is_still_marked_after_a_change_of_the_list() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let line: Arc<Line> = Line::with("subset:size=3 id=1 of=rr", SEED, &[1, 2, 3, 4, 5, 6, 7, 8], |setup| {
        setup.breaker = Some(after_one_failure());
    });
    line.clock.set(200_000);
    assert_eq!(used(&line).len(), 3);
    let failed = line.pick(&mut random, false).unwrap();
    line.clock.set(200_010);
    line.pick(&mut random, true).unwrap();
    let before = used(&line);
    assert!(before.len() == 4 && before.contains(&failed), "one server of the reserve is used as well: {before:?}");
    // The new list lacks one server that the balancer did not use.
    let last = (1..=8).rev().find(|key| !before.contains(key)).unwrap();
    let keys: Vec<u16> = (1..=8).filter(|key| *key != last).collect();
    line.set(&keys);
    let after = used(&line);
    assert!(after.len() == 4 && after.contains(&failed), "{failed}: {before:?}, then {after:?}");
}

/// Makes a channel with 20 servers, of which the client uses a subset of 3, with 3 more as the reserve.
fn of_twenty(set: impl FnOnce(&mut Setup)) -> (Arc<Line>, Vec<u16>) {
    let keys: Vec<u16> = (1..=20).collect();
    let line = Line::with("subset:size=3 id=1 of=rr", SEED, &keys, set);
    line.clock.set(200_000);
    let snapshot = line.servers.load();
    let may_choose: Vec<u16> = snapshot.choosable().map(|node| *node.key()).collect();
    drop(snapshot);
    assert_eq!(may_choose.len(), 6, "the subset and its reserve");
    (line, may_choose)
}

#[test]
fn h4_a_breaker_leaves_a_share_of_the_subset_and_not_only_of_the_list() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let (line, mine) = of_twenty(|setup| setup.breaker = Some(after_one_failure()));
    for ms in 0..200 {
        line.clock.set(200_000 + ms);
        let failed = line.pick(&mut random, false).expect("a share of the subset stays selectable");
        assert!(mine.contains(&failed), "{failed} is not among {mine:?}");
        let snapshot = line.servers.load();
        assert!(snapshot.usable(line.now()) >= 3, "half of six");
    }
    // A change of the list can put isolated servers into a smaller list. The share of that list stays selectable too.
    let isolated = |key: &u16| line.servers.load().health().is_isolated(line.node(*key).health());
    let down: Vec<u16> = mine.iter().copied().filter(isolated).collect();
    assert_eq!(down.len(), 3);
    line.set(&down);
    assert_eq!(line.servers.load().usable(line.now()), 2, "half of three, rounded up");
}

#[test]
fn h5_while_the_whole_subset_is_broken_one_call_in_100_ms_tries_the_server_that_broke_first() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let (line, mine) = of_twenty(|_| {});
    for key in &mine {
        line.set_broken(*key, true);
    }
    assert_eq!(line.pick(&mut random, true), None, "all other servers are usable, but the client does not use them");
    line.clock.set(200_200);
    let found = line.pick(&mut random, true).expect("the last resort");
    assert!(mine.contains(&found), "{found} is not among {mine:?}");
    assert!(!line.node(found).health().is_broken(), "its success brings it back");
}

#[test]
fn h3_a_recovery_counts_the_usable_servers_of_the_subset() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let options = RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_secs::<3>() };
    let (line, mine) = of_twenty(|setup| setup.recovery = Some(options));
    for key in &mine {
        line.set_broken(*key, true);
    }
    assert_eq!(line.pick(&mut random, true), None);
    line.set_broken(mine[0], false);
    let admitted = (0..1_000).filter(|_| line.pick(&mut random, true).is_some()).count();
    assert!((200..300).contains(&admitted), "one of four servers is back: {admitted} of 1000, seed {SEED}");
}

#[test]
fn l22_room_is_room_at_a_server_of_the_subset() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let (line, mine) = of_twenty(|setup| setup.server_limits = ONE_EACH);
    assert!(line.servers.load().has_room(line.now()));
    for key in &mine {
        assert!(line.node(*key).start());
    }
    assert!(!line.servers.load().has_room(line.now()), "the other servers have room, but the client does not use them");
    assert_eq!(line.pick(&mut random, true), None);
}

#[test]
fn s9_the_draws_of_a_slow_start_do_not_mark_servers_as_unusable() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let slow_start = Some(Duration::from_secs(100));
    let (line, mine) = of_twenty(|setup| setup.server_limits = ServerLimits { slow_start, ..ServerLimits::NONE });
    let before = used(&line);
    // Two servers of the subset have just returned, so most searches skip them.
    for key in mine.iter().filter(|key| before.contains(key)).take(2) {
        line.set_broken(*key, true);
        line.set_broken(*key, false);
    }
    for ms in 1..200 {
        line.clock.set(200_000 + 2 * ms);
        line.pick(&mut random, true).unwrap();
        assert_eq!(used(&line), before, "after {ms} calls");
    }
}

#[test]
fn s9_a_full_server_is_still_marked_after_a_change_of_the_list() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let (line, mine) = of_twenty(|setup| setup.server_limits = ONE_EACH);
    let full = used(&line)[0];
    assert!(line.node(full).start());
    line.clock.set(200_010);
    line.pick(&mut random, true).unwrap();
    let before = used(&line);
    assert!(before.len() == 4 && before.contains(&full), "one server of the reserve is used as well: {before:?}");
    let last = (1..=20).rev().find(|key| !mine.contains(key)).unwrap();
    line.set(&(1..=20).filter(|key| *key != last).collect::<Vec<u16>>());
    let after = used(&line);
    assert!(after.len() == 4 && after.contains(&full), "{full}: {before:?}, then {after:?}");
}

#[test]
fn s9_the_servers_that_may_be_chosen_are_found_without_a_pass_over_the_list() {
    let (line, mine) = of_twenty(|_| {});
    let snapshot = line.servers.load();
    assert_eq!(snapshot.balancer().choosable().map(<[u32]>::len), Some(6));
    let slots = snapshot.list().nodes().iter().filter(|node| snapshot.balancer().may_choose(node.id().slot()));
    let mut by_slot: Vec<u16> = slots.map(|node| *node.key()).collect();
    let mut mine = mine;
    by_slot.sort_unstable();
    mine.sort_unstable();
    assert_eq!(by_slot, mine);
}

#[test]
fn s9_only_a_server_of_the_subset_counts_as_usable_for_the_channel() {
    let (line, mine) = of_twenty(|_| {});
    assert!(line.servers.any_usable(line.now()));
    for key in &mine {
        line.set_broken(*key, true);
    }
    assert!(!line.servers.any_usable(line.now()), "the client does not use the other servers");
}

#[test]
fn h4_s8_a_call_that_names_a_server_outside_the_subset_counts_it_among_all_servers() {
    let (line, mine) = of_twenty(|setup| setup.breaker = Some(after_one_failure()));
    let others: Vec<u16> = (1..=20).filter(|key| !mine.contains(key)).collect();
    for key in &others {
        let (node, latency) = (line.node(*key), Micros::from_millis(1));
        let (server, at) = (node.id(), line.now());
        let sent = SentAttempt { server, at, attempt: AttemptId::FIRST, max_retry: 0, timeout: Timeout::NEVER };
        line.servers.learn(&node, &sent.finished(at + latency, Feedback::Failure { latency }, Code::NONE));
    }
    let isolated = |key: &&u16| line.servers.load().health().is_isolated(line.node(**key).health());
    assert_eq!(others.iter().filter(isolated).count(), 10, "half of twenty");
    assert_eq!(mine.iter().filter(isolated).count(), 0);
}

#[test]
fn s9_s11_the_reserve_does_not_get_the_calls_that_a_ramping_subset_holds_back() {
    println!("seed {SEED}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let slow_start = Some(Duration::from_secs(100));
    let (line, _) = of_twenty(|setup| setup.server_limits = ServerLimits { slow_start, ..ServerLimits::NONE });
    let subset = used(&line);
    for key in &subset {
        line.set_broken(*key, true);
        line.set_broken(*key, false);
    }
    for ms in 1..1_000 {
        line.clock.set(200_000 + ms);
        let picked = line.pick(&mut random, true).unwrap();
        assert!(subset.contains(&picked), "{picked} is not among {subset:?}");
    }
}

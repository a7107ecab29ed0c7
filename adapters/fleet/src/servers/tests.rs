use std::sync::Arc;

use crate::Balancer;
use crate::testing::Line;
use crate::testing_calls::after_one_failure;

const SEED: u64 = 3;

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
    // The same list, but the last server is another one.
    let last = (1..=8).rev().find(|key| !before.contains(key)).unwrap();
    let keys: Vec<u16> = (1..=8).filter(|key| *key != last).collect();
    line.set(&keys);
    let after = used(&line);
    assert!(after.len() == 4 && after.contains(&failed), "{failed}: {before:?}, then {after:?}");
}

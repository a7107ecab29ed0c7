//! Rings against what they are defined as: all points sorted, the first at or behind a code.

extern crate std;

use core::cell::Cell;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::balance::hash::{md5_words, murmur3_32};

/// Room for 64 servers.
type Ring64 = FixedRing<6_400>;

fn endpoint(n: usize) -> String {
    format!("10.{}.{}.{}:8833", n % 7, n / 7, n % 251)
}

/// A ring of servers in the slots that they have in the list; canonical is the order of their endpoints.
fn ring<S: RingStorage>(hash: RingHash, replicas: u16, endpoints: &[String]) -> Ring<S> {
    let mut ring = Ring::new(hash, replicas).unwrap();
    for (slot, endpoint) in (0..).zip(endpoints) {
        ring.insert(slot, endpoint, |other| endpoints[usize::from(other)] < *endpoint).unwrap();
    }
    ring
}

/// The points of the same ring, all sorted at once.
fn sorted(hash: RingHash, replicas: u16, endpoints: &[String]) -> Vec<(u32, &str)> {
    let points = endpoints.iter().flat_map(|endpoint| {
        let points = move |i: u16| match hash {
            RingHash::Murmur => Vec::from([murmur3_32(format!("{endpoint}-{i}").as_bytes())]),
            RingHash::Md5 => Vec::from(&md5_words(format!("{endpoint}-{i}").as_bytes())[..1]),
            RingHash::Ketama => Vec::from(md5_words(format!("{endpoint}-{i}").as_bytes())),
        };
        (0..replicas / hash.points_a_key()).flat_map(points).map(|hash| (hash, endpoint.as_str()))
    });
    let mut points: Vec<_> = points.collect();
    points.sort_unstable();
    points
}

fn named<'e, S: RingStorage>(ring: &Ring<S>, endpoints: &'e [String]) -> Vec<(u32, &'e str)> {
    ring.points().iter().map(|point| (point.hash, endpoints[usize::from(point.slot)].as_str())).collect()
}

fn endpoints(n: usize) -> Vec<String> {
    (0..n).map(endpoint).collect()
}

/// The index of the first point at or behind a code, one by one.
fn first(points: &[Point], code: u32) -> usize {
    points.iter().position(|point| point.hash >= code).unwrap_or(0)
}

fn every_lookup_finds_the_first_point_at_or_behind<S: RingStorage>(endpoints: &[String]) {
    let ring: Ring<S> = ring(RingHash::Murmur, REPLICAS, endpoints);
    let points = ring.points();
    let near = points.iter().flat_map(|point| [point.hash.wrapping_sub(1), point.hash, point.hash.wrapping_add(1)]);
    for code in near.chain([0, 1, 1 << 31, u32::MAX - 1, u32::MAX]) {
        let at = ring.lookup(code);
        assert_eq!(at, first(points, code), "code {code} of {} points", points.len());
        assert_eq!(ring.walk(code).next(), points.get(at).map(|point| point.slot));
    }
}

#[test]
fn s5_points_are_those_of_all_keys_in_order() {
    let endpoints = ["10.92.115.19:8833", "[2408:871a:2100:3:0:ff:b025:348d]:8833", "unix:test.sock", "10.0.0.1:80"];
    let endpoints = endpoints.map(ToString::to_string);
    for hash in RingHash::ALL {
        // From one point a server to several batches.
        for replicas in [4, 100, 128, 160, 1_000] {
            let ring: Ring64 = ring(*hash, replicas, &endpoints);
            assert_eq!(named(&ring, &endpoints), sorted(*hash, replicas, &endpoints), "{hash:?} {replicas}");
        }
    }
}

#[test]
fn s5_a_code_belongs_to_the_first_point_at_or_behind_it() {
    every_lookup_finds_the_first_point_at_or_behind::<Fixed<6_400>>(&endpoints(1));
    every_lookup_finds_the_first_point_at_or_behind::<Fixed<6_400>>(&endpoints(20));
    #[cfg(feature = "alloc")]
    for servers in [0, 1, 2, 3, 20] {
        every_lookup_finds_the_first_point_at_or_behind::<Heap>(&endpoints(servers));
    }
}

#[test]
fn s5_an_empty_ring_has_no_server_for_any_code() {
    let ring: FixedRing<0> = Ring::new(RingHash::Md5, REPLICAS).unwrap();
    assert_eq!((ring.lookup(7), ring.walk(7).next(), ring.arcs().next()), (0, None, None));
}

#[test]
fn s5_a_walk_goes_once_around() {
    let ring: Ring64 = ring(RingHash::Ketama, 8, &endpoints(5));
    let slots: Vec<u16> = ring.points().iter().map(|point| point.slot).collect();
    for (at, point) in ring.points().iter().enumerate() {
        let walked: Vec<u16> = ring.walk(point.hash).collect();
        assert_eq!(walked, [&slots[at..], &slots[..at]].concat());
        assert_eq!(ring.walk(point.hash).size_hint(), (40, Some(40)));
    }
}

#[test]
fn s5_a_server_that_goes_moves_only_its_own_codes_to_where_a_walk_went() {
    let endpoints = endpoints(20);
    let before: Ring64 = ring(RingHash::Murmur, REPLICAS, &endpoints);
    let mut after = before.clone();
    assert!(after.remove(7));
    assert!(!after.remove(7));
    for code in (0..u32::MAX).step_by(1 << 18) {
        assert_eq!(before.walk(code).find(|slot| *slot != 7), after.walk(code).next());
    }
    after.insert(7, &endpoints[7], |other| endpoints[usize::from(other)] < endpoints[7]).unwrap();
    assert_eq!(after.points(), before.points());
}

/// Servers come and go in any order, in whatever slots are free: the ring is that of the servers that are there.
fn a_ring_forgets_its_history<S: RingStorage>(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let hash = RingHash::ALL[rng.usize(..RingHash::ALL.len())];
    let replicas = 4 * rng.u16(1..50);
    let mut ring: Ring<S> = Ring::new(hash, replicas).unwrap();
    let mut slots: BTreeMap<u16, String> = BTreeMap::new();
    for _ in 0..40 {
        let slot = rng.u16(..16);
        if slots.remove(&slot).is_some() {
            assert!(ring.remove(slot));
        } else {
            let endpoint = endpoint(usize::from(slot) * 1_000 + rng.usize(..1_000));
            ring.insert(slot, &endpoint, |other| slots[&other] < endpoint).unwrap();
            slots.insert(slot, endpoint);
        }
        let there: Vec<String> = slots.values().cloned().collect();
        let points: Vec<_> = ring.points().iter().map(|point| (point.hash, slots[&point.slot].as_str())).collect();
        assert_eq!(points, sorted(hash, replicas, &there), "seed {seed}");
        let code = rng.u32(..);
        assert_eq!(ring.lookup(code), first(ring.points(), code), "seed {seed}");
    }
}

#[test]
fn s7_a_ring_forgets_the_order_in_which_servers_came_and_went() {
    for seed in 0..20 {
        a_ring_forgets_its_history::<Fixed<3_200>>(seed);
        #[cfg(feature = "alloc")]
        a_ring_forgets_its_history::<Heap>(seed);
    }
}

#[test]
fn s7_servers_whose_points_all_collide_stand_in_canonical_order_everywhere() {
    // Three servers that are written alike, as with different tags; canonical is the order of their ids.
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2]] {
        let mut ring: FixedRing<600> = Ring::new(RingHash::Md5, 200).unwrap();
        for (slot, id) in (0..).zip(order) {
            ring.insert(slot, "10.0.0.1:80", |other| order[usize::from(other)] < id).unwrap();
        }
        let ids: Vec<i32> = ring.points().iter().map(|point| order[usize::from(point.slot)]).collect();
        assert_eq!(ids, [0, 1, 2].repeat(200), "{order:?}");
    }
}

#[test]
fn arcs_are_the_codes_of_each_point() {
    let ring: Ring64 = ring(RingHash::Murmur, 3, &endpoints(4));
    let mut counted = BTreeMap::<u16, u64>::new();
    for (slot, codes) in ring.arcs() {
        *counted.entry(slot).or_default() += codes;
    }
    assert_eq!(counted.values().sum::<u64>(), 1 << 32);
    let mut expected = BTreeMap::<u16, u64>::new();
    for code in (0..u32::MAX).step_by(1 << 12) {
        *expected.entry(ring.walk(code).next().unwrap()).or_default() += 1 << 12;
    }
    for (slot, codes) in counted {
        assert!(codes.abs_diff(expected[&slot]) <= 3 << 12, "slot {slot}");
    }
}

#[test]
fn a_single_point_has_the_whole_ring() {
    let ring: FixedRing<1> = ring(RingHash::Murmur, 1, &endpoints(1));
    assert!(ring.arcs().eq([(0, 1 << 32)]));
    assert!([0, u32::MAX].iter().all(|code| ring.walk(*code).eq([0])));
}

#[test]
fn what_cannot_be_inserted_changes_nothing() {
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("10.0")?;
            Err(fmt::Error)
        }
    }
    let mut ring: FixedRing<250> = ring(RingHash::Ketama, REPLICAS, &endpoints(2));
    let before = ring.points().to_vec();
    let full = RingError::Full { points: 300, capacity: 250 };
    assert_eq!(ring.insert(2, "10.0.0.1:80", |_| true), Err(full));
    assert_eq!(ring.insert(1, "10.0.0.1:80", |_| true), Err(RingError::Taken { slot: 1 }));
    assert_eq!(ring.insert(2, Mute, |_| true), Err(RingError::Endpoint { slot: 2 }));
    assert_eq!(ring.points(), before);
    assert_eq!(full.to_string(), "points 300: must be in [0, 250]");
}

#[test]
fn replicas_are_as_many_as_the_hash_can_give() {
    let new = |hash, replicas| FixedRing::<0>::new(hash, replicas).err().map(|error| error.to_string());
    assert_eq!(new(RingHash::Murmur, 1), None);
    assert_eq!(new(RingHash::Ketama, 8), None);
    assert_eq!(new(RingHash::Md5, 0).unwrap(), "replicas 0: must be in [1, 65535]");
    let four = "replicas 102: must be in [1, 65535] and a multiple of 4 for c_ketama";
    assert_eq!(new(RingHash::Ketama, 102).unwrap(), four);
}

#[test]
fn to_merge_does_not_sort_again() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut sorted = |count, slot| {
        let mut points: Vec<Point> = (0..count).map(|_| Point { hash: rng.u32(..), slot }).collect();
        points.sort_unstable_by_key(|point| point.hash);
        points
    };
    let (old, new) = (sorted(100_000, 0), sorted(100, 1));
    let mut points = [old.clone(), new.clone()].concat();
    let compared = Cell::new(0);
    merge(&mut points, old.len(), &new, |one, other| {
        compared.set(compared.get() + 1);
        one.hash < other.hash
    });
    assert!(points.is_sorted_by_key(|point| point.hash));
    assert!(points.iter().filter(|point| point.slot == 0).eq(&old));
    assert!(points.iter().filter(|point| point.slot == 1).eq(&new));
    // A binary search for each: to sort would take 1.7 million.
    assert!(compared.get() <= 100 * 18, "{} comparisons", compared.get());
}

#[test]
fn a_point_takes_8_bytes() {
    assert_eq!(size_of::<Point>(), 8);
}

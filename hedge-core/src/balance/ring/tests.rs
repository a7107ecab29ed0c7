//! Compares rings with their definition: all points are sorted, and a code belongs to the first point at or after the
//! code.

extern crate std;

use core::cell::Cell;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::balance::hash::{md5_words, murmur3_32};

/// A ring with room for 64 servers.
type Ring64 = FixedRing<6_400>;

fn endpoint(n: usize) -> String {
    format!("10.{}.{}.{}:8833", n % 7, n / 7, n % 251)
}

/// Makes a ring of servers. The slot of each server is its index in the list. The canonical order of the servers is the
/// order of their endpoints.
fn ring<S: RingStorage>(hash: RingHash, replicas: u16, endpoints: &[String]) -> Ring<S> {
    let mut ring = Ring::new(hash, replicas).unwrap();
    ring.insert_all((0..).zip(endpoints), order(endpoints)).unwrap();
    ring
}

/// Returns the canonical order of servers: the order of their `names`. The slot of a server is the index of its name.
fn order<T: Ord>(names: &[T]) -> impl Fn(u16, u16) -> Ordering {
    |one, other| names[usize::from(one)].cmp(&names[usize::from(other)])
}

/// Returns the points that the result of `ring` must have for the same arguments. This function computes them in
/// another way: it sorts all points at once.
fn sorted(hash: RingHash, replicas: u16, endpoints: &[String]) -> Vec<(u32, &str)> {
    let points = |endpoint| hashes(hash, replicas, endpoint).map(move |hash| (hash, endpoint));
    let mut points: Vec<_> = endpoints.iter().map(String::as_str).flat_map(points).collect();
    points.sort_unstable();
    points
}

/// Returns the hashes of a server's points, in the order of the point numbers.
fn hashes(hash: RingHash, replicas: u16, endpoint: &str) -> impl Iterator<Item = u32> {
    let hashes = move |i: u16| match hash {
        RingHash::Murmur => Vec::from([murmur3_32(format!("{endpoint}-{i}").as_bytes())]),
        RingHash::Md5 => Vec::from(&md5_words(format!("{endpoint}-{i}").as_bytes())[..1]),
        RingHash::Ketama => Vec::from(md5_words(format!("{endpoint}-{i}").as_bytes())),
    };
    (0..replicas / hash.points_a_key()).flat_map(hashes)
}

fn named<'e, S: RingStorage>(ring: &Ring<S>, endpoints: &'e [String]) -> Vec<(u32, &'e str)> {
    ring.points().iter().map(|point| (point.hash, endpoints[usize::from(point.slot)].as_str())).collect()
}

fn endpoints(n: usize) -> Vec<String> {
    (0..n).map(endpoint).collect()
}

/// Returns the index of the first point at or after a code, by linear search.
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
        // The smallest number of points for each server is 4: these are the points of one ketama key.
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
    after.insert(7, &endpoints[7], order(&endpoints)).unwrap();
    assert_eq!(after.points(), before.points());
}

/// Checks that a ring depends only on its present servers. Servers come and go in any order, in any free slots. At any
/// time the ring equals a new ring of the servers that are there.
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
            slots.insert(slot, endpoint.clone());
            ring.insert(slot, endpoint, |one, other| slots[&one].cmp(&slots[&other])).unwrap();
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
    // Three servers have one address, as if they had different tags. Their canonical order is the order of their ids.
    for ids in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2]] {
        let new = || FixedRing::<600>::new(RingHash::Md5, 200).unwrap();
        let (mut one_by_one, mut at_once) = (new(), new());
        for slot in 0..3 {
            one_by_one.insert(slot, "10.0.0.1:80", order(&ids)).unwrap();
        }
        at_once.insert_all((0..3).map(|slot| (slot, "10.0.0.1:80")), order(&ids)).unwrap();
        for ring in [one_by_one, at_once] {
            let there: Vec<i32> = ring.points().iter().map(|point| ids[usize::from(point.slot)]).collect();
            assert_eq!(there, [0, 1, 2].repeat(200), "{ids:?}");
        }
    }
}

/// Checks that adding many servers at once gives the same ring as adding them one by one. Servers come in groups of any
/// size and order, some at the same address, and some servers leave. At any time the ring equals the sorted points of
/// the servers that are there, and also the ring to which they were added one by one.
fn many_at_once_are_as_one_by_one<S: RingStorage + Clone>(seed: u64) -> Vec<Point> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let hash = RingHash::ALL[rng.usize(..RingHash::ALL.len())];
    let replicas = 4 * rng.u16(1..20);
    // The slots of the servers come from the whole range of slots. There are few endpoints, so some servers share one.
    // An id distinguishes such servers.
    let mut slots: Vec<u16> = (0..40).map(|slot| slot * 1_600 + rng.u16(..1_600)).collect();
    let mut ids: Vec<usize> = (0..slots.len()).collect();
    rng.shuffle(&mut ids);
    let servers: BTreeMap<u16, (String, usize)> =
        slots.iter().zip(&ids).map(|(slot, id)| (*slot, (endpoint(id % 25), *id))).collect();
    let order = |one: u16, other: u16| servers[&one].cmp(&servers[&other]);
    rng.shuffle(&mut slots);

    let mut at_once: Ring<S> = Ring::new(hash, replicas).unwrap();
    let mut one_by_one = at_once.clone();
    let (mut there, mut left): (Vec<u16>, &[u16]) = (Vec::new(), &slots);
    while !left.is_empty() {
        let (group, others) = left.split_at(rng.usize(..=left.len()));
        left = others;
        let named = group.iter().map(|slot| (*slot, &servers[slot].0));
        if rng.bool() {
            at_once.insert_all(named.clone(), order).unwrap();
        } else {
            // This iterator does not know how many servers it will return.
            at_once.insert_all(named.clone().filter(|(slot, _)| servers.contains_key(slot)), order).unwrap();
        }
        for (slot, endpoint) in named {
            one_by_one.insert(slot, endpoint, order).unwrap();
        }
        there.extend(group);
        let gone: Vec<u16> = there.iter().filter(|_| rng.u8(..4) == 0).copied().collect();
        there.retain(|slot| !gone.contains(slot));
        assert_eq!(at_once.retain_slots(|slot| !gone.contains(&slot)), !gone.is_empty(), "seed {seed}");
        for slot in gone {
            assert!(one_by_one.remove(slot), "seed {seed}");
        }

        let points = |slot| hashes(hash, replicas, &servers[&slot].0).map(move |hash| Point { hash, slot });
        let mut naive: Vec<Point> = there.iter().copied().flat_map(points).collect();
        naive.sort_by_key(|point| (point.hash, &servers[&point.slot]));
        assert_eq!(at_once.points(), naive, "seed {seed}");
        assert_eq!(one_by_one.points(), naive, "seed {seed}");
        let code = rng.u32(..);
        assert_eq!(at_once.lookup(code), first(&naive, code), "seed {seed}");
    }
    at_once.points().to_vec()
}

#[test]
fn s7_many_servers_at_once_are_as_one_by_one() {
    for seed in 0..30 {
        let fixed = many_at_once_are_as_one_by_one::<Fixed<3_040>>(seed);
        assert!(fixed.is_sorted_by_key(|point| point.hash), "seed {seed}");
        #[cfg(feature = "alloc")]
        assert_eq!(fixed, many_at_once_are_as_one_by_one::<Heap>(seed), "seed {seed}");
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
    fn nothing_else<S: RingStorage>() {
        let mut ring: Ring<S> = ring(RingHash::Ketama, REPLICAS, &endpoints(2));
        let before = ring.points().to_vec();
        let by_slot = |one: u16, other: u16| one.cmp(&other);
        let taken = |slot| Err(RingError::Taken { slot });
        assert_eq!(ring.insert(1, "10.0.0.1:80", by_slot), taken(1));
        assert_eq!(ring.insert(2, Mute, by_slot), Err(RingError::Endpoint { slot: 2 }));
        for (slots, slot) in [([7, 8, 7], 7), ([7, 60_000, 60_000], 60_000), ([7, 60_000, 0], 0), ([1, 8, 9], 1)] {
            assert_eq!(ring.insert_all(slots.map(|slot| (slot, slot)), by_slot), taken(slot), "{slots:?}");
        }
        assert_eq!(ring.points(), before);
        let code = 1 << 31;
        assert_eq!(ring.lookup(code), first(&before, code));
        // Servers that were refused leave no points behind.
        ring.insert_all([(7, "10.0.0.1:80"), (8, "10.0.0.2:80")], by_slot).unwrap();
        ring.retain_slots(|slot| slot < 2);
        assert_eq!(ring.points(), before);
    }
    nothing_else::<Fixed<500>>();
    #[cfg(feature = "alloc")]
    nothing_else::<Heap>();
}

#[test]
fn a_ring_that_is_full_stays_as_it_is() {
    let mut ring: FixedRing<350> = ring(RingHash::Ketama, REPLICAS, &endpoints(2));
    let before = ring.points().to_vec();
    let by_slot = |one: u16, other: u16| one.cmp(&other);
    let full = |points| RingError::Full { points, capacity: 350 };
    let servers = [2, 3, 4].map(|slot| (slot, slot));
    assert_eq!(ring.insert_all(servers, by_slot), Err(full(500)));
    // If the iterator knows its length, the error counts the points of all servers. Otherwise it counts the points up
    // to the first server that does not fit.
    assert_eq!(ring.insert_all(servers.into_iter().filter(|(slot, _)| *slot > 0), by_slot), Err(full(400)));
    assert_eq!(ring.points(), before);
    assert_eq!(full(400).to_string(), "points 400: the ring has room for 350");
    #[cfg(feature = "alloc")]
    {
        let mut ring = HeapRing::new(RingHash::Md5, REPLICAS).unwrap();
        let endless = core::iter::repeat((0, "10.0.0.1:80"));
        let full = RingError::Full { points: usize::MAX, capacity: 0 };
        assert_eq!(ring.insert_all(endless, by_slot), Err(full));
        assert_eq!(ring.points(), []);
    }
}

#[test]
fn no_servers_are_no_change() {
    let mut ring: Ring64 = ring(RingHash::Murmur, REPLICAS, &endpoints(2));
    let before = ring.points().to_vec();
    ring.insert_all(iter::empty::<(u16, &str)>(), |_, _| Ordering::Equal).unwrap();
    assert!(!ring.retain_slots(|_| true));
    assert_eq!(ring.points(), before);
    assert!(ring.retain_slots(|_| false));
    assert_eq!(ring.points(), []);
}

#[test]
fn servers_that_the_order_finds_equal_stand_by_slot() {
    let mut ring: FixedRing<16> = Ring::new(RingHash::Ketama, 4).unwrap();
    for slots in [[5, 2], [3, 0]] {
        ring.insert_all(slots.map(|slot| (slot, "10.0.0.1:80")), |_, _| Ordering::Equal).unwrap();
    }
    assert!(ring.points().iter().map(|point| point.slot).eq([0, 2, 3, 5].repeat(4)));
}

#[test]
fn an_order_that_contradicts_itself_only_leaves_the_alike_in_disorder() {
    fn goes_well<S: RingStorage>() {
        let mut ring: Ring<S> = Ring::new(RingHash::Murmur, 8).unwrap();
        let rng = std::cell::RefCell::new(fastrand::Rng::with_seed(1));
        let order = |_, _| [Ordering::Less, Ordering::Greater][rng.borrow_mut().usize(..2)];
        for half in [0..100, 100..200] {
            ring.insert_all(half.map(|slot| (slot, "10.0.0.1:80")), order).unwrap();
        }
        assert!(ring.points().is_sorted_by_key(|point| point.hash));
        for slot in 0..200 {
            assert_eq!(ring.points().iter().filter(|point| point.slot == slot).count(), 8);
        }
    }
    goes_well::<Fixed<1_600>>();
    #[cfg(feature = "alloc")]
    goes_well::<Heap>();
}

#[test]
fn servers_in_every_slot_are_told_apart() {
    let point = |slot| Point { hash: 0, slot };
    let all: Vec<Point> = (0..=u16::MAX).map(point).collect();
    assert_eq!(duplicate_slot(&[], &all, 1), None);
    for slot in [0, 1, 8_191, 8_192, 40_000, u16::MAX] {
        let (new, old): (Vec<Point>, Vec<Point>) = all.iter().partition(|point| point.slot == slot);
        assert_eq!(duplicate_slot(&old, &new, 1), None);
        assert_eq!(duplicate_slot(&new, &old, 1), None);
        assert_eq!(duplicate_slot(&all, &new, 1), Some(slot));
        assert_eq!(duplicate_slot(&new, &all, 1), Some(slot));
        assert_eq!(duplicate_slot(&[], &[&all[..], &new].concat(), 1), Some(slot));
    }
}

#[test]
fn heapsort_sorts() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let most = [3, u32::MAX][rng.usize(..2)];
        let len = rng.u16(..200);
        let mut points: Vec<Point> = (0..len).map(|slot| Point { hash: rng.u32(..=most), slot }).collect();
        let key = |point: &Point| (point.hash, point.slot);
        let mut sorted = points.clone();
        sorted.sort_by_key(key);
        heapsort(&mut points, |one, other| key(one) < key(other));
        assert_eq!(points, sorted, "seed {seed}");
    }
}

#[test]
fn batches_of_any_size_merge_alike() {
    for seed in 0..200_u16 {
        let mut rng = fastrand::Rng::with_seed(seed.into());
        let mut sorted = |len: u16, from: u16| {
            let mut points: Vec<Point> = (0..len).map(|i| Point { hash: rng.u32(..300), slot: from + i }).collect();
            points.sort_by_key(|point| (point.hash, point.slot));
            points
        };
        let (old, new) = (sorted(1 + seed / 3, 0), sorted(seed % 37, 1_000));
        let mut expected = [old.clone(), new.clone()].concat();
        expected.sort_by_key(|point| (point.hash, point.slot));
        for aside in [1, 2, 5, 36, 100] {
            let mut points = [old.clone(), new.clone()].concat();
            merge_behind(&mut points, old.len(), &mut [Point { hash: 0, slot: 0 }; 100][..aside], |one, other| {
                (one.hash, one.slot) < (other.hash, other.slot)
            });
            assert_eq!(points, expected, "seed {seed}");
        }
    }
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
    // The merge searches once for each new point, with at most 18 comparisons on average. A sort would take 1.7 million
    // comparisons.
    assert!(compared.get() <= 100 * 18, "{} comparisons", compared.get());
}

#[test]
fn a_point_takes_8_bytes() {
    assert_eq!(size_of::<Point>(), 8);
}

extern crate std;

use core::cell::{Cell, RefCell};
use core::num::NonZeroU32;
use std::collections::{BTreeMap, BTreeSet};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::balance::testing::selection;
use crate::balance::{Candidate, Fixed, Load, RandomChoice, RoundRobin, WeightedRoundRobin};
use crate::id::AddressKey;
use crate::outcome::{Attempt, Kind};
use crate::time::Micros;

/// Servers in slots. A server keeps its slot, and the list is in the order of the addresses.
#[derive(Default)]
struct Fleet {
    slots: Vec<Option<(String, String)>>,
    generations: Vec<u16>,
    order: Vec<u16>,
    /// The weight of the server in each slot. If a slot is past the end of this list, its server has weight 1.
    weights: Vec<u32>,
    down: RefCell<BTreeSet<u16>>,
    looks: Cell<usize>,
}

impl Fleet {
    fn new(servers: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut fleet = Self::default();
        for (address, tag) in servers {
            fleet.insert(&address, &tag);
        }
        fleet
    }

    fn plain(servers: usize) -> Self {
        Self::new((0..servers).map(|number| (format!("10.0.{}.{}:80", number / 250, number % 250), String::new())))
    }

    fn insert(&mut self, address: &str, tag: &str) {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.slots.resize(self.slots.len().max(free + 1), None);
        self.generations.resize(self.slots.len(), 0);
        self.slots[free] = Some((address.to_string(), tag.to_string()));
        let slots = &self.slots;
        let place = self.order.partition_point(|slot| slots[usize::from(*slot)] < slots[free]);
        self.order.insert(place, free.try_into().unwrap());
    }

    fn remove(&mut self, position: usize) {
        let slot = usize::from(self.order.remove(position));
        self.slots[slot] = None;
        self.generations[slot] += 1;
    }

    fn tag_of(&self, server: ServerId) -> &str {
        &self.slots[usize::from(server.slot())].as_ref().unwrap().1
    }

    fn weight(&self, server: ServerId) -> NonZeroU32 {
        self.weights.get(usize::from(server.slot())).map_or(NonZeroU32::MIN, |weight| NonZeroU32::new(*weight).unwrap())
    }

    fn weight_at(&self, position: usize) -> u32 {
        self.weight(self.at(position).unwrap().server).get()
    }

    fn set_down(&self, down: impl Fn(&str) -> bool) {
        let is_down = |slot: &&u16| self.slots[usize::from(**slot)].as_ref().is_some_and(|it| down(&it.1));
        *self.down.borrow_mut() = self.order.iter().filter(is_down).copied().collect();
    }
}

impl ServerList for Fleet {
    type Stats = ();

    fn len(&self) -> usize {
        self.order.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.looks.set(self.looks.get() + 1);
        self.in_slot(*self.order.get(position)?)
    }

    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        self.slots.get(usize::from(slot))?.as_ref()?;
        let server = ServerId::new(slot, self.generations[usize::from(slot)]);
        Some(Candidate { server, address: AddressKey(slot.into()), usable: !self.down.borrow().contains(&slot) })
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, ()>> {
        self.find(server)?;
        Some(Load { stats: &(), in_flight: 0, weight: self.weight(server) })
    }
}

impl Roster for Fleet {
    fn write_address(&self, position: usize, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        out.write_str(&self.slots[usize::from(self.order[position])].as_ref().unwrap().0)
    }

    fn tag(&self, position: usize) -> &str {
        &self.slots[usize::from(self.order[position])].as_ref().unwrap().1
    }
}

type InFixed<B> = Grouped<B, Fixed<1024>, 4>;

fn subset<B: Balancer>(size: u32, id: Option<u32>, balancer: B, seed: u64) -> InFixed<B> {
    let subset = Some(SubsetOptions { size: SubsetSize::new(size).unwrap(), id });
    Grouped::new(Grouping { locality: None, subset }, balancer, seed)
}

fn locality<B: Balancer>(zone: Option<&str>, balancer: B) -> InFixed<B> {
    let zone = zone.map(|zone| zone.parse().unwrap());
    Grouped::new(Grouping { locality: Some(LocalityOptions { zone }), subset: None }, balancer, 1)
}

fn arranged<B: Balancer<Stats = ()> + Clone>(mut balancer: InFixed<B>, fleet: &Fleet) -> InFixed<B> {
    balancer.arrange(fleet).unwrap();
    balancer
}

fn offers<B: Balancer<Stats = ()> + Clone>(
    balancer: &InFixed<B>,
    fleet: &Fleet,
    tried: &[Attempt],
    ms: u64,
    rng: &mut fastrand::Rng,
) -> Vec<Candidate> {
    let selection = Selection { tried, ..selection(None, Instant::from_millis(ms)) };
    let mut random = || rng.u32(..);
    let all: Vec<_> = balancer.offers(Search { list: fleet, selection: &selection }, &mut random).collect();
    all.into_iter().map(|offer| offer.candidate).collect()
}

/// Sends calls until every mark was refreshed.
fn settle<B: Balancer<Stats = ()> + Clone>(balancer: &InFixed<B>, fleet: &Fleet, ms: &mut u64) {
    for _ in 0..=fleet.len() / SCAN {
        *ms += 2;
        offers(balancer, fleet, &[], *ms, &mut fastrand::Rng::with_seed(1));
    }
}

fn most_clients(fleet: &Fleet, size: u32, clients: u32, id: impl Fn(u32) -> Option<u32>) -> f64 {
    let mut counts = vec![0_u32; fleet.len()];
    for client in 0..clients {
        let balancer = arranged(subset(size, id(client), RandomChoice, client.into()), fleet);
        assert_eq!(balancer.used().count(), size as usize);
        balancer.used().for_each(|position| counts[position] += 1);
    }
    let mean = f64::from(clients) * f64::from(size) / fleet.len() as f64;
    f64::from(*counts.iter().max().unwrap()) / mean
}

#[test]
fn s9_with_given_numbers_no_server_has_a_quarter_more_clients_than_the_mean() {
    for (servers, size) in [(10, 3), (37, 5), (100, 20), (300, 20), (1_000, 20)] {
        let fleet = Fleet::plain(servers);
        let fewest = (50 * u32::try_from(servers).unwrap()).div_ceil(size);
        for clients in [fewest, fewest + fewest / 3, 2 * fewest - 1].into_iter().take(if servers < 500 { 3 } else { 1 })
        {
            let most = most_clients(&fleet, size, clients, Some);
            assert!(most <= 1.25, "{servers} servers, {clients} clients of {size}: {most} times the mean");
        }
    }
}

#[test]
fn s9_with_drawn_numbers_no_server_has_a_quarter_more_clients_than_the_mean() {
    for (servers, size) in [(20, 5), (100, 20), (250, 50)] {
        let fleet = Fleet::plain(servers);
        let clients = 400 * u32::try_from(servers).unwrap() / size;
        let most = most_clients(&fleet, size, clients, |_| None);
        assert!(most <= 1.25, "{servers} servers, {clients} clients of {size}: {most} times the mean");
    }
}

#[test]
fn s9_the_arc_is_the_sorted_ring_from_the_first_server_on() {
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..2_000 {
        let count = rng.u32(0..40);
        let hashes: Vec<u32> = (0..count).map(|_| rng.u32(..9)).collect();
        let (client, len) = (rng.u64(..), rng.usize(0..50));
        let mut servers: Vec<u32> = (0..count).collect();
        rng.shuffle(&mut servers);
        let cut = ring::arc(&mut servers, client, len, |server| hashes[server as usize]);
        let mut ring: Vec<u32> = (0..count).collect();
        ring.sort_by_key(|server| hashes[*server as usize]);
        let first = usize::try_from((u128::from(client) * u128::from(count)) >> 64).unwrap();
        ring.rotate_left(first);
        assert_eq!(servers[..cut], ring[..len.min(ring.len())], "{hashes:?}, {client:x}, {len}");
    }
}

#[test]
fn s9_a_server_that_comes_or_goes_moves_at_most_two_servers_of_a_client() {
    let mut rng = fastrand::Rng::with_seed(9);
    for round in 0..60 {
        let mut fleet = Fleet::plain(rng.usize(1..80));
        let size = rng.u32(1..30);
        let id = rng.bool().then(|| rng.u32(..));
        let mut balancer = arranged(subset(size, id, RandomChoice, round), &fleet);
        for step in 0..40 {
            let servers = |balancer: &InFixed<RandomChoice>, fleet: &Fleet| -> BTreeSet<String> {
                balancer.used().map(|at| fleet.slots[usize::from(fleet.order[at])].clone().unwrap().0).collect()
            };
            let before = servers(&balancer, &fleet);
            if rng.bool() || fleet.len() < 2 {
                fleet.insert(&format!("11.{step}.{}:1", rng.u32(..)), "");
            } else {
                let gone = rng.usize(..fleet.len());
                fleet.remove(gone);
            }
            balancer.arrange(&fleet).unwrap();
            let after = servers(&balancer, &fleet);
            assert_eq!(after.len(), fleet.len().min(size as usize));
            let (new, lost) = (after.difference(&before).count(), before.difference(&after).count());
            assert!(new <= 2 && lost <= 2, "{new} new, {lost} lost, of {size} among {}", fleet.len());
            // A new balancer that gets this list at once has the same subset, since a subset does not depend on earlier
            // lists.
            let fresh = arranged(subset(size, id, RandomChoice, round), &fleet);
            assert_eq!(servers(&fresh, &fleet), after);
        }
    }
}

#[test]
fn s9_a_subset_keeps_its_size_while_servers_are_down_but_uses_at_most_twice_as_many() {
    let fleet = Fleet::plain(200);
    let balancer = arranged(subset(10, Some(3), RandomChoice, 1), &fleet);
    let used = |balancer: &InFixed<RandomChoice>| -> Vec<usize> { balancer.used().collect() };
    let (all, mut ms) = (used(&balancer), 5);
    for position in &all[..4] {
        fleet.down.borrow_mut().insert(fleet.order[*position]);
    }
    settle(&balancer, &fleet, &mut ms);
    let now = used(&balancer);
    assert_eq!((&now[..10], now.len()), (&all[..], 14), "four servers of the reserve are used as well");
    *fleet.down.borrow_mut() = fleet.order.iter().copied().collect();
    settle(&balancer, &fleet, &mut ms);
    assert_eq!(used(&balancer).len(), 20);
    fleet.down.borrow_mut().clear();
    settle(&balancer, &fleet, &mut ms);
    assert_eq!(used(&balancer), all, "the reserve is left as soon as the servers are back");
}

#[test]
fn s6_every_server_that_a_client_may_use_is_offered_once_whatever_is_down() {
    let mut rng = fastrand::Rng::with_seed(66);
    for round in 0..150 {
        let servers = rng.usize(1..60);
        let tag = |rng: &mut fastrand::Rng| format!("zone={} priority={}", rng.u32(0..3), rng.u32(0..6));
        let fleet = Fleet::new((0..servers).map(|number| (format!("a{number:03}:1"), tag(&mut rng))));
        let mut balancer = locality(Some("1"), RoundRobin::new(round));
        let size = rng.bool().then(|| rng.u32(1..9));
        balancer.grouping.subset = size.map(|size| SubsetOptions { size: SubsetSize::new(size).unwrap(), id: None });
        let balancer = arranged(balancer, &fleet);
        let offered = |ms: u64, rng: &mut fastrand::Rng| -> Vec<u16> {
            offers(&balancer, &fleet, &[], ms, rng).iter().map(|found| found.server.slot()).collect()
        };
        let expected: BTreeSet<u16> = offered(0, &mut rng).into_iter().collect();
        for ms in 1..20 {
            *fleet.down.borrow_mut() = fleet.order.iter().copied().filter(|_| rng.u32(0..3) == 0).collect();
            let offered = offered(ms * 2, &mut rng);
            let distinct: BTreeSet<u16> = offered.iter().copied().collect();
            assert_eq!((distinct.len(), &distinct), (offered.len(), &expected), "round {round}");
        }
        match size {
            None => assert_eq!(expected.len(), servers),
            Some(size) => assert!(expected.len() <= 4 * 2 * size as usize),
        }
    }
}

/// Returns the share of 100,000 calls that each tag gets.
fn shares(balancer: &InFixed<RandomChoice>, fleet: &Fleet, ms: &mut u64) -> BTreeMap<String, f64> {
    settle(balancer, fleet, ms);
    let (mut rng, mut counts) = (fastrand::Rng::with_seed(7), BTreeMap::new());
    let calls = 100_000;
    for _ in 0..calls {
        let selection = selection(None, Instant::from_millis(*ms));
        let search = Search { list: fleet, selection: &selection };
        let pick = super::super::select(search.list, balancer, &selection, &mut || rng.u32(..)).unwrap();
        *counts.entry(fleet.tag_of(pick.server).split_once('#').unwrap().0.trim().to_string()).or_insert(0.0) +=
            1.0 / f64::from(calls);
    }
    counts
}

/// Returns a fleet with ten servers of each tag. The tag of each server also contains the number of the server, as a
/// word that has no meaning.
fn tens(tags: &[&str]) -> Fleet {
    let server = |(number, tag): (usize, &&str)| {
        (0..10).map(move |of_tag| (format!("h{number}-{of_tag}:1"), format!("{tag} #{of_tag}"))).collect::<Vec<_>>()
    };
    Fleet::new(tags.iter().enumerate().flat_map(server))
}

/// Returns a function that says, by the text of a server's tag, whether the server is among the first `count` of the
/// ten servers of `tag`.
fn first(tag: &str, count: usize) -> impl Fn(&str) -> bool + '_ {
    move |text| {
        text.split_once('#').is_some_and(|(words, it)| words.trim() == tag && it.parse::<usize>().unwrap() < count)
    }
}

fn near(found: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    for (tag, share) in expected {
        let got = found.get(*tag).copied().unwrap_or(0.0);
        assert!((got - share).abs() < 0.01, "{tag}: {got}, expected {share}; {found:?}");
    }
    assert_eq!(found.len(), expected.iter().filter(|(_, share)| *share > 0.0).count(), "{found:?}");
}

#[test]
fn s10_priority_comes_first_and_within_it_the_own_zone() {
    let tags = ["priority=1 zone=a", "zone=b", "zone=a", "priority=1 zone=c", "priority=x"];
    let fleet = tens(&tags);
    let balancer = arranged(locality(Some("a"), RandomChoice), &fleet);
    assert_eq!(balancer.levels(), 4, "the fifth level is part of the fourth");
    let mut ms = 0;
    for expected in [&tags[2..3], &tags[1..2], &tags[..1]] {
        near(&shares(&balancer, &fleet, &mut ms), &[(expected[0], 1.0)]);
        let down = fleet.down.borrow().clone();
        fleet.set_down(first(expected[0], 10));
        fleet.down.borrow_mut().extend(down);
    }
    near(&shares(&balancer, &fleet, &mut ms), &[(tags[3], 0.5), (tags[4], 0.5)]);
}

#[test]
fn s10_calls_spill_over_in_proportion_and_come_back() {
    let tags = ["zone=a", "zone=b"];
    let fleet = tens(&tags);
    let balancer = arranged(locality(Some("a"), RandomChoice), &fleet);
    let mut ms = 0;
    for (down, own) in [(2, 1.0), (3, 0.98), (5, 0.7), (9, 0.14), (10, 0.0), (4, 0.84), (0, 1.0)] {
        fleet.set_down(first("zone=a", down));
        near(&shares(&balancer, &fleet, &mut ms), &[("zone=a", own), ("zone=b", 1.0 - own)]);
    }
}

#[test]
fn s10_shares_below_the_whole_are_normalised() {
    let fleet = tens(&["zone=a", "zone=b"]);
    let balancer = arranged(locality(Some("a"), RandomChoice), &fleet);
    let mut ms = 0;
    fleet.set_down(|tag| first("zone=a", 5)(tag) || first("zone=b", 9)(tag));
    near(&shares(&balancer, &fleet, &mut ms), &[("zone=a", 0.7 / 0.84), ("zone=b", 0.14 / 0.84)]);
    fleet.set_down(|_| true);
    settle(&balancer, &fleet, &mut ms);
    let found = offers(&balancer, &fleet, &[], ms, &mut fastrand::Rng::with_seed(1));
    assert_eq!(found.len(), 20, "all are offered, so that the search ends with all servers down");
}

#[test]
fn s10_without_a_zone_only_the_priority_counts() {
    let fleet = tens(&["zone=a", "zone=b", "priority=1"]);
    let balancer = arranged(locality(None, RandomChoice), &fleet);
    assert_eq!(balancer.levels(), 2);
    near(&shares(&balancer, &fleet, &mut 0), &[("zone=a", 0.5), ("zone=b", 0.5)]);
}

#[test]
fn s10_l11_a_further_attempt_leaves_a_level_whose_servers_were_tried() {
    let fleet = Fleet::new([("a:1", "zone=a"), ("b:1", ""), ("c:1", "")].map(|(a, t)| (a.to_string(), t.to_string())));
    let balancer = arranged(locality(Some("a"), RandomChoice), &fleet);
    let own = fleet.at(0).unwrap();
    let tried = [Attempt::start(Micros::ZERO, own.server, own.address, Kind::First)];
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let found = offers(&balancer, &fleet, &tried, 0, &mut fastrand::Rng::with_seed(seed));
        assert_eq!(found[2], own, "the server that was tried comes last");
        seen.insert(found[0].server.slot());
    }
    assert_eq!(seen.len(), 2, "the balancer of the next level chooses");
}

#[test]
fn s10_a_further_attempt_stays_in_a_level_with_a_usable_server_that_was_not_tried() {
    let servers = [("a:1", "zone=a"), ("b:1", "zone=a"), ("c:1", ""), ("d:1", "")];
    let mut fleet = Fleet::new(servers.map(|(address, tag)| (address.to_string(), tag.to_string())));
    let mut balancer = arranged(locality(Some("a"), RandomChoice), &fleet);
    let (first, second) = (fleet.at(0).unwrap(), fleet.at(1).unwrap());
    let attempt = |to: Candidate| Attempt::start(Micros::ZERO, to.server, to.address, Kind::First);
    fleet.down.borrow_mut().insert(first.server.slot());
    let mut ms = 0;
    settle(&balancer, &fleet, &mut ms);
    let offered = |balancer: &InFixed<RandomChoice>, fleet: &Fleet, tried: &[Attempt]| -> BTreeSet<ServerId> {
        let mut rng = fastrand::Rng::with_seed(4);
        let first = |_| {
            let found = offers(balancer, fleet, tried, ms, &mut rng);
            found.iter().find(|found| found.usable && found.server != first.server).unwrap().server
        };
        (0..40).map(first).collect()
    };
    // One of two servers is usable, so the level takes 0.7 of the calls.
    assert!(offered(&balancer, &fleet, &[attempt(first)]).contains(&second.server), "the level is not left");
    let next = [2, 3].map(|position| fleet.at(position).unwrap().server);
    assert_eq!(offered(&balancer, &fleet, &[attempt(first), attempt(second)]), next.into(), "it is left");
    // Another server takes the slot of the one that was tried.
    fleet.remove(0);
    fleet.down.borrow_mut().clear();
    fleet.insert("a:2", "zone=a");
    balancer.arrange(&fleet).unwrap();
    let new = fleet.at(0).unwrap();
    assert_eq!((new.server.slot(), new.server == first.server), (first.server.slot(), false));
    let own = offered(&balancer, &fleet, &[attempt(first), attempt(second)]);
    assert!(own.contains(&new.server) && own.is_subset(&[new.server, second.server].into()), "{own:?}");
}

#[test]
fn s10_a_look_takes_bounded_work() {
    let fleet = Fleet::plain(1_000);
    let mut balancer = locality(Some("a"), RandomChoice);
    balancer.grouping.subset = Some(SubsetOptions { size: SubsetSize::new(400).unwrap(), id: None });
    let balancer = arranged(balancer, &fleet);
    let selection = selection(None, Instant::from_millis(5));
    fleet.looks.set(0);
    for look in 1..=10 {
        let search = Search { list: &fleet, selection: &selection };
        assert!(balancer.first_offer(search, &mut || 7).is_some());
        assert_eq!(fleet.looks.get(), SCAN + look, "marks are refreshed once in a millisecond");
    }
}

#[test]
fn s2_s9_round_robin_within_a_group_takes_turns() {
    let fleet = tens(&["zone=a", "zone=b"]);
    let balancer = arranged(locality(Some("a"), RoundRobin::new(3)), &fleet);
    let selection = selection(None, Instant::ZERO);
    let mut counts = BTreeMap::new();
    for _ in 0..70 {
        let offer = balancer.first_offer(Search { list: &fleet, selection: &selection }, &mut || 0).unwrap();
        assert!(balancer.commit(offer.ticket, false));
        *counts.entry(offer.candidate.server.slot()).or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [7; 10]);
}

#[test]
fn s2_s9_weighted_round_robin_within_a_subset_gives_every_server_its_exact_share() {
    let mut fleet = Fleet::plain(200);
    for weighs in [|_| 1, |slot: usize| u32::try_from(slot % 7).unwrap() + 1] {
        fleet.weights = (0..200).map(weighs).collect();
        for size in [5, 10, 20, 50] {
            for id in 0..8 {
                let wrr: WeightedRoundRobin<Fixed<1024>> = WeightedRoundRobin::new(id.into());
                let balancer = arranged(subset(size, Some(id), wrr, 1), &fleet);
                let expected: BTreeMap<_, _> = balancer.used().map(|it| (it, 20 * fleet.weight_at(it))).collect();
                let mut counts = BTreeMap::new();
                for _ in 0..expected.values().sum() {
                    let selection = selection(None, Instant::ZERO);
                    let pick = super::super::select(&fleet, &balancer, &selection, &mut || 0).unwrap();
                    assert!(balancer.commit(pick.ticket.unwrap(), false));
                    let position = fleet.order.iter().position(|slot| *slot == pick.server.slot()).unwrap();
                    *counts.entry(position).or_insert(0) += 1;
                }
                assert_eq!(counts, expected, "size {size}, client {id}");
            }
        }
    }
}

#[test]
fn s7_a_level_that_stays_keeps_its_balancer_when_another_level_leaves() {
    let tags = ["zone=a", "", "", "", "", "priority=1", "priority=1", "priority=1"];
    let mut fleet = Fleet::new((0..8).map(|number| (format!("10.0.0.{number}:80"), tags[number].to_string())));
    let mut balancer = arranged(locality(Some("a"), RoundRobin::new(3)), &fleet);
    assert_eq!(balancer.levels(), 3);
    let next = |balancer: &InFixed<RoundRobin>, fleet: &Fleet| -> ServerId {
        let offer = balancer.first_offer(Search { list: fleet, selection: &selection(None, Instant::ZERO) }, &mut || 0);
        let offer = offer.unwrap();
        assert!(balancer.commit(offer.ticket, false));
        offer.candidate.server
    };
    // The second level takes two turns of four while the first level is down.
    fleet.set_down(|tag| tag == "zone=a");
    settle(&balancer, &fleet, &mut 0);
    let turns = [next(&balancer, &fleet), next(&balancer, &fleet)];
    // The first level leaves, so the second level becomes the first one. It goes on with its third turn.
    fleet.remove(0);
    fleet.set_down(|_| false);
    balancer.arrange(&fleet).unwrap();
    assert_eq!(balancer.levels(), 2);
    let later = [next(&balancer, &fleet), next(&balancer, &fleet)];
    let all: BTreeSet<ServerId> = turns.into_iter().chain(later).collect();
    let expected: BTreeSet<ServerId> = (0..4).map(|position| fleet.at(position).unwrap().server).collect();
    assert_eq!(all, expected, "{turns:?}, then {later:?}");
}

#[test]
fn s9_a_copy_counts_its_own_marks() {
    let fleet = Fleet::plain(50);
    let balancer = arranged(subset(10, Some(1), RandomChoice, 1), &fleet);
    // Another thread has changed a mark and has not counted it yet.
    let marks: &[AtomicBool] = balancer.marks.as_ref();
    marks[3].store(false, Relaxed);
    let copy = balancer.clone();
    assert_eq!((copy.groups[0].usable(), copy.used().count()), (19, 11));
    // When this mark changes in the copy, the counts change with it.
    settle(&copy, &fleet, &mut 5);
    assert_eq!((copy.groups[0].usable(), copy.used().count()), (20, 10));
}

#[test]
fn s9_a_list_that_is_too_long_for_fixed_memory_is_refused() {
    let fleet = Fleet::plain(5);
    let mut small: Grouped<RandomChoice, Fixed<4>, 2> = Grouped::new(Grouping::default(), RandomChoice, 1);
    assert_eq!(small.arrange(&fleet), Err(ArrangeError::Room { servers: 4 }));
    assert!(small.arrange(&Fleet::plain(4)).is_ok());
    assert_eq!(small.used().count(), 4);
}

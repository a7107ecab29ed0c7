//! What balancers share: turns, a tree of weights, and what they know of a server.

use std::num::NonZeroU32;

use hedge_core::balance::p2c as plain;
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::outcome::Feedback;
use hedge_core::time::{Duration, Instant, Micros, Timeout};
use loom::sync::Arc;

use super::{at, granted};
use crate::balance::la::{LaFailure, LaNode, LaOthers, LaPick, LaStats, LaTree};
use crate::balance::p2c::{P2c, P2cOptions, P2cStats};
use crate::balance::{
    Balancer, Candidate, Fixed, Load, Offer, RoundRobin, Search, Selection, ServerList, WeightedRoundRobin, WrrTicket,
};
use crate::check::{check, check_long, together};
use crate::random::Seeds;

pub(super) fn all() {
    turns();
    tickets();
    trees();
    latencies();
    averages();
    seeds();
}

/// So many servers, each in the slot of its position.
#[derive(Clone, Copy)]
struct Servers(u16);

impl ServerList for Servers {
    type Stats = ();

    fn len(&self) -> usize {
        self.0.into()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.in_slot(u16::try_from(position).ok()?)
    }

    fn slots(&self) -> usize {
        self.0.into()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        let (server, address) = (ServerId::new(slot, 0), AddressKey(slot.into()));
        (slot < self.0).then_some(Candidate { server, address, usable: true })
    }

    fn load(&self, _: ServerId) -> Option<Load<'_, ()>> {
        Some(Load { stats: &(), in_flight: 0, weight: NonZeroU32::MIN })
    }
}

fn look<B: Balancer<Stats = ()>>(balancer: &B, servers: Servers) -> Offer<B::Ticket> {
    let selection =
        Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now: at(0) };
    let search = Search { list: &servers, selection: &selection };
    let offer = balancer.offers(search, &mut || 0).next();
    offer.expect("a server")
}

/// Looks and commits until no other was faster; answers the slot.
fn take<B: Balancer<Stats = ()>>(balancer: &B, servers: Servers) -> u16 {
    loop {
        let Offer { candidate, ticket } = look(balancer, servers);
        if balancer.commit(ticket, false) {
            return candidate.server.slot();
        }
    }
}

// ---- rr ----

const THREE: Servers = Servers(3);

fn turns() {
    check("rr: two who take a turn get one each", || {
        let rr = Arc::new(RoundRobin::starting_at(0));
        assert_eq!(look(&*rr, THREE).candidate.server.slot(), 0);
        let mut taken = together(&rr, [|rr| take(rr, THREE), |rr| take(rr, THREE)]);
        taken.push(take(&*rr, THREE));
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
    });
    check("rr: of two who looked at the same turn one gets it, and who insists goes beside it", || {
        let rr = RoundRobin::starting_at(0);
        let offer = look(&rr, THREE);
        let shared = Arc::new((rr, offer));
        let commits = |(rr, offer): &(RoundRobin, Offer<_>)| rr.commit(offer.ticket, false);
        let answers = together(&shared, [commits, commits]);
        let (rr, offer) = &*shared;
        let next = || look(rr, THREE).candidate.server.slot();
        assert_eq!((granted(&answers), next()), (1, 1));
        assert!(rr.commit(offer.ticket, true));
        assert_eq!(next(), 2);
    });
}

// ---- wrr ----

const WEIGHTS: [u32; 2] = [2, 1];
const TWO: Servers = Servers(2);

type Wrr = WeightedRoundRobin<Fixed<2>>;

fn wrr() -> Wrr {
    let mut wrr = Wrr::starting_at(0);
    wrr.set_weights(WEIGHTS.into_iter()).expect("room for two");
    wrr
}

/// A balancer, and a ticket of it that somebody looked at.
#[derive(Debug)]
struct Looked {
    wrr: Wrr,
    ticket: WrrTicket,
}

fn looked() -> Arc<Looked> {
    let wrr = wrr();
    let ticket = wrr.turn().expect("a ticket");
    Arc::new(Looked { wrr, ticket })
}

fn tickets() {
    check("wrr: of two who take the same ticket one gets it", || {
        let looked = looked();
        let takes = |looked: &Looked| looked.wrr.take(looked.ticket, false);
        let answers = together(&looked, [takes, takes]);
        assert_eq!(granted(&answers), 1);
        let rest = [take(&looked.wrr, TWO), take(&looked.wrr, TWO)];
        assert_eq!(counts(rest.into_iter().chain([slot(looked.ticket)])), WEIGHTS);
    });
    check("wrr: no unit is lost and none taken twice", || {
        let wrr = Arc::new(wrr());
        assert_eq!(look(&*wrr, TWO).candidate.server.slot(), 0);
        let mut taken = together(&wrr, [|wrr| take(wrr, TWO), |wrr| take(wrr, TWO)]);
        taken.push(take(&*wrr, TWO));
        assert_eq!(counts(taken.into_iter()), WEIGHTS);
    });
    check("wrr: who insists late goes beside the sequence, of which nobody loses anything", || {
        let sequence = {
            let wrr = wrr();
            [take(&wrr, TWO), take(&wrr, TWO), take(&wrr, TWO)]
        };
        let looked = looked();
        let insists = |looked: &Looked| {
            assert!(looked.wrr.take(looked.ticket, true));
            slot(looked.ticket)
        };
        let taken = together(&looked, [insists, |looked| take(&looked.wrr, TWO)]);
        let [first, second, third] = sequence;
        let (took, next) = (taken.last().copied(), take(&looked.wrr, TWO));
        assert!((took, next) == (Some(first), second) || (took, next) == (Some(second), third));
    });
}

fn slot(ticket: WrrTicket) -> u16 {
    u16::try_from(ticket.position).expect("one of two")
}

fn counts(taken: impl Iterator<Item = u16>) -> [u32; 2] {
    let mut counts = [0; 2];
    taken.for_each(|slot| counts[usize::from(slot)] += 1);
    counts
}

// ---- la ----

type Tree = LaTree<[LaNode; 3]>;

fn tree(weights: [u64; 3]) -> Arc<Tree> {
    let tree = LaTree::new([const { LaNode::new() }; 3], 1);
    (0..).zip(weights).for_each(|(position, weight)| tree.set(position, weight));
    Arc::new(tree)
}

/// Every unit is where the weights, one after the other, have it.
fn is_exact(tree: &Tree, weights: [u64; 3]) {
    assert_eq!([0, 1, 2].map(|position| tree.weight(position)), weights);
    let total: u64 = weights.iter().sum();
    let units =
        (0..).zip(weights).flat_map(|(position, weight)| (0..weight).map(move |offset| LaPick { position, offset }));
    for (unit, expected) in (0..total).zip(units) {
        let random = ((u128::from(unit) << 64).div_ceil(total.into())).try_into().expect("below 2^64");
        assert_eq!(tree.pick(random, &[]), Some(expected), "unit {unit} of {weights:?}");
    }
}

fn trees() {
    check("la: two who change weights leave exact sums", || {
        let tree = tree([1, 1, 1]);
        together(&tree, [|tree| tree.set(0, 3), |tree| tree.set(1, 2)]);
        is_exact(&tree, [3, 2, 1]);
    });
    check("la: two who change the same weight leave one of theirs, and its sums", || {
        let tree = tree([4, 1, 1]);
        together(&tree, [|tree| tree.set(0, 3), |tree| tree.set(0, 7)]);
        let weight = tree.weight(0);
        assert!([3, 7].contains(&weight));
        is_exact(&tree, [weight, 1, 1]);
    });
    check("la: who draws while weights change draws a place that there is", || {
        let tree = tree([1, 1, 1]);
        let draws = |tree: &Tree| {
            let drawn = tree.pick(u64::MAX, &[1]);
            assert!(drawn.is_none_or(|drawn| drawn.position < 3), "{drawn:?}");
        };
        together(&tree, [|tree| tree.set(0, 0), draws]);
        is_exact(&tree, [0, 1, 1]);
    });
    check("la: two who go on draw by two numbers", || {
        let tree = tree([1, 1, 1]);
        let before = tree.draw();
        together(&tree, [Tree::next_draw, Tree::next_draw]);
        let twice = tree.draw();
        tree.next_draw();
        assert_eq!(tree.draw().wrapping_sub(twice).wrapping_mul(2), twice.wrapping_sub(before));
    });
}

const MS: Micros = Micros::from_millis(1);
const TIMEOUT: Timeout = Timeout::after(Duration::from_millis(500));
const FAILURE: LaFailure = LaFailure { max_retry: 0, retried: 0, timeout: TIMEOUT };

/// A server that has answered once, after a millisecond, and at which two attempts began then.
fn answered() -> Arc<LaStats> {
    let stats = LaStats::new(LaStats::SCALE);
    stats.started(at(0), || LaOthers::NONE);
    assert!(stats.succeeded(at(1), at(0), || LaOthers::NONE).is_some());
    stats.started(at(1), || LaOthers::NONE);
    stats.started(at(1), || LaOthers::NONE);
    assert_eq!((stats.latency(), stats.in_flight()), (MS.to_duration(), 2));
    Arc::new(stats)
}

/// That it answers once more, so that nobody has kept what is taken in turns.
fn goes_on(stats: &LaStats) {
    stats.started(at(20), || LaOthers::NONE);
    assert!(stats.succeeded(at(21), at(20), || LaOthers::NONE).is_some());
}

fn latencies() {
    check_long("la: two answers at once are both counted, or one of them gives up", || {
        let stats = answered();
        let after_two = |stats: &LaStats| stats.succeeded(at(3), at(1), || LaOthers::NONE).is_some();
        let after_four = |stats: &LaStats| stats.succeeded(at(5), at(1), || LaOthers::NONE).is_some();
        let counted = together(&stats, [after_two, after_four]);
        let average = stats.latency().as_millis();
        match counted[..] {
            [true, true] => assert_eq!(average, 3),
            [true, false] => assert_eq!(average, 2),
            [false, true] => assert_eq!(average, 4),
            _ => panic!("both gave up"),
        }
        assert_eq!(stats.in_flight(), 0);
        goes_on(&stats);
    });
    check_long(
        "la: an error and an attempt that is abandoned leave what is in flight as it is, or the error gives up",
        || {
            let stats = answered();
            let fails = |stats: &LaStats| stats.failed(at(3), at(1), FAILURE, || LaOthers::NONE).is_some();
            let abandons = |stats: &LaStats| {
                stats.abandoned(at(5), at(1), || LaOthers::NONE);
                stats.started(at(5), || LaOthers::NONE);
                true
            };
            let counted = together(&stats, [fails, abandons]);
            let failed = counted.first().copied().unwrap_or_default();
            assert_eq!(Micros::from(stats.latency()) > MS, failed, "its timeout");
            assert_eq!(stats.in_flight(), 1);
            goes_on(&stats);
        },
    );
}

// ---- p2c ----

#[derive(Debug)]
struct Known {
    rule: P2c,
    stats: P2cStats,
}

impl Known {
    fn hears(&self, feedback: Feedback) {
        self.rule.feedback(&self.stats, at(5), feedback, TIMEOUT);
    }

    fn score(&self) -> (Duration, u64) {
        (self.stats.latency(), self.rule.score(&self.stats, LATER, 0, NonZeroU32::MIN))
    }
}

const BEFORE: [Feedback; 2] = [Feedback::Success { latency: MS }, Feedback::Failure { latency: MS }];
const QUICK: Feedback = Feedback::Success { latency: Micros::from_micros(500) };
const SLOW: Feedback = Feedback::Success { latency: Micros::from_millis(3) };
const FAILED: Feedback = Feedback::Failure { latency: Micros::from_millis(700) };
const ABANDONED: Feedback = Feedback::Abandoned { age: Micros::from_millis(4) };
const LATER: Instant = Instant::from_millis(900);

fn known() -> Arc<Known> {
    let known = Known { rule: P2c::new(P2cOptions::DEFAULT), stats: P2cStats::new() };
    BEFORE.into_iter().for_each(|feedback| known.rule.feedback(&known.stats, at(0), feedback, TIMEOUT));
    Arc::new(known)
}

/// What is known after two feedbacks, one after the other.
fn in_turn(one: Feedback, other: Feedback) -> (Duration, u64) {
    let rule = plain::P2c::new(plain::P2cOptions::DEFAULT);
    let stats = plain::P2cStats::new();
    BEFORE.into_iter().for_each(|feedback| rule.feedback(&stats, at(0), feedback, TIMEOUT));
    [one, other].into_iter().for_each(|feedback| rule.feedback(&stats, at(5), feedback, TIMEOUT));
    (stats.latency(), rule.score(&stats, LATER, 0, NonZeroU32::MIN))
}

fn is_some_order(known: &Known, one: Feedback, other: Feedback) {
    let (got, orders) = (known.score(), [in_turn(one, other), in_turn(other, one)]);
    assert!(orders.contains(&got), "{got:?}, in turn {orders:?}");
}

fn averages() {
    check("p2c: two answers count as if one had come after the other", || {
        let known = known();
        together(&known, [|known| known.hears(QUICK), |known| known.hears(SLOW)]);
        is_some_order(&known, QUICK, SLOW);
    });
    check("p2c: so do an answer and a failure", || {
        let known = known();
        together(&known, [|known| known.hears(QUICK), |known| known.hears(FAILED)]);
        is_some_order(&known, QUICK, FAILED);
    });
    check("p2c: and an answer and an attempt that is abandoned", || {
        let known = known();
        together(&known, [|known| known.hears(QUICK), |known| known.hears(ABANDONED)]);
        is_some_order(&known, QUICK, ABANDONED);
    });
}

// ---- chance ----

fn seeds() {
    check("seeds: no two calls get the same", || {
        let seeds = Arc::new(Seeds::new(7));
        let first = seeds.next();
        let others = together(&seeds, [Seeds::next, Seeds::next]);
        assert!(others.iter().all(|other| *other != first));
        assert_ne!(others.first(), others.last());
    });
}

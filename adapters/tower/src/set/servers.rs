//! The servers of a set: [`Node`], the immutable [`Snapshot`] that picks read, and [`Servers`], which replaces it.
//!
//! A pick loads a snapshot without a lock: a list and the balancer that was arranged for it. A change builds a new one of
//! both under a mutex. What is known of a server is in its node, which stays as long as the server does; one that goes, or
//! is replaced, leaves its node to the calls that are at it (L20).

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};
use hedge_core::balance::{
    AnyBalancer, AnyStats, ArrangeError, Balancer, Candidate, Heap, Load, Roster, ServerList, Tag, WeightError,
};
use hedge_core::health::{AnyBreaker, Health, Recovering, ServerHealth};
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::Instant;

use super::Change;

/// What chooses among the servers of a set.
pub(crate) type SetBalancer = AnyBalancer<Heap>;

/// What isolates servers of a set.
pub(crate) type SetBreaker = Recovering<AnyBreaker>;

const PRUNE_AT_LEAST: usize = 64;

/// One server, and what is known of it.
pub(super) struct Node<K, S> {
    pub(super) key: K,
    pub(super) service: S,
    pub(super) id: ServerId,
    pub(super) health: ServerHealth<SetBreaker>,
    weight: NonZeroU32,
    stats: AnyStats<Heap>,
    in_flight: AtomicU32,
}

impl<K, S> Node<K, S> {
    fn new(key: K, service: S, id: ServerId, weight: Option<NonZeroU32>, balancer: &SetBalancer) -> Self {
        // There is no tag that could be wrong: who says nothing means 1.
        let weight = balancer.weighing().weight(&Weight(weight)).unwrap_or(NonZeroU32::MIN);
        let (health, stats) = (ServerHealth::new(), balancer.stats());
        Self { key, service, id, health, weight, stats, in_flight: AtomicU32::new(0) }
    }

    pub(super) fn started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn finished(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// The weight that a server came with, if it came with one.
struct Weight(Option<NonZeroU32>);

impl Tag for Weight {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        self.0.ok_or(WeightError::Missing)
    }
}

/// The servers at one moment, and the balancer that was arranged for them.
pub(super) struct Snapshot<K, S> {
    pub(super) list: List<K, S>,
    pub(super) balancer: SetBalancer,
}

/// The servers at one moment.
pub(super) struct List<K, S> {
    /// In canonical order (S7): by key.
    order: Vec<Arc<Node<K, S>>>,
    by_slot: Vec<Option<Arc<Node<K, S>>>>,
}

impl<K, S> List<K, S> {
    fn new(order: Vec<Arc<Node<K, S>>>) -> Self {
        let slots = order.iter().map(|node| usize::from(node.id.slot()) + 1).max().unwrap_or(0);
        let mut by_slot = vec![None; slots];
        for node in &order {
            if let Some(slot) = by_slot.get_mut(usize::from(node.id.slot())) {
                *slot = Some(Arc::clone(node));
            }
        }
        Self { order, by_slot }
    }

    pub(super) fn nodes(&self) -> &[Arc<Node<K, S>>] {
        &self.order
    }

    /// The server with that id; `None` if it is gone.
    #[inline]
    pub(super) fn node(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.slot(id.slot()).filter(|node| node.id == id)
    }

    #[inline]
    fn slot(&self, slot: u16) -> Option<&Arc<Node<K, S>>> {
        self.by_slot.get(usize::from(slot))?.as_ref()
    }

    pub(super) fn named(&self, key: &K) -> Option<&Arc<Node<K, S>>>
    where
        K: Ord,
    {
        self.order.get(place(&self.order, key).ok()?)
    }

    pub(super) fn healths(&self) -> impl Iterator<Item = &ServerHealth<SetBreaker>> {
        self.order.iter().map(|node| &node.health)
    }
}

/// A list at an instant, as balancers see it.
pub(super) struct View<'a, K, S> {
    pub(super) list: &'a List<K, S>,
    pub(super) health: &'a Health<SetBreaker>,
    pub(super) now: Instant,
}

impl<K, S> View<'_, K, S> {
    /// How many servers take calls.
    pub(super) fn usable(&self) -> u32 {
        self.list.healths().map(|health| u32::from(self.health.usable(health, self.now))).sum()
    }

    #[inline]
    fn candidate(&self, node: &Node<K, S>) -> Candidate {
        // A key is an address, and has a slot of its own.
        let address = AddressKey(node.id.slot().into());
        Candidate { server: node.id, address, usable: self.health.usable(&node.health, self.now) }
    }
}

impl<K, S> ServerList for View<'_, K, S> {
    type Stats = AnyStats<Heap>;

    fn len(&self) -> usize {
        self.list.order.len()
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        self.list.order.get(position).map(|node| self.candidate(node))
    }

    fn slots(&self) -> usize {
        self.list.by_slot.len()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        self.list.slot(slot).map(|node| self.candidate(node))
    }

    #[inline]
    fn load(&self, server: ServerId) -> Option<Load<'_, AnyStats<Heap>>> {
        let node = self.list.node(server)?;
        Some(Load { stats: &node.stats, in_flight: node.in_flight(), weight: node.weight })
    }
}

impl<K: fmt::Display, S> Roster for View<'_, K, S> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}", self.list.order.get(position).ok_or(fmt::Error)?.key)
    }
}

/// Where `key` is, or would be.
fn place<K: Ord, S>(order: &[Arc<Node<K, S>>], key: &K) -> Result<usize, usize> {
    order.binary_search_by(|node| node.key.cmp(key))
}

/// The list of servers, as it is now, and their health.
pub(super) struct Servers<K, S> {
    now: ArcSwap<Snapshot<K, S>>,
    pub(super) health: Health<SetBreaker>,
    /// Whether the balancer does, whatever the list.
    pub(super) needs_request_code: bool,
    /// Also the lock of whoever changes the list.
    slots: Mutex<Slots<K, S>>,
}

impl<K, S> Servers<K, S> {
    pub(super) fn new(balancer: SetBalancer, health: Health<SetBreaker>) -> Self {
        let needs_request_code = balancer.needs_request_code();
        let now = ArcSwap::from_pointee(Snapshot { list: List::new(Vec::new()), balancer });
        Self { now, health, needs_request_code, slots: Mutex::default() }
    }

    #[inline]
    pub(super) fn load(&self) -> Guard<Arc<Snapshot<K, S>>> {
        self.now.load()
    }

    /// The list of a snapshot at an instant.
    #[inline]
    pub(super) fn view<'a>(&'a self, snapshot: &'a Snapshot<K, S>, now: Instant) -> View<'a, K, S> {
        View { list: &snapshot.list, health: &self.health, now }
    }

    /// Says whether a server's connection stands.
    pub(super) fn set_usable(&self, key: &K, usable: bool, now: Instant) -> bool
    where
        K: Ord,
    {
        let snapshot = self.load();
        let node = snapshot.list.named(key);
        if let Some(node) = node {
            self.health.set_withdrawn(&node.health, !usable, now, || snapshot.list.healths());
        }
        node.is_some()
    }

    /// Makes changes, all at once; answers how many changed anything.
    pub(super) fn apply(
        &self,
        changes: impl IntoIterator<Item = Change<K, S>>,
        now: Instant,
    ) -> Result<usize, ArrangeError>
    where
        K: Ord + fmt::Display,
    {
        let mut known = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.load();
        let (mut slots, mut order) = (known.clone(), before.list.order.clone());
        let mut made = 0;
        for change in changes {
            let (key, service, weight) = match change {
                Change::Insert(key, service) => (key, service, None),
                Change::InsertWeighted(key, service, weight) => (key, service, Some(weight)),
                Change::Remove(key) => {
                    if let Ok(at) = place(&order, &key) {
                        slots.release(&order.remove(at));
                        made += 1;
                    }
                    continue;
                }
            };
            let (at, id) = match place(&order, &key) {
                Ok(at) => (at, slots.renew(&order.remove(at))),
                Err(at) => (at, slots.take()),
            };
            let Some(id) = id else { continue };
            order.insert(at, Arc::new(Node::new(key, service, id, weight, &before.balancer)));
            made += 1;
        }
        if made == 0 {
            return Ok(0);
        }
        let (list, mut balancer) = (List::new(order), before.balancer.clone());
        // That servers are usable is nothing to arrange by, so the instant is of no moment.
        balancer.arrange(&View { list: &list, health: &self.health, now: Instant::ZERO })?;
        let after = Arc::new(Snapshot { list, balancer });
        self.now.store(Arc::clone(&after));
        *known = slots;
        self.health.changed(now, || after.list.healths());
        Ok(made)
    }
}

/// Which slots are free, and which ids are given next. The generations of a slot come round: one is passed over as long as a
/// call may still speak of the server that had it (L20).
struct Slots<K, S> {
    /// The next generation of each slot.
    generations: Vec<u16>,
    free: Vec<u16>,
    /// The servers that have left, some of which calls still hold.
    left: HashMap<ServerId, Weak<Node<K, S>>>,
    /// How many there must be before it is worth looking for those that no call holds.
    prune_at: usize,
}

impl<K, S> Slots<K, S> {
    /// An id for a new server; `None` if all are taken.
    fn take(&mut self) -> Option<ServerId> {
        let mut free = self.free.iter().enumerate().rev();
        if let Some((place, id)) = free.find_map(|(place, slot)| Some((place, self.next(*slot)?))) {
            self.free.swap_remove(place);
            return Some(id);
        }
        let slot = u16::try_from(self.generations.len()).ok()?;
        self.generations.push(0);
        Some(ServerId::new(slot, 0))
    }

    /// An id for the server that takes the place of one; in the same slot, unless none is left there.
    fn renew(&mut self, node: &Arc<Node<K, S>>) -> Option<ServerId> {
        self.release(node);
        match self.next(node.id.slot()) {
            Some(id) => {
                self.free.pop();
                Some(id)
            }
            None => self.take(),
        }
    }

    fn release(&mut self, node: &Arc<Node<K, S>>) {
        if let Some(next) = self.generations.get_mut(usize::from(node.id.slot())) {
            *next = node.id.generation().wrapping_add(1);
        }
        self.free.push(node.id.slot());
        if self.left.len() >= self.prune_at {
            self.left.retain(|_, held| held.strong_count() > 0);
            self.prune_at = PRUNE_AT_LEAST.max(2 * self.left.len());
        }
        self.left.insert(node.id, Arc::downgrade(node));
    }

    /// The next id in a slot that no call holds.
    fn next(&self, slot: u16) -> Option<ServerId> {
        let next = self.generations.get(usize::from(slot)).copied()?;
        let is_held = |id| self.left.get(&id).is_some_and(|held| held.strong_count() > 0);
        (0..=u16::MAX).map(|step| ServerId::new(slot, next.wrapping_add(step))).find(|id| !is_held(*id))
    }
}

impl<K, S> Default for Slots<K, S> {
    fn default() -> Self {
        Self { generations: Vec::new(), free: Vec::new(), left: HashMap::new(), prune_at: 0 }
    }
}

impl<K, S> Clone for Slots<K, S> {
    fn clone(&self) -> Self {
        let Self { generations, free, left, prune_at } = self;
        Self { generations: generations.clone(), free: free.clone(), left: left.clone(), prune_at: *prune_at }
    }
}

#[cfg(test)]
mod tests {
    use hedge_core::health::IsolationLimit;

    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn servers<K>(balancer: &str) -> Servers<K, ()> {
        let breaker = Recovering::new(AnyBreaker::None, None);
        let health = breaker.and_then(|breaker| Health::new(breaker, IsolationLimit::DEFAULT));
        Servers::new(SetBalancer::named(balancer, 1).unwrap(), health.unwrap())
    }

    fn insert<K>(key: K) -> Change<K, ()> {
        Change::Insert(key, ())
    }

    fn ids<K: Copy>(servers: &Servers<K, ()>) -> Vec<(K, ServerId)> {
        servers.load().list.nodes().iter().map(|node| (node.key, node.id)).collect()
    }

    #[test]
    fn s7_a_list_is_in_the_order_of_its_keys_whatever_the_order_of_the_changes() {
        let servers = servers("rr");
        assert_eq!(servers.apply([3, 1, 2].map(insert), NOW), Ok(3));
        assert_eq!(ids(&servers).iter().map(|(key, _)| *key).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(servers.apply([Change::Remove(7)], NOW), Ok(0));
    }

    #[test]
    fn l20_a_server_that_is_replaced_or_comes_back_is_another() {
        let servers = servers("rr");
        servers.apply([1, 2].map(insert), NOW).unwrap();
        let before = ids(&servers);
        servers.apply([insert(1)], NOW).unwrap();
        let replaced = ids(&servers);
        assert_eq!(replaced[0].1.slot(), before[0].1.slot(), "the same address");
        assert_ne!(replaced[0].1, before[0].1);
        assert_eq!(replaced[1], before[1]);
        servers.apply([Change::Remove(1), insert(1)], NOW).unwrap();
        let back = ids(&servers);
        assert!(back[0].1 != before[0].1 && back[0].1 != replaced[0].1);
        assert!(servers.load().list.node(before[0].1).is_none());
    }

    #[test]
    fn l20_an_id_that_comes_round_is_not_given_again_while_a_call_holds_its_server() {
        let servers = servers::<u16>("rr");
        servers.apply([insert(1)], NOW).unwrap();
        let held = Arc::clone(&servers.load().list.nodes()[0]);
        let once = |changes: &[Change<u16, ()>]| {
            changes.iter().for_each(|change| assert_eq!(servers.apply([*change], NOW), Ok(1)));
            servers.load().list.nodes()[0].id
        };
        for _ in 0..70_000 {
            assert_ne!(once(&[insert(1)]), held.id, "replaced while the call holds it");
        }
        for _ in 0..70_000 {
            assert_ne!(once(&[Change::Remove(1), insert(1)]), held.id, "back while the call holds it");
        }
        let id = held.id;
        drop(held);
        assert!((0..65_536).any(|_| once(&[insert(1)]) == id), "the call is over");
        let known = servers.slots.lock().unwrap();
        assert!(known.left.len() <= 2 * PRUNE_AT_LEAST, "{}", known.left.len());
    }

    #[test]
    fn more_servers_than_ids_are_left_out() {
        let servers = servers("rr");
        assert_eq!(servers.apply((0..70_000).map(insert), NOW), Ok(65_536));
        assert_eq!(servers.load().list.nodes().len(), 65_536);
    }

    #[test]
    fn s2_a_server_weighs_what_it_came_with_else_the_default_else_1() {
        let three = NonZeroU32::new(3).unwrap();
        for (balancer, weights) in [("wrr", [1, 3]), ("wr:default_weight=7", [7, 3]), ("p2c", [1, 3]), ("rr", [1, 1])] {
            let servers = servers(balancer);
            servers.apply([insert(1), Change::InsertWeighted(2, (), three)], NOW).unwrap();
            let snapshot = servers.load();
            assert_eq!(
                snapshot.list.nodes().iter().map(|node| node.weight.get()).collect::<Vec<_>>(),
                weights,
                "{balancer}"
            );
        }
    }

    #[test]
    fn a_server_takes_as_many_bytes_as_the_docs_say() {
        // The node and its two counts, and its places in the list.
        let bytes = size_of::<Node<(), ()>>() + 2 * size_of::<usize>() + 2 * size_of::<Arc<Node<(), ()>>>();
        assert!(bytes <= 104, "{bytes}");
    }

    /// A key that not every client could write.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    struct Key(u16);

    impl fmt::Display for Key {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.0 == 13 { Err(fmt::Error) } else { self.0.fmt(f) }
        }
    }

    #[test]
    fn s5_a_list_that_the_ring_cannot_take_changes_nothing() {
        let servers = servers("c_murmurhash");
        assert_eq!(servers.apply([1, 2].map(|key| insert(Key(key))), NOW), Ok(2));
        let before = ids(&servers);
        let refused = servers.apply([Change::Remove(Key(1)), insert(Key(3)), insert(Key(13))], NOW);
        assert!(matches!(refused, Err(ArrangeError::Ring(_))), "{refused:?}");
        assert_eq!(ids(&servers), before);
        assert_eq!(servers.apply([Change::Remove(Key(1)), insert(Key(3))], NOW), Ok(2));
        assert_eq!(ids(&servers)[0], before[1]);
    }
}

//! The servers of a set: [`Node`], the immutable [`Snapshot`] that picks read, and [`Servers`], which replaces it.
//!
//! A pick loads a snapshot without a lock; a change builds a new one under a mutex. A server that goes, or is replaced,
//! leaves its node to the calls that are at it (L20).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use hedge_core::balance::{Candidate, ServerList};
use hedge_core::call::{AddressKey, ServerId};

use super::Change;

/// One server and its counts.
pub(super) struct Node<K, S> {
    pub(super) key: K,
    pub(super) service: S,
    pub(super) id: ServerId,
    in_flight: AtomicU32,
    usable: AtomicBool,
}

impl<K, S> Node<K, S> {
    fn new(key: K, service: S, id: ServerId) -> Self {
        Self { key, service, id, in_flight: AtomicU32::new(0), usable: AtomicBool::new(true) }
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

    pub(super) fn set_usable(&self, usable: bool) {
        self.usable.store(usable, Ordering::Relaxed);
    }

    fn candidate(&self) -> Candidate {
        // A key is an address, and has a slot of its own.
        let address = AddressKey(self.id.slot().into());
        Candidate { server: self.id, address, usable: self.usable.load(Ordering::Relaxed) }
    }
}

/// The servers at one moment.
pub(super) struct Snapshot<K, S> {
    /// In canonical order (S7): by key.
    order: Vec<Arc<Node<K, S>>>,
    by_slot: Vec<Option<Arc<Node<K, S>>>>,
}

impl<K, S> Snapshot<K, S> {
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
    pub(super) fn node(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.by_slot.get(usize::from(id.slot()))?.as_ref().filter(|node| node.id == id)
    }

    pub(super) fn named(&self, key: &K) -> Option<&Arc<Node<K, S>>>
    where
        K: Ord,
    {
        self.order.get(place(&self.order, key).ok()?)
    }
}

impl<K, S> ServerList for Snapshot<K, S> {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.order.get(position).map(|node| node.candidate())
    }

    fn find(&self, server: ServerId) -> Option<Candidate> {
        self.node(server).map(|node| node.candidate())
    }
}

/// Where `key` is, or would be.
fn place<K: Ord, S>(order: &[Arc<Node<K, S>>], key: &K) -> Result<usize, usize> {
    order.binary_search_by(|node| node.key.cmp(key))
}

/// The list of servers, as it is now.
pub(super) struct Servers<K, S> {
    now: ArcSwap<Snapshot<K, S>>,
    /// Also the lock of whoever changes the list.
    slots: Mutex<Slots>,
}

impl<K, S> Servers<K, S> {
    pub(super) fn new() -> Self {
        Self { now: ArcSwap::from_pointee(Snapshot::new(Vec::new())), slots: Mutex::default() }
    }

    pub(super) fn load(&self) -> Guard<Arc<Snapshot<K, S>>> {
        self.now.load()
    }

    /// Makes changes, all at once; answers how many changed anything.
    pub(super) fn apply(&self, changes: impl IntoIterator<Item = Change<K, S>>) -> usize
    where
        K: Ord,
    {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order = self.load().order.clone();
        let mut made = 0;
        for change in changes {
            made += usize::from(match change {
                Change::Insert(key, service) => match place(&order, &key) {
                    Ok(at) => order.get_mut(at).is_some_and(|node| {
                        *node = Arc::new(Node::new(key, service, slots.renew(node.id)));
                        true
                    }),
                    Err(at) => slots.take().is_some_and(|id| {
                        order.insert(at, Arc::new(Node::new(key, service, id)));
                        true
                    }),
                },
                Change::Remove(key) => place(&order, &key).is_ok_and(|at| {
                    slots.release(order.remove(at).id);
                    true
                }),
            });
        }
        if made > 0 {
            self.now.store(Arc::new(Snapshot::new(order)));
        }
        made
    }
}

/// Which slots are free, and how many servers each has had.
#[derive(Default)]
struct Slots {
    generations: Vec<u16>,
    free: Vec<u16>,
}

impl Slots {
    /// A slot for a new server; `None` if all are taken.
    fn take(&mut self) -> Option<ServerId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.generations.len()).ok()?;
                self.generations.push(0);
                slot
            }
        };
        Some(ServerId::new(slot, self.generations.get(usize::from(slot)).copied()?))
    }

    /// The next server in a slot.
    fn renew(&mut self, id: ServerId) -> ServerId {
        let generation = id.generation().wrapping_add(1);
        if let Some(known) = self.generations.get_mut(usize::from(id.slot())) {
            *known = generation;
        }
        ServerId::new(id.slot(), generation)
    }

    fn release(&mut self, id: ServerId) {
        let next = self.renew(id);
        self.free.push(next.slot());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(servers: &Servers<u32, ()>) -> Vec<(u32, ServerId)> {
        servers.load().nodes().iter().map(|node| (node.key, node.id)).collect()
    }

    #[test]
    fn s7_a_list_is_in_the_order_of_its_keys_whatever_the_order_of_the_changes() {
        let servers = Servers::new();
        assert_eq!(servers.apply([3, 1, 2].map(|key| Change::Insert(key, ()))), 3);
        assert_eq!(ids(&servers).iter().map(|(key, _)| *key).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(servers.apply([Change::Remove(7)]), 0);
    }

    #[test]
    fn l20_a_server_that_is_replaced_or_comes_back_is_another() {
        let servers = Servers::new();
        servers.apply([Change::Insert(1, ()), Change::Insert(2, ())]);
        let before = ids(&servers);
        servers.apply([Change::Insert(1, ())]);
        let replaced = ids(&servers);
        assert_eq!(replaced[0].1.slot(), before[0].1.slot(), "the same address");
        assert_ne!(replaced[0].1, before[0].1);
        assert_eq!(replaced[1], before[1]);
        servers.apply([Change::Remove(1), Change::Insert(1, ())]);
        let back = ids(&servers);
        assert!(back[0].1 != before[0].1 && back[0].1 != replaced[0].1);
        assert!(servers.load().node(before[0].1).is_none());
    }

    #[test]
    fn more_servers_than_ids_are_left_out() {
        let servers = Servers::new();
        assert_eq!(servers.apply((0..70_000).map(|key| Change::Insert(key, ()))), 65_536);
        assert_eq!(servers.load().len(), 65_536);
    }
}

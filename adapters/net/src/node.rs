//! The servers of a channel: [`Node`], the immutable [`Snapshot`] that picks read, and [`Servers`], which replaces it.
//!
//! A pick loads a snapshot without a lock; a change of the list builds a new one under a mutex. A server that stays keeps
//! its node, and with it its id and counts; a server that goes leaves its node to the calls that are at it (L20).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use hedge_core::balance::{Candidate, ServerList};
use hedge_core::call::{AddressKey, ServerId};

use crate::address::Address;
use crate::naming::Server;

/// The most servers that a channel holds. The other half of the ids is for servers that calls bring themselves (S8).
pub(crate) const MAX_SERVERS: u16 = 0x8000;

/// One server and its counts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) id: ServerId,
    pub(crate) address_key: AddressKey,
    in_flight: AtomicU32,
    usable: AtomicBool,
}

impl Node {
    pub(crate) fn new(server: Server, id: ServerId, address_key: AddressKey) -> Arc<Self> {
        let (in_flight, usable) = (AtomicU32::new(0), AtomicBool::new(true));
        Arc::new(Self { server, id, address_key, in_flight, usable })
    }

    pub(crate) fn candidate(&self) -> Candidate {
        Candidate { server: self.id, address: self.address_key, usable: self.usable.load(Ordering::Relaxed) }
    }

    pub(crate) fn started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finished(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn set_usable(&self, usable: bool) {
        self.usable.store(usable, Ordering::Relaxed);
    }
}

/// The servers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// In canonical order (S7).
    order: Vec<Arc<Node>>,
    by_slot: Vec<Option<Arc<Node>>>,
    addresses: usize,
}

impl Snapshot {
    fn new(order: Vec<Arc<Node>>) -> Self {
        let slots = order.iter().map(|node| usize::from(node.id.slot()) + 1).max().unwrap_or(0);
        let mut by_slot = vec![None; slots];
        for node in &order {
            if let Some(slot) = by_slot.get_mut(usize::from(node.id.slot())) {
                *slot = Some(Arc::clone(node));
            }
        }
        let addresses = order.chunk_by(|a, b| a.address_key == b.address_key).count();
        Self { order, by_slot, addresses }
    }

    /// The server with that id; `None` if it is gone.
    pub(crate) fn node(&self, id: ServerId) -> Option<&Arc<Node>> {
        self.by_slot.get(usize::from(id.slot()))?.as_ref().filter(|node| node.id == id)
    }

    pub(crate) fn named(&self, server: &Server) -> Option<&Arc<Node>> {
        let place = self.order.binary_search_by(|node| node.server.cmp(server)).ok()?;
        self.order.get(place)
    }

    /// The key of an address that some server here has.
    pub(crate) fn key_of(&self, address: &Address) -> Option<AddressKey> {
        let place = self.order.binary_search_by(|node| node.server.address.cmp(address)).ok()?;
        self.order.get(place).map(|node| node.address_key)
    }

    pub(crate) fn nodes(&self) -> &[Arc<Node>] {
        &self.order
    }

    /// How many different addresses there are, usable or not.
    pub(crate) const fn addresses(&self) -> usize {
        self.addresses
    }
}

impl ServerList for Snapshot {
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

/// The list of servers, as it is now.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    now: ArcSwap<Snapshot>,
    /// How many servers have left each slot; also the lock of whoever changes the list.
    generations: Mutex<Vec<u16>>,
}

impl Servers {
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.now.load()
    }

    /// Makes `servers` the list; answers how many it holds.
    pub(crate) fn set(&self, mut servers: Vec<Server>) -> usize {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        servers.sort_unstable();
        servers.dedup();
        servers.truncate(usize::from(MAX_SERVERS));

        let old = self.now.load();
        for node in old.nodes() {
            if servers.binary_search(&node.server).is_err()
                && let Some(generation) = generations.get_mut(usize::from(node.id.slot()))
            {
                *generation = generation.wrapping_add(1);
            }
        }
        let stays = |server: &Server| old.named(server).cloned();
        let mut keys: HashMap<Address, AddressKey> = HashMap::new();
        let mut taken: HashSet<u16> = HashSet::new();
        for node in servers.iter().filter_map(stays) {
            keys.insert(node.server.address.clone(), node.address_key);
            taken.insert(node.id.slot());
        }
        let mut used: HashSet<AddressKey> = keys.values().copied().collect();
        let mut free_slots = (0..MAX_SERVERS).filter(|slot| !taken.contains(slot));

        let mut order = Vec::with_capacity(servers.len());
        for server in servers {
            if let Some(node) = stays(&server) {
                order.push(node);
                continue;
            }
            // There are as many slots as servers may be.
            let Some(slot) = free_slots.next() else { break };
            let key = match keys.get(&server.address) {
                Some(key) => *key,
                None => std::iter::successors(Some(AddressKey::of(&server.address)), |key| Some(key.next()))
                    .find(|key| used.insert(*key))
                    .unwrap_or_default(),
            };
            keys.insert(server.address.clone(), key);
            let index = usize::from(slot);
            if generations.len() <= index {
                generations.resize(index + 1, 0);
            }
            let generation = generations.get(index).copied().unwrap_or_default();
            order.push(Node::new(server, ServerId::new(slot, generation), key));
        }
        let len = order.len();
        self.now.store(Arc::new(Snapshot::new(order)));
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Server> {
        crate::parse_servers(text).unwrap()
    }

    fn ids(servers: &Servers) -> Vec<ServerId> {
        servers.load().nodes().iter().map(|node| node.id).collect()
    }

    #[test]
    fn s7_a_server_that_stays_keeps_its_id_and_counts() {
        let servers = Servers::default();
        servers.set(list("list://127.0.0.1:3,127.0.0.1:1"));
        let before = ids(&servers);
        servers.load().nodes()[1].started();
        assert_eq!(servers.set(list("list://127.0.0.1:2,127.0.0.1:3")), 2);
        let now = servers.load();
        assert_eq!(now.nodes()[1].id, before[1]);
        assert_eq!(now.nodes()[1].in_flight(), 1);
        assert_eq!(now.nodes()[0].id.slot(), before[0].slot(), "the slot lives again");
        assert_ne!(now.nodes()[0].id, before[0], "as another server");
        assert!(now.node(before[0]).is_none());
    }

    #[test]
    fn l20_a_server_that_comes_back_is_another() {
        let servers = Servers::default();
        servers.set(list("127.0.0.1:1"));
        let old = ids(&servers);
        servers.set(Vec::new());
        assert_eq!(servers.load().len(), 0);
        servers.set(list("127.0.0.1:1"));
        assert_ne!(old, ids(&servers));
    }

    #[test]
    fn servers_of_one_address_share_its_key() {
        let servers = Servers::default();
        servers.set(list("list://127.0.0.1:1 a,127.0.0.1:2,127.0.0.1:1 b,127.0.0.1:1 a"));
        let now = servers.load();
        let keys: Vec<_> = now.nodes().iter().map(|node| node.address_key).collect();
        assert_eq!(keys.len(), 3, "a server that is named twice is there once");
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        assert_eq!(now.addresses(), 2);
        drop(now);
        servers.set(list("list://127.0.0.1:0,127.0.0.1:1 b"));
        let now = servers.load();
        assert_eq!(now.nodes()[1].address_key, keys[0]);
        assert_ne!(now.nodes()[0].address_key, keys[0]);
    }

    #[test]
    fn more_servers_than_ids_are_left_out_in_canonical_order() {
        let servers = Servers::default();
        let many: Vec<Server> =
            (0..=u16::MAX).map(|port| Server::from(Address::Socket(([127, 0, 0, 1], port).into()))).collect();
        assert_eq!(servers.set(many), usize::from(MAX_SERVERS));
    }
}

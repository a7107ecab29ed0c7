//! The servers of a channel: the immutable [`Snapshot`] that picks read, and [`Servers`], which replaces it.
//!
//! A pick loads a snapshot without a lock; a change of the list builds a new one under a mutex. A server that stays keeps
//! its node, and with it its id and everything that is known of it; a server that goes leaves its node to the calls that are
//! at it (L20). The balancer is part of the snapshot: a pick sees a list and what its balancer made of that list.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use hedge_core::balance::{
    AnyStats, ArrangeError, Balancer as _, Candidate, Heap, Load, Roster, ServerList, WeightError,
};
use hedge_core::health::ServerHealth;
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::Instant;

use crate::address::Address;
use crate::ids::Ids;
use crate::naming::Server;
use crate::node::{Balancer, Breaker, FleetHealth, Node};

/// The most servers that a channel holds. The other half of the ids is for servers that calls bring themselves (S8).
pub(crate) const MAX_SERVERS: u16 = 0x8000;

/// What a new list has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ListUpdate {
    /// How many servers the list holds now.
    pub servers: usize,
    /// How many of them have come.
    pub inserted: usize,
    /// How many have gone.
    pub removed: usize,
    /// Those that were not taken in, in canonical order, and why.
    pub refused: Vec<(Server, Refusal)>,
}

/// Why a server is not taken into the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The balancer goes by weights, and the server's tag is none.
    Weight(WeightError),
    /// The channel's filter does not let it through (N3).
    FilteredOut,
    /// The list is full: it holds 32,768 servers.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(error) => error.fmt(f),
            Self::FilteredOut => f.write_str("the filter does not let it through"),
            Self::Full => write!(f, "the list is full: it holds {MAX_SERVERS} servers"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a list of servers was not taken in; the old one stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ListError {
    /// The balancer cannot arrange such a list, as where a ring's points do not fit into memory.
    Arrange(ArrangeError),
    /// The channel's filter set it, while it was asked about another list of this channel: that would never end.
    InFilter,
}

impl From<ArrangeError> for ListError {
    fn from(error: ArrangeError) -> Self {
        Self::Arrange(error)
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrange(error) => error.fmt(f),
            Self::InFilter => f.write_str("list of servers: set by the channel's own filter"),
        }
    }
}

impl std::error::Error for ListError {}

/// Which servers a channel lets into its list (N3).
pub(crate) type Filter = Box<dyn Fn(&Server) -> bool + Send + Sync>;

/// The servers at one moment, and the balancer that has arranged them.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) nodes: Nodes,
    pub(crate) balancer: Balancer,
}

/// The servers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// In canonical order (S7).
    order: Vec<Arc<Node>>,
    by_slot: Vec<Option<Arc<Node>>>,
    addresses: usize,
}

impl Nodes {
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
    pub(crate) fn get(&self, id: ServerId) -> Option<&Arc<Node>> {
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

    pub(crate) fn all(&self) -> &[Arc<Node>] {
        &self.order
    }

    /// What is known of the health of each.
    pub(crate) fn healths(&self) -> impl Iterator<Item = &ServerHealth<Breaker>> {
        self.order.iter().map(|node| &node.health)
    }

    /// How many different addresses there are, usable or not.
    pub(crate) const fn addresses(&self) -> usize {
        self.addresses
    }
}

/// A snapshot as a call sees it at an instant, with the servers that the call named itself, which are found by id only.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) health: &'a FleetHealth,
    pub(crate) own: &'a [Arc<Node>],
    pub(crate) now: Instant,
}

impl View<'_> {
    /// How many servers of the list take calls.
    pub(crate) fn usable(&self) -> u32 {
        self.nodes.healths().map(|health| u32::from(self.health.usable(health, self.now))).sum()
    }

    fn candidate(&self, node: &Node) -> Candidate {
        let usable = self.health.usable(&node.health, self.now);
        Candidate { server: node.id, address: node.address_key, usable }
    }
}

impl ServerList for View<'_> {
    type Stats = AnyStats<Heap>;

    fn len(&self) -> usize {
        self.nodes.order.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.nodes.order.get(position).map(|node| self.candidate(node))
    }

    fn slots(&self) -> usize {
        self.nodes.by_slot.len()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        self.nodes.by_slot.get(usize::from(slot))?.as_ref().map(|node| self.candidate(node))
    }

    fn find(&self, server: ServerId) -> Option<Candidate> {
        let own = || self.own.iter().find(|node| node.id == server);
        self.nodes.get(server).or_else(own).map(|node| self.candidate(node))
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, AnyStats<Heap>>> {
        let node = self.nodes.get(server)?;
        Some(Load { stats: &node.stats, in_flight: node.in_flight(), weight: node.weight })
    }
}

impl Roster for View<'_> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let node = self.nodes.order.get(position).ok_or(fmt::Error)?;
        write!(out, "{}", node.server.address)
    }
}

/// The list of servers, as it is now.
pub(crate) struct Servers {
    now: ArcSwap<Snapshot>,
    filter: Option<Filter>,
    /// Also the lock of whoever changes the list.
    ids: Mutex<Ids>,
}

impl Servers {
    /// None yet.
    pub(crate) fn new(balancer: Balancer, filter: Option<Filter>) -> Self {
        let now = ArcSwap::from_pointee(Snapshot { nodes: Nodes::default(), balancer });
        Self { now, filter, ids: Mutex::default() }
    }

    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.now.load()
    }

    /// Makes `servers` the list; answers what that changed, and the nodes that have gone. Whatever goes wrong, the old list
    /// stays.
    pub(crate) fn set(
        &self,
        servers: Vec<Server>,
        health: &FleetHealth,
    ) -> Result<(ListUpdate, Vec<Arc<Node>>), ListError> {
        let mut update = ListUpdate::default();
        // Before the lock: what the filter does is the program's affair.
        let servers = self.let_in(servers, &mut update)?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.now.load();
        let mut balancer = old.balancer.clone();

        let stays = |server: &Server| old.nodes.named(server).cloned();
        let mut keys: HashMap<Address, AddressKey> = HashMap::new();
        let mut taken: HashSet<u16> = HashSet::new();
        for node in servers.iter().filter_map(|(server, _)| stays(server)) {
            keys.insert(node.server.address.clone(), node.address_key);
            taken.insert(node.id.slot());
        }
        let gone: Vec<_> = old.nodes.all().iter().filter(|node| !taken.contains(&node.id.slot())).cloned().collect();
        let mut used: HashSet<AddressKey> = keys.values().copied().collect();
        let mut free = ids.free(&taken);

        let mut order = Vec::with_capacity(servers.len());
        for (server, weight) in servers {
            if let Some(node) = stays(&server) {
                order.push(node);
                continue;
            }
            let Some(id) = free.next() else {
                update.refused.push((server, Refusal::Full));
                continue;
            };
            let key = match keys.get(&server.address) {
                Some(key) => *key,
                None => std::iter::successors(Some(AddressKey::of(&server.address)), |key| Some(key.next()))
                    .find(|key| used.insert(*key))
                    .unwrap_or_default(),
            };
            keys.insert(server.address.clone(), key);
            order.push(Node::new(server, id, key, weight, balancer.stats()));
            update.inserted += 1;
        }
        drop(free);
        (update.servers, update.removed) = (order.len(), gone.len());

        let nodes = Nodes::new(order);
        // That servers are usable is nothing to arrange by, so it is a list of no moment.
        balancer.arrange(&View { nodes: &nodes, health, own: &[], now: Instant::ZERO })?;
        self.now.store(Arc::new(Snapshot { nodes, balancer }));
        ids.changed(self.now.load().nodes.all().iter().map(|node| node.id), &gone);
        Ok((update, gone))
    }

    /// The servers that may be in the list, each once and in canonical order, with their weights.
    fn let_in(
        &self,
        mut servers: Vec<Server>,
        update: &mut ListUpdate,
    ) -> Result<Vec<(Server, NonZeroU32)>, ListError> {
        let _filtering = Filtering::begin(self)?;
        servers.sort_unstable();
        servers.dedup();
        // The balancer's word, which no list changes.
        let weighing = self.now.load().balancer.weighing();
        let mut let_in = Vec::with_capacity(servers.len());
        for server in servers {
            let refusal = if self.filter.as_ref().is_some_and(|filter| !filter(&server)) {
                Refusal::FilteredOut
            } else {
                match weighing.weight(&&*server.tag) {
                    Err(error) => Refusal::Weight(error),
                    Ok(_) if let_in.len() >= usize::from(MAX_SERVERS) => Refusal::Full,
                    Ok(weight) => {
                        let_in.push((server, weight));
                        continue;
                    }
                }
            };
            update.refused.push((server, refusal));
        }
        Ok(let_in)
    }
}

thread_local! {
    /// The lists whose filters this thread is asking, by their addresses.
    static FILTERING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A list's filter is being asked on this thread.
struct Filtering;

impl Filtering {
    fn begin(servers: &Servers) -> Result<Self, ListError> {
        let list = std::ptr::from_ref(servers).addr();
        FILTERING.with_borrow_mut(|lists| {
            if lists.contains(&list) {
                return Err(ListError::InFilter);
            }
            lists.push(list);
            Ok(Self)
        })
    }
}

impl Drop for Filtering {
    fn drop(&mut self) {
        FILTERING.with_borrow_mut(Vec::pop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::health::{AnyBreaker, Health, IsolationLimit, Recovering};

    fn health() -> FleetHealth {
        Health::new(Recovering::new(AnyBreaker::None, None).unwrap(), IsolationLimit::DEFAULT).unwrap()
    }

    fn servers(balancer: &str) -> Servers {
        Servers::new(Balancer::named(balancer, 1).unwrap(), None)
    }

    fn list(text: &str) -> Vec<Server> {
        crate::parse_servers(text).unwrap()
    }

    fn set(servers: &Servers, text: &str) -> ListUpdate {
        let list = if text.is_empty() { Vec::new() } else { list(text) };
        servers.set(list, &health()).unwrap().0
    }

    fn ids(servers: &Servers) -> Vec<ServerId> {
        servers.load().nodes.all().iter().map(|node| node.id).collect()
    }

    #[test]
    fn s7_a_server_that_stays_keeps_its_id_and_counts() {
        let servers = servers("p2c");
        set(&servers, "list://127.0.0.1:3,127.0.0.1:1");
        let before = ids(&servers);
        let stays = Arc::clone(&servers.load().nodes.all()[1]);
        stays.started();
        let (update, gone) = servers.set(list("list://127.0.0.1:2,127.0.0.1:3"), &health()).unwrap();
        assert_eq!((update.servers, update.inserted, update.removed, update.refused.len()), (2, 1, 1, 0));
        assert_eq!(gone[0].id, before[0]);
        let now = servers.load();
        assert!(Arc::ptr_eq(&now.nodes.all()[1], &stays), "and everything else that is known of it");
        assert_eq!(now.nodes.all()[1].id, before[1]);
        assert_eq!(now.nodes.all()[1].in_flight(), 1);
        assert_eq!(now.nodes.all()[0].id.slot(), before[0].slot(), "the slot lives again");
        assert_ne!(now.nodes.all()[0].id, before[0], "as another server");
        assert!(now.nodes.get(before[0]).is_none());
    }

    #[test]
    fn l20_a_server_that_comes_back_is_another() {
        let servers = servers("rr");
        set(&servers, "127.0.0.1:1");
        let old = ids(&servers);
        assert_eq!(set(&servers, "").removed, 1);
        assert_eq!(servers.load().nodes.all().len(), 0);
        set(&servers, "127.0.0.1:1");
        assert_ne!(old, ids(&servers));
    }

    /// More lists than a slot has generations, with one of its servers still held.
    #[test]
    fn l20_an_id_does_not_recur_while_something_speaks_of_it() {
        let servers = servers("la");
        set(&servers, "list://127.0.0.1:1,127.0.0.1:9");
        let held = Arc::clone(&servers.load().nodes.all()[0]);
        let (one, other) = (list("list://127.0.0.1:2,127.0.0.1:9"), list("list://127.0.0.1:3,127.0.0.1:9"));
        let mut slots = HashSet::new();
        for number in 0..=u16::MAX {
            let next = if number % 2 == 0 { &one } else { &other };
            servers.set(next.clone(), &health()).unwrap();
            let now = servers.load();
            assert!(now.nodes.get(held.id).is_none(), "after {number} lists");
            slots.extend(now.nodes.all().iter().map(|node| node.id.slot()));
        }
        assert_eq!(slots.len(), 2, "and no slot is lost");
        // What nothing holds is given again.
        let id = held.id;
        drop(held);
        for number in 0..=u16::MAX {
            let next = if number % 2 == 0 { &one } else { &other };
            servers.set(next.clone(), &health()).unwrap();
            if servers.load().nodes.get(id).is_some() {
                return;
            }
        }
        panic!("it never came back");
    }

    #[test]
    fn n3_a_filter_that_sets_the_list_is_refused() {
        static SERVERS: std::sync::OnceLock<Servers> = std::sync::OnceLock::new();
        let filter = Box::new(|_: &Server| {
            let nested = SERVERS.get().map(|servers| servers.set(list("127.0.0.1:2"), &health()).map(drop));
            nested == Some(Err(ListError::InFilter))
        });
        let servers = SERVERS.get_or_init(|| Servers::new(Balancer::named("rr", 1).unwrap(), Some(filter)));
        for _ in 0..2 {
            assert_eq!(set(servers, "127.0.0.1:1").servers, 1, "it was refused, and could say so");
        }
    }

    #[test]
    fn a_filter_that_panics_changes_nothing() {
        let filter = |server: &Server| {
            if &*server.tag == "bad" {
                std::panic::resume_unwind(Box::new("bad"));
            }
            true
        };
        let servers = Servers::new(Balancer::named("rr", 1).unwrap(), Some(Box::new(filter)));
        set(&servers, "127.0.0.1:1");
        let before = ids(&servers);
        let bad = || servers.set(list("list://127.0.0.1:2,127.0.0.1:3 bad"), &health()).map(drop);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(bad)).is_err());
        assert_eq!(ids(&servers), before);
        assert_eq!(set(&servers, "127.0.0.1:4").servers, 1, "and the next list is taken in");
    }

    #[test]
    fn servers_of_one_address_share_its_key() {
        let servers = servers("rr");
        set(&servers, "list://127.0.0.1:1 a,127.0.0.1:2,127.0.0.1:1 b,127.0.0.1:1 a");
        let now = servers.load();
        let keys: Vec<_> = now.nodes.all().iter().map(|node| node.address_key).collect();
        assert_eq!(keys.len(), 3, "a server that is named twice is there once");
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        assert_eq!(now.nodes.addresses(), 2);
        drop(now);
        set(&servers, "list://127.0.0.1:0,127.0.0.1:1 b");
        let now = servers.load();
        assert_eq!(now.nodes.all()[1].address_key, keys[0]);
        assert_ne!(now.nodes.all()[0].address_key, keys[0]);
    }

    #[test]
    fn more_servers_than_ids_are_refused_in_canonical_order() {
        let servers = servers("rr");
        let many: Vec<Server> =
            (0..=u16::MAX).map(|port| Server::from(Address::Socket(([127, 0, 0, 1], port).into()))).collect();
        let (update, _) = servers.set(many, &health()).unwrap();
        assert_eq!((update.servers, update.refused.len()), (usize::from(MAX_SERVERS), 0x8000));
        assert_eq!(update.refused[0], ("127.0.0.1:32768".parse().unwrap(), Refusal::Full));
    }

    #[test]
    fn s2_servers_whose_tags_are_no_weights_are_refused_and_the_rest_is_taken_in() {
        let servers = servers("wrr");
        let update = set(&servers, "list://127.0.0.1:1 2,127.0.0.1:2 heavy,127.0.0.1:3,127.0.0.1:4 1");
        let refused: Vec<_> =
            update.refused.iter().map(|(server, reason)| (server.to_string(), reason.to_string())).collect();
        assert_eq!(update.servers, 2);
        assert_eq!(refused[0], ("127.0.0.1:2 heavy".into(), "weight: not an integer in [1, 4294967295]".into()));
        assert_eq!(refused[1].0, "127.0.0.1:3");
        assert_eq!(servers.load().nodes.all()[0].weight.get(), 2);
    }

    #[test]
    fn n3_a_filter_runs_before_the_balancer_sees_a_server() {
        let filter = Box::new(|server: &Server| &*server.tag != "canary");
        let servers = Servers::new(Balancer::named("rr", 1).unwrap(), Some(filter));
        let update = set(&servers, "list://127.0.0.1:1,127.0.0.1:2 canary");
        assert_eq!(update.refused, [("127.0.0.1:2 canary".parse().unwrap(), Refusal::FilteredOut)]);
        assert_eq!(servers.load().nodes.all().len(), 1);
    }
}

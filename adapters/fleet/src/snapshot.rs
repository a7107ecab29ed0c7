//! A list of servers that never changes ([`Snapshot`] and [`List`]), and the form in which a balancer sees the list
//! ([`View`]).

use std::fmt;
use std::sync::Arc;

use hedge_core::balance::{AnyStats, Balancer as _, Candidate, Heap, Load, Roster, ServerList};
use hedge_core::health::{Health, ServerHealth};
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::Instant;

use crate::node::{Node, Service};
use crate::slow_start::SlowStart;
use crate::{Balancer, Breaker};

/// A list of servers, together with the balancer that has arranged this list. Both are replaced together, so a search
/// never uses the arrangement of another list. The snapshot also contains the health of the list as a whole.
#[derive(Debug)]
pub struct Snapshot<K, S> {
    pub(crate) list: List<K, S>,
    pub(crate) balancer: Balancer,
    pub(crate) health: Arc<Health<Breaker>>,
}

impl<K, S> Snapshot<K, S> {
    /// Returns the servers of the snapshot.
    pub const fn list(&self) -> &List<K, S> {
        &self.list
    }

    /// Returns the balancer, which chooses a server of the list.
    pub const fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// Returns whether an attempt that starts at `now` is a probe of its server. It is a probe in two cases: the
    /// isolation of the server is over, or the server is broken and the attempt is let through.
    #[cold]
    pub(crate) fn is_on_trial(&self, node: &Node<K, S>, now: Instant) -> bool {
        let health = node.health();
        let waits = || self.health.isolated_until(health, now).is_some();
        health.is_broken() || (self.health.is_isolated(health) && !waits())
    }

    /// Returns the servers that the balancer may choose. With a subset ([S9](hedge_core::rules#S9)), these are few
    /// servers of the list, and only these are visited.
    pub fn choosable(&self) -> impl Iterator<Item = &Arc<Node<K, S>>> {
        self.servers_at(self.balancer.choosable())
    }

    /// Returns the servers at these positions of the list. `None` stands for all positions.
    fn servers_at<'a>(&'a self, positions: Option<&'a [u32]>) -> impl Iterator<Item = &'a Arc<Node<K, S>>> {
        let all = if positions.is_none() { self.list.nodes() } else { &[] };
        let at = |position: &u32| self.list.order.get(usize::try_from(*position).ok()?);
        all.iter().chain(positions.unwrap_or_default().iter().filter_map(at))
    }

    /// Returns the health of each server that the balancer may choose. The limits of the health count these servers.
    pub(crate) fn healths(&self) -> impl Iterator<Item = &ServerHealth<Breaker>> {
        self.choosable().map(|node| node.health())
    }

    /// Returns the servers among which the limit of isolations counts this server ([H4](hedge_core::rules#H4)). These
    /// are the servers that the balancer may choose. If this server is not one of them, since only calls that name it use
    /// it ([S8](hedge_core::rules#S8)), they are all servers.
    pub(crate) fn counted_with(&self, node: &Node<K, S>) -> impl Iterator<Item = &Arc<Node<K, S>>> {
        let is_own = self.balancer.may_choose(node.id().slot());
        self.servers_at(self.balancer.choosable().filter(|_| is_own))
    }

    /// Returns whether a server takes calls at `now`, apart from its cap.
    fn takes(&self, node: &Node<K, S>, now: Instant) -> bool {
        self.health.usable(node.health(), now)
    }

    /// Returns how many of the servers that the balancer may choose are usable at `now`.
    pub(crate) fn usable(&self, now: Instant) -> u32 {
        self.choosable().map(|node| u32::from(self.takes(node, now))).sum()
    }

    /// Returns whether at least one server that the balancer may choose is usable and has room.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.choosable().any(|node| node.has_room() && self.takes(node, now))
    }

    /// Returns whether at least one server that the balancer uses now is usable, has room, and has its full share of the
    /// calls. The reserve of a subset does not count: if it did, a server of the reserve would get all the calls that are
    /// held back while the whole subset is ramping.
    pub(crate) fn has_whole(&self, slow: &SlowStart, now: Instant) -> bool {
        let is_whole =
            |node: &Arc<Node<K, S>>| slow.is_whole(node.ramp(), now) && node.has_room() && self.takes(node, now);
        match &self.balancer {
            Balancer::Grouped(groups) => groups.grouped().used().filter_map(|at| self.list.order.get(at)).any(is_whole),
            _ => self.list.order.iter().any(is_whole),
        }
    }

    /// Returns whether at least one server that a call may use is full and otherwise usable. `servers` are the servers
    /// that the call itself named; `None` means all servers that the balancer may choose.
    #[cold]
    pub(crate) fn has_full(&self, servers: Option<&[ServerId]>, now: Instant) -> bool {
        let full = |node: &Arc<Node<K, S>>| !node.has_room() && self.takes(node, now);
        match servers {
            None => self.choosable().any(full),
            Some(ids) => ids.iter().filter_map(|id| self.list.get(*id)).any(full),
        }
    }

    /// Returns the health of the list as a whole.
    #[inline]
    pub fn health(&self) -> &Health<Breaker> {
        &self.health
    }
}

/// The servers at one moment. A list never changes.
pub struct List<K, S> {
    /// The servers in canonical order ([S7](hedge_core::rules#S7)), that is, sorted by key.
    order: Vec<Arc<Node<K, S>>>,
    /// The id and the address key of each server of `order`. A pass over these reads far less memory than one over the
    /// nodes.
    ids: Vec<(ServerId, AddressKey)>,
    /// For each slot: the position of its server in `order`, or [`NO_SERVER`] if the slot has no server.
    by_slot: Vec<u32>,
    addresses: usize,
}

/// The entry of a slot without a server. No list is so long that this is a position.
const NO_SERVER: u32 = u32::MAX;

impl<K, S> List<K, S> {
    /// Makes a list. The servers must be in the order of their keys, and servers with the same address must be next to
    /// each other.
    pub(crate) fn new(order: Vec<Arc<Node<K, S>>>) -> Self
    where
        S: Service,
    {
        let ids: Vec<_> = order.iter().map(|node| (node.id(), node.address_key())).collect();
        let slots = ids.iter().map(|(id, _)| usize::from(id.slot()) + 1).max().unwrap_or(0);
        let mut by_slot = vec![NO_SERVER; slots];
        for (position, (id, _)) in (0..).zip(&ids) {
            if let Some(slot) = by_slot.get_mut(usize::from(id.slot())) {
                *slot = position;
            }
        }
        let addresses = ids.chunk_by(|a, b| a.1 == b.1).count();
        Self { order, ids, by_slot, addresses }
    }

    /// Returns all servers, in the order of their keys.
    pub fn nodes(&self) -> &[Arc<Node<K, S>>] {
        &self.order
    }

    /// Returns the id and the address key of each server, in the order of the keys.
    pub(crate) fn ids(&self) -> &[(ServerId, AddressKey)] {
        &self.ids
    }

    /// Returns the server with this id. Returns `None` if it is not in the list.
    #[inline]
    pub fn get(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.in_slot(id.slot()).filter(|node| node.id() == id)
    }

    /// Returns the server with this key. Returns `None` if it is not in the list.
    pub fn named(&self, key: &K) -> Option<&Arc<Node<K, S>>>
    where
        K: Ord,
    {
        let place = self.order.binary_search_by(|node| node.key().cmp(key)).ok()?;
        self.order.get(place)
    }

    /// Returns how many different addresses there are. Servers that are not usable count too.
    pub const fn addresses(&self) -> usize {
        self.addresses
    }

    /// Returns the health of each server.
    pub fn healths(&self) -> impl Iterator<Item = &ServerHealth<Breaker>> {
        self.order.iter().map(|node| node.health())
    }

    /// Returns the highest slot in use plus 1. Returns 0 for an empty list.
    pub(crate) const fn slots(&self) -> usize {
        self.by_slot.len()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<&Arc<Node<K, S>>> {
        self.order.get(usize::try_from(*self.by_slot.get(usize::from(slot))?).ok()?)
    }
}

impl<K, S> Clone for List<K, S> {
    fn clone(&self) -> Self {
        let (order, ids, by_slot) = (self.order.clone(), self.ids.clone(), self.by_slot.clone());
        Self { order, ids, by_slot, addresses: self.addresses }
    }
}

impl<K: fmt::Debug, S> fmt::Debug for List<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.order).finish()
    }
}

/// A list at one instant, in the form in which a call sees it. The view also contains the servers that the call itself
/// named and that are not in the list ([S8](hedge_core::rules#S8)). These servers can only be found by id.
pub struct View<'a, K, S> {
    pub(crate) list: &'a List<K, S>,
    pub(crate) health: &'a Health<Breaker>,
    pub(crate) own: &'a [Arc<Node<K, S>>],
    /// Whether the search skips full servers ([L22](hedge_core::rules#L22)).
    pub(crate) capped: bool,
    /// The random number of a search while servers are ramping ([S11](hedge_core::rules#S11)). The search skips a
    /// server if its share is not above this number. `None`: no server is skipped.
    pub(crate) drawn: Option<(&'a SlowStart, u32)>,
    pub(crate) now: Instant,
}

impl<K, S: Service> View<'_, K, S> {
    /// Returns whether a server is usable and, if the search skips full servers, has room.
    #[inline]
    fn is_healthy(&self, node: &Node<K, S>) -> bool {
        self.health.usable(node.health(), self.now) && (!self.capped || node.has_room())
    }

    #[inline]
    fn candidate(&self, node: &Node<K, S>) -> Candidate {
        let usable =
            self.is_healthy(node) && self.drawn.is_none_or(|(slow, number)| slow.takes(node.ramp(), number, self.now));
        Candidate { server: node.id(), address: node.address_key(), usable }
    }
}

impl<K, S: Service> ServerList for View<'_, K, S> {
    type Stats = AnyStats<Heap>;

    fn len(&self) -> usize {
        self.list.order.len()
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        self.list.order.get(position).map(|node| self.candidate(node))
    }

    fn healthy(&self, position: usize) -> Option<bool> {
        self.list.order.get(position).map(|node| self.is_healthy(node))
    }

    fn slots(&self) -> usize {
        self.list.slots()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        self.list.in_slot(slot).map(|node| self.candidate(node))
    }

    #[inline]
    fn find(&self, server: ServerId) -> Option<Candidate> {
        let own = || self.own.iter().find(|node| node.id() == server);
        self.list.get(server).or_else(own).map(|node| self.candidate(node))
    }

    #[inline]
    fn load(&self, server: ServerId) -> Option<Load<'_, AnyStats<Heap>>> {
        let node = self.list.get(server)?;
        Some(Load { stats: node.stats(), in_flight: node.in_flight(), weight: node.weight() })
    }

    fn stats_in_slot(&self, slot: u16) -> Option<&AnyStats<Heap>> {
        self.list.in_slot(slot).map(|node| node.stats())
    }
}

impl<K: fmt::Debug, S> fmt::Debug for View<'_, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("list", &self.list).field("now", &self.now).finish_non_exhaustive()
    }
}

/// A function that writes the address of a key, for balancers that hash addresses.
pub type WriteAddress<K> = fn(&K, &mut dyn fmt::Write) -> fmt::Result;

/// A function that returns the tag of a key, for balancers that need to know where a server is
/// ([S10](hedge_core::rules#S10)).
pub(crate) type TagOf<K> = fn(&K) -> &str;

/// A list in the form in which a balancer arranges it. Balancers within groups ([S9](hedge_core::rules#S9),
/// [S10](hedge_core::rules#S10)) note which servers are usable, so the view has the instant of the change.
pub(crate) struct Arranged<'a, K, S> {
    pub(crate) view: View<'a, K, S>,
    pub(crate) write: WriteAddress<K>,
    pub(crate) tag: TagOf<K>,
}

impl<K, S: Service> ServerList for Arranged<'_, K, S> {
    type Stats = AnyStats<Heap>;

    fn len(&self) -> usize {
        self.view.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.view.at(position)
    }

    fn healthy(&self, position: usize) -> Option<bool> {
        self.view.healthy(position)
    }

    fn slots(&self) -> usize {
        self.view.slots()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        self.view.in_slot(slot)
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, AnyStats<Heap>>> {
        self.view.load(server)
    }

    fn stats_in_slot(&self, slot: u16) -> Option<&AnyStats<Heap>> {
        self.view.stats_in_slot(slot)
    }
}

impl<K, S: Service> Roster for Arranged<'_, K, S> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let node = self.view.list.order.get(position).ok_or(fmt::Error)?;
        (self.write)(node.key(), out)
    }

    fn tag(&self, position: usize) -> &str {
        self.view.list.order.get(position).map_or("", |node| (self.tag)(node.key()))
    }
}

//! An unchanging copy of the list of servers: [`Snapshot`] and [`List`], and how a balancer sees them, [`View`].

use std::fmt;
use std::sync::Arc;

use hedge_core::balance::{AnyStats, Candidate, Heap, Load, Roster, ServerList};
use hedge_core::health::{Health, ServerHealth};
use hedge_core::id::ServerId;
use hedge_core::time::Instant;

use crate::node::{Node, Service};
use crate::slow_start::SlowStart;
use crate::{Balancer, Breaker};

/// A list of servers, and the balancer that has arranged it. Both are replaced together, so a pick never sees a list
/// with the arrangement of another. The health is that of all servers together.
#[derive(Debug)]
pub struct Snapshot<K, S> {
    pub(crate) list: List<K, S>,
    pub(crate) balancer: Balancer,
    pub(crate) health: Arc<Health<Breaker>>,
}

impl<K, S> Snapshot<K, S> {
    /// The servers.
    pub const fn list(&self) -> &List<K, S> {
        &self.list
    }

    /// The balancer, which chooses among them.
    pub const fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// Whether an attempt that starts `now` would be a trial of its server: its isolation is over, or it is broken and
    /// the attempt is let through.
    #[cold]
    pub(crate) fn is_on_trial(&self, node: &Node<K, S>, now: Instant) -> bool {
        let health = node.health();
        let waits = || self.health.isolated_until(health, now).is_some();
        health.is_broken() || (self.health.is_isolated(health) && !waits())
    }

    /// The health of the list as a whole.
    #[inline]
    pub fn health(&self) -> &Health<Breaker> {
        &self.health
    }
}

/// The servers at one moment. A list never changes.
pub struct List<K, S> {
    /// The servers in canonical order ([S7](hedge_core::rules#S7)): by key.
    order: Vec<Arc<Node<K, S>>>,
    by_slot: Vec<Option<Arc<Node<K, S>>>>,
    addresses: usize,
}

impl<K, S> List<K, S> {
    /// Makes a list of servers that are in the order of their keys. Servers of one address must be next to each other.
    pub(crate) fn new(order: Vec<Arc<Node<K, S>>>) -> Self
    where
        S: Service,
    {
        let slots = order.iter().map(|node| usize::from(node.id().slot()) + 1).max().unwrap_or(0);
        let mut by_slot = vec![None; slots];
        for node in &order {
            if let Some(slot) = by_slot.get_mut(usize::from(node.id().slot())) {
                *slot = Some(Arc::clone(node));
            }
        }
        let addresses = order.chunk_by(|a, b| a.address_key() == b.address_key()).count();
        Self { order, by_slot, addresses }
    }

    /// All servers, in the order of their keys.
    pub fn nodes(&self) -> &[Arc<Node<K, S>>] {
        &self.order
    }

    /// The server with this id; `None` if it is not in the list.
    #[inline]
    pub fn get(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.in_slot(id.slot()).filter(|node| node.id() == id)
    }

    /// The server with this key; `None` if it is not in the list.
    pub fn named(&self, key: &K) -> Option<&Arc<Node<K, S>>>
    where
        K: Ord,
    {
        let place = self.order.binary_search_by(|node| node.key().cmp(key)).ok()?;
        self.order.get(place)
    }

    /// How many different addresses there are, usable or not.
    pub const fn addresses(&self) -> usize {
        self.addresses
    }

    /// The health of each server.
    pub fn healths(&self) -> impl Iterator<Item = &ServerHealth<Breaker>> {
        self.order.iter().map(|node| node.health())
    }

    /// One more than the highest slot in use; 0 for an empty list.
    pub(crate) const fn slots(&self) -> usize {
        self.by_slot.len()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<&Arc<Node<K, S>>> {
        self.by_slot.get(usize::from(slot))?.as_ref()
    }
}

impl<K, S> Clone for List<K, S> {
    fn clone(&self) -> Self {
        Self { order: self.order.clone(), by_slot: self.by_slot.clone(), addresses: self.addresses }
    }
}

impl<K: fmt::Debug, S> fmt::Debug for List<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.order).finish()
    }
}

/// A list at one instant, as a call sees it. It also has the servers that the call named itself
/// ([S8](hedge_core::rules#S8)), which can only be found by id.
pub struct View<'a, K, S> {
    pub(crate) list: &'a List<K, S>,
    pub(crate) health: &'a Health<Breaker>,
    pub(crate) own: &'a [Arc<Node<K, S>>],
    /// Whether full servers are passed over ([L22](hedge_core::rules#L22)).
    pub(crate) capped: bool,
    /// The number that this look has drawn, by which it passes over servers that are ramping
    /// ([S11](hedge_core::rules#S11)).
    pub(crate) drawn: Option<(&'a SlowStart, u32)>,
    pub(crate) now: Instant,
}

impl<K, S: Service> View<'_, K, S> {
    /// How many servers of the list are usable.
    pub(crate) fn usable(&self) -> u32 {
        self.list.healths().map(|health| u32::from(self.health.usable(health, self.now))).sum()
    }

    /// Whether some server of the list is usable and has room.
    pub(crate) fn has_room(&self) -> bool {
        self.list.order.iter().any(|node| node.has_room() && self.health.usable(node.health(), self.now))
    }

    /// Whether some server of the list is usable, has room, and has its whole share.
    pub(crate) fn has_whole(&self, slow: &SlowStart) -> bool {
        let is_whole = |node: &Node<K, S>| slow.is_whole(node.ramp(), self.now);
        self.list.order.iter().any(|node| is_whole(node) && self.candidate(node).usable)
    }

    /// Whether a server among those that a call may use is full, and usable otherwise.
    #[cold]
    pub(crate) fn has_full(&self, servers: Option<&[ServerId]>) -> bool {
        let full = |node: &Arc<Node<K, S>>| !node.has_room() && self.health.usable(node.health(), self.now);
        match servers {
            None => self.list.order.iter().any(full),
            Some(ids) => ids.iter().filter_map(|id| self.list.get(*id)).any(full),
        }
    }

    #[inline]
    fn candidate(&self, node: &Node<K, S>) -> Candidate {
        let usable = self.health.usable(node.health(), self.now)
            && (!self.capped || node.has_room())
            && self.drawn.is_none_or(|(slow, number)| slow.takes(node.ramp(), number, self.now));
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
}

impl<K: fmt::Debug, S> fmt::Debug for View<'_, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("list", &self.list).field("now", &self.now).finish_non_exhaustive()
    }
}

/// Writes the address of a key, for balancers that hash it.
pub type WriteAddress<K> = fn(&K, &mut dyn fmt::Write) -> fmt::Result;

/// A list for a balancer to arrange. `arrange` ignores health, so any instant will do.
pub(crate) struct Arranged<'a, K, S> {
    pub(crate) view: View<'a, K, S>,
    pub(crate) write: WriteAddress<K>,
}

impl<K, S: Service> ServerList for Arranged<'_, K, S> {
    type Stats = AnyStats<Heap>;

    fn len(&self) -> usize {
        self.view.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.view.at(position)
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
}

impl<K, S: Service> Roster for Arranged<'_, K, S> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let node = self.view.list.order.get(position).ok_or(fmt::Error)?;
        (self.write)(node.key(), out)
    }
}

//! The servers at one moment: [`Snapshot`] and [`List`], and how a balancer sees them, [`View`].

use std::fmt;
use std::sync::Arc;

use hedge_core::balance::{AnyStats, Candidate, Heap, Load, Roster, ServerList};
use hedge_core::health::{Health, ServerHealth};
use hedge_core::id::ServerId;
use hedge_core::time::Instant;

use crate::node::{Node, Service};
use crate::{Balancer, Breaker};

/// The servers at one moment, and the balancer that has arranged them: a pick sees a list and what its balancer made of that
/// list.
#[derive(Debug)]
pub struct Snapshot<K, S> {
    pub(crate) list: List<K, S>,
    pub(crate) balancer: Balancer,
}

impl<K, S> Snapshot<K, S> {
    /// The servers.
    pub const fn list(&self) -> &List<K, S> {
        &self.list
    }

    /// What chooses among them.
    pub const fn balancer(&self) -> &Balancer {
        &self.balancer
    }
}

/// The servers at one moment.
pub struct List<K, S> {
    /// In canonical order (S7): by key.
    order: Vec<Arc<Node<K, S>>>,
    by_slot: Vec<Option<Arc<Node<K, S>>>>,
    addresses: usize,
}

impl<K, S> List<K, S> {
    /// A list of servers in the order of their keys; those of one address are next to each other.
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

    /// All of them, in the order of their keys.
    pub fn nodes(&self) -> &[Arc<Node<K, S>>] {
        &self.order
    }

    /// The server with that id; `None` if it is gone.
    #[inline]
    pub fn get(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.in_slot(id.slot()).filter(|node| node.id() == id)
    }

    /// The server of that key; `None` if there is none.
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

    /// What is known of the health of each.
    pub fn healths(&self) -> impl Iterator<Item = &ServerHealth<Breaker>> {
        self.order.iter().map(|node| node.health())
    }

    /// How many slots there are.
    pub(crate) const fn slots(&self) -> usize {
        self.by_slot.len()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<&Arc<Node<K, S>>> {
        self.by_slot.get(usize::from(slot))?.as_ref()
    }
}

impl<K: fmt::Debug, S> fmt::Debug for List<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.order).finish()
    }
}

/// A list at an instant as a call sees it, with the servers that the call named itself (S8), which are found by id only.
pub struct View<'a, K, S> {
    pub(crate) list: &'a List<K, S>,
    pub(crate) health: &'a Health<Breaker>,
    pub(crate) own: &'a [Arc<Node<K, S>>],
    pub(crate) now: Instant,
}

impl<K, S: Service> View<'_, K, S> {
    /// How many servers of the list take calls.
    pub(crate) fn usable(&self) -> u32 {
        self.list.healths().map(|health| u32::from(self.health.usable(health, self.now))).sum()
    }

    #[inline]
    fn candidate(&self, node: &Node<K, S>) -> Candidate {
        let usable = self.health.usable(node.health(), self.now);
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

/// How a key's address is written, for balancers that hash it.
pub type WriteAddress<K> = fn(&K, &mut dyn fmt::Write) -> fmt::Result;

/// A list that a balancer is to arrange. That servers are usable is nothing to arrange by, so it is a list of no moment.
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

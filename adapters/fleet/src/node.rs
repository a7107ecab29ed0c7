//! One server: [`Node`], and the right to count as at work there, [`Lease`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_core::balance::{AnyStats, Heap};
use hedge_core::health::ServerHealth;
use hedge_core::id::{AddressKey, ServerId};

use crate::Breaker;

/// What a host keeps for each server: what serves its attempts, or what else there is to know of it.
pub trait Service {
    /// The server's address as a number: "another server" means another one. Servers of one address are next to each other in
    /// the order of their keys.
    fn address_key(&self, id: ServerId) -> AddressKey;
}

/// A service of a host where every key is an address of its own, which is as good a number as its slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnAddress<S>(pub S);

impl<S> Service for OwnAddress<S> {
    #[inline]
    fn address_key(&self, id: ServerId) -> AddressKey {
        AddressKey(id.slot().into())
    }
}

/// One server, and everything that is known of it for as long as it stays: `K` tells it from others, and `S` is what
/// serves its attempts, or what else the host keeps for each server.
///
/// # Cost
/// 56 bytes beside its key and what serves it, and under `la` 1080 more.
pub struct Node<K, S> {
    key: K,
    service: S,
    id: ServerId,
    /// 1 where the balancer asks for none.
    weight: NonZeroU32,
    in_flight: AtomicU32,
    /// The balancer's.
    stats: AnyStats<Heap>,
    health: ServerHealth<Breaker>,
}

impl<K, S> Node<K, S> {
    pub(crate) fn new((key, service): (K, S), id: ServerId, weight: NonZeroU32, stats: AnyStats<Heap>) -> Arc<Self> {
        let (in_flight, health) = (AtomicU32::new(0), ServerHealth::new());
        Arc::new(Self { key, service, id, weight, in_flight, stats, health })
    }

    /// A server that a call brings itself (S8): no balancer chooses it. Its slot is one that no list uses.
    pub fn of_a_call(key: K, service: S, id: ServerId) -> Arc<Self> {
        Self::new((key, service), id, NonZeroU32::MIN, AnyStats::Nothing)
    }

    /// What tells it from other servers.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// What serves its attempts.
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// Its id.
    pub const fn id(&self) -> ServerId {
        self.id
    }

    /// Its address as a number: "another server" means another one.
    #[inline]
    pub fn address_key(&self) -> AddressKey
    where
        S: Service,
    {
        self.service.address_key(self.id)
    }

    /// Its weight; 1 where the balancer asks for none.
    pub const fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    /// What is known of its health.
    pub const fn health(&self) -> &ServerHealth<Breaker> {
        &self.health
    }

    /// How many attempts it is working on.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) const fn stats(&self) -> &AnyStats<Heap> {
        &self.stats
    }

    pub(crate) fn started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finished(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<K: fmt::Debug, S> fmt::Debug for Node<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("server", &self.key)
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .field("broken", &self.health.is_broken())
            .finish_non_exhaustive()
    }
}

/// The winner of a streaming call, which is at work on the body (T2): its attempt counts as in flight until this is dropped.
/// What the attempt taught was told at its head.
pub struct Lease<K, S>(Arc<Node<K, S>>);

impl<K, S> Lease<K, S> {
    /// Takes over the count of an attempt that its call has left in flight: see
    /// [`Call::winner_at_work`](hedge_core::call::Call::winner_at_work).
    pub const fn new(node: Arc<Node<K, S>>) -> Self {
        Self(node)
    }
}

impl<K, S> Drop for Lease<K, S> {
    fn drop(&mut self) {
        self.0.finished();
    }
}

impl<K: fmt::Debug, S> fmt::Debug for Lease<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.0).finish()
    }
}

//! One server: [`Node`], and the hold of a streaming body on it, [`Lease`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_core::balance::{AnyStats, Heap};
use hedge_core::health::ServerHealth;
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::Instant;

use crate::Breaker;
use crate::cap::Cap;
use crate::slow_start::Ramp;

/// What a host keeps for each server, for instance the service that its attempts are sent to.
pub trait Service {
    /// The server's address as a number. "Another server" means another number. In the order of keys, servers of one
    /// address must be next to each other.
    fn address_key(&self, id: ServerId) -> AddressKey;
}

/// A service for hosts where each server has an address of its own. The number of the address is then the server's
/// slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnAddress<S>(pub S);

impl<S> Service for OwnAddress<S> {
    #[inline]
    fn address_key(&self, id: ServerId) -> AddressKey {
        AddressKey(id.slot().into())
    }
}

/// One server, and everything that is known about it while it stays in the list. `K` is the key, which identifies it.
/// `S` is what the host keeps for each server.
///
/// # Cost
/// 88 bytes, plus its key and its `S`. With the balancer `la`, 1080 bytes more.
pub struct Node<K, S> {
    key: K,
    service: S,
    id: ServerId,
    /// 1 if the balancer uses no weights.
    weight: NonZeroU32,
    in_flight: AtomicU32,
    /// What the balancer has learned about the server.
    stats: AnyStats<Heap>,
    health: ServerHealth<Breaker>,
    /// How many attempts may be in flight. `None`: any number.
    cap: Option<Arc<Cap>>,
    /// When it has come or returned ([S11](hedge_core::rules#S11)).
    ramp: Ramp,
}

/// How a list treats its servers: their cap, and when a new server has come, if it gets its share gradually.
#[derive(Clone, Copy)]
pub(crate) struct Treatment<'a> {
    pub(crate) cap: Option<&'a Arc<Cap>>,
    pub(crate) since: Option<Instant>,
}

impl<K, S> Node<K, S> {
    pub(crate) fn new(
        (key, service): (K, S),
        id: ServerId,
        weight: NonZeroU32,
        stats: AnyStats<Heap>,
        treatment: Treatment<'_>,
    ) -> Arc<Self> {
        let (in_flight, health) = (AtomicU32::new(0), ServerHealth::new());
        let (cap, ramp) = (treatment.cap.cloned(), Ramp::new(treatment.since));
        Arc::new(Self { key, service, id, weight, in_flight, stats, health, cap, ramp })
    }

    /// A server that a call named itself ([S8](hedge_core::rules#S8)). No balancer chooses it, and it has no cap, since
    /// its count is the call's own. Its slot must be one that no list uses.
    pub fn of_a_call(key: K, service: S, id: ServerId) -> Arc<Self> {
        Self::new((key, service), id, NonZeroU32::MIN, AnyStats::Nothing, Treatment { cap: None, since: None })
    }

    /// The key, which identifies the server.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// What the host keeps for the server.
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// Its id.
    pub const fn id(&self) -> ServerId {
        self.id
    }

    /// Its address as a number. "Another server" means another number.
    #[inline]
    pub fn address_key(&self) -> AddressKey
    where
        S: Service,
    {
        self.service.address_key(self.id)
    }

    /// Its weight; 1 if the balancer uses no weights.
    pub const fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    /// Its health.
    pub const fn health(&self) -> &ServerHealth<Breaker> {
        &self.health
    }

    /// How many attempts are in flight there.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) const fn stats(&self) -> &AnyStats<Heap> {
        &self.stats
    }

    pub(crate) const fn ramp(&self) -> &Ramp {
        &self.ramp
    }

    /// Whether it has a cap ([L22](hedge_core::rules#L22)).
    pub(crate) const fn is_capped(&self) -> bool {
        self.cap.is_some()
    }

    /// Whether it takes another attempt by its cap ([L22](hedge_core::rules#L22)).
    pub(crate) fn has_room(&self) -> bool {
        self.cap.as_ref().is_none_or(|cap| cap.has_room(&self.in_flight))
    }

    /// Counts one attempt more in flight. Returns false and counts nothing if the server is full
    /// ([L22](hedge_core::rules#L22)).
    #[must_use]
    pub(crate) fn start(&self) -> bool {
        match &self.cap {
            None => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                true
            }
            Some(cap) => cap.take(&self.in_flight),
        }
    }

    /// Counts one attempt less in flight.
    pub(crate) fn finished(&self) {
        match &self.cap {
            None => {
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
            }
            Some(cap) => cap.give_back(&self.in_flight),
        }
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

/// Keeps the winning attempt of a streaming call counted as in flight at its server until this is dropped
/// ([T2](hedge_core::rules#T2)). Balancer and breaker were told the result when the head came.
pub struct Lease<K, S>(Arc<Node<K, S>>);

impl<K, S> Lease<K, S> {
    /// Takes over the count of an attempt that its call left in flight. See
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

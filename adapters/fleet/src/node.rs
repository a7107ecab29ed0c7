//! One server: [`Node`]. A [`Lease`] keeps an attempt counted at its server while the body of the reply streams.

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

/// The adapter's data for each server, for example the service that attempts are sent to.
pub trait Service {
    /// Returns a number that identifies the server's address: servers with the same address have the same number. In
    /// the docs, "another server" means a server with another number. In a list that is sorted by key, servers with the
    /// same address must be next to each other.
    fn address_key(&self, id: ServerId) -> AddressKey;
}

/// A service for hosts in which each server has its own address. The number of the address is then the server's slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnAddress<S>(pub S);

impl<S> Service for OwnAddress<S> {
    #[inline]
    fn address_key(&self, id: ServerId) -> AddressKey {
        AddressKey(id.slot().into())
    }
}

/// One server, and everything that is known about it while it stays in the list. `K` is the type of the key that
/// identifies the server. `S` is the type of the host's data for the server.
///
/// # Cost
/// A node takes 88 bytes, plus the key and the host's data. With the balancer `la`, it takes 1080 bytes more.
pub struct Node<K, S> {
    key: K,
    service: S,
    id: ServerId,
    /// The server's weight. It is 1 if the balancer uses no weights.
    weight: NonZeroU32,
    in_flight: AtomicU32,
    /// The statistics that the balancer keeps about the server.
    stats: AnyStats<Heap>,
    health: ServerHealth<Breaker>,
    /// The limit on attempts in flight at the server. `None` means that there is no limit.
    cap: Option<Arc<Cap>>,
    /// The slow start of the server: when its share of the calls began to grow ([S11](hedge_core::rules#S11)).
    ramp: Ramp,
}

/// The parts of a new node that are determined by its list. `cap` limits the attempts in flight at the server. `since`
/// is the instant at which the server enters the list, if its share of the calls grows gradually. Otherwise `since` is
/// `None`.
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

    /// Makes the node of a server that is not in the list, but that a call names in its options
    /// ([S8](hedge_core::rules#S8)). No balancer chooses this server. The node has no cap, because it counts only the
    /// attempts of this call. `id` must have a slot that no list uses.
    pub fn of_a_call(key: K, service: S, id: ServerId) -> Arc<Self> {
        Self::new((key, service), id, NonZeroU32::MIN, AnyStats::Nothing, Treatment { cap: None, since: None })
    }

    /// Returns the key, which identifies the server.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// Returns the host's data for the server.
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// Returns the server's id.
    pub const fn id(&self) -> ServerId {
        self.id
    }

    /// Returns a number that identifies the server's address. See [`Service::address_key`].
    #[inline]
    pub fn address_key(&self) -> AddressKey
    where
        S: Service,
    {
        self.service.address_key(self.id)
    }

    /// Returns the server's weight. It is 1 if the balancer uses no weights.
    pub const fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    /// Returns the server's health: whether it is withdrawn, broken or isolated.
    pub const fn health(&self) -> &ServerHealth<Breaker> {
        &self.health
    }

    /// Returns how many attempts are in flight at the server.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) const fn stats(&self) -> &AnyStats<Heap> {
        &self.stats
    }

    pub(crate) const fn ramp(&self) -> &Ramp {
        &self.ramp
    }

    /// Returns whether the server has a cap on attempts in flight ([L22](hedge_core::rules#L22)).
    pub(crate) const fn is_capped(&self) -> bool {
        self.cap.is_some()
    }

    /// Returns whether the cap allows one more attempt in flight ([L22](hedge_core::rules#L22)).
    pub(crate) fn has_room(&self) -> bool {
        self.cap.as_ref().is_none_or(|cap| cap.has_room(&self.in_flight))
    }

    /// Counts one more attempt in flight. If the server is full, this returns false and counts nothing
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

/// Keeps the winning attempt of a streaming call counted as in flight at its server until the lease is dropped
/// ([T2](hedge_core::rules#T2)). The balancer and the breaker have already learned the result of the attempt, when the
/// head arrived.
pub struct Lease<K, S>(
    /// `None` once [`any`](Self::any) has taken the node.
    Option<Arc<Node<K, S>>>,
);

impl<K, S> Lease<K, S> {
    /// Makes the lease of one attempt at `node` that is still counted as in flight. This does not count the attempt
    /// again. When the lease is dropped, the attempt is no longer counted.
    /// [`Call::winner_at_work`](hedge_core::call::Call::winner_at_work) tells whether a call leaves such an attempt.
    pub const fn new(node: Arc<Node<K, S>>) -> Self {
        Self(Some(node))
    }

    /// The same lease, without the types of its host.
    pub fn any(mut self) -> AnyLease
    where
        K: Send + Sync + 'static,
        S: Send + Sync + 'static,
    {
        AnyLease(self.0.take().map(|node| node as Arc<dyn InFlight>))
    }
}

impl<K, S> Drop for Lease<K, S> {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.finished();
        }
    }
}

impl<K: fmt::Debug, S> fmt::Debug for Lease<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("Lease");
        if let Some(node) = &self.0 {
            shown.field(node);
        }
        shown.finish()
    }
}

/// A [`Lease`] for a transport, which holds it until the body of a reply ends and does not know the types of its host.
pub struct AnyLease(Option<Arc<dyn InFlight>>);

/// What counts attempts in flight.
trait InFlight: Send + Sync {
    /// Counts one attempt less in flight.
    fn finished(&self);
}

impl<K: Send + Sync, S: Send + Sync> InFlight for Node<K, S> {
    fn finished(&self) {
        Self::finished(self);
    }
}

impl Drop for AnyLease {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.finished();
        }
    }
}

impl fmt::Debug for AnyLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyLease")
    }
}

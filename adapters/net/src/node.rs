//! One server of a channel: [`Node`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use hedge_core::balance::{AnyBalancer, AnyStats, Heap};
use hedge_core::health::{AnyBreaker, Health, Recovering, ServerHealth};
use hedge_core::id::{AddressKey, ServerId};

use crate::naming::Server;
use crate::outage::Outage;

/// The balancer of a channel's list.
pub(crate) type Balancer = AnyBalancer<Heap>;

/// The breaker of a channel, and its recovery.
pub(crate) type Breaker = Recovering<AnyBreaker>;

/// What a channel knows of the health of all its servers.
pub(crate) type FleetHealth = Health<Breaker>;

/// One server, and everything that is known of it for as long as it stays.
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) id: ServerId,
    pub(crate) address_key: AddressKey,
    /// 1 where the balancer asks for none.
    pub(crate) weight: NonZeroU32,
    /// The balancer's.
    pub(crate) stats: AnyStats<Heap>,
    pub(crate) health: ServerHealth<Breaker>,
    pub(crate) outage: Outage,
    in_flight: AtomicU32,
    /// As long as this is held, something may still speak of the server by its id.
    held: Arc<()>,
}

impl Node {
    pub(crate) fn new(
        server: Server,
        id: ServerId,
        address_key: AddressKey,
        weight: NonZeroU32,
        stats: AnyStats<Heap>,
    ) -> Arc<Self> {
        let (health, outage) = (ServerHealth::new(), Outage::default());
        let (in_flight, held) = (AtomicU32::new(0), Arc::default());
        Arc::new(Self { server, id, address_key, weight, stats, health, outage, in_flight, held })
    }

    /// A server that a call brings itself (S8): no balancer chooses it.
    pub(crate) fn of_a_call(server: Server, id: ServerId, address_key: AddressKey) -> Arc<Self> {
        Self::new(server, id, address_key, NonZeroU32::MIN, AnyStats::Nothing)
    }

    /// Tells whether anything holds the node.
    pub(crate) fn is_held(&self) -> Weak<()> {
        Arc::downgrade(&self.held)
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
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("server", &self.server)
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .field("broken", &self.health.is_broken())
            .finish_non_exhaustive()
    }
}

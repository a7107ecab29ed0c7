//! A service for each server: [`HedgeSet`].

mod change;
mod follow;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll};

use hedge_core::cluster::ClusterError;
use hedge_core::drive::{AttemptInfo, Timer};
use hedge_core::health::Health;
use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::RetryPolicy;
use hedge_core::time::Instant;
use hedge_fleet::{Balancer, Breaker, CallHost, Home, Node, OwnAddress, Servers, Settings};
use tower_service::Service;

pub use change::Change;
pub use follow::Following;

use crate::attempt::Attempt;
use crate::run::run;
use crate::shared::{Judge, Shared};
use crate::{Error, Plain, Protocol, ResponseFuture, RetryErrors};
use change::apply;

/// The most servers that a set holds: as many as there are slots.
const MAX_SERVERS: usize = 1 << 16;

/// A set of servers: a service for each, under a key that stands for its address. A clone is the same set.
///
/// The balancer chooses the first server, and every extra attempt goes to another as long as an untried one is usable
/// (L11). Each attempt is made by a clone of its server's service, which becomes ready as part of the attempt: a server
/// that is not ready is slow, and its backup goes elsewhere. So the set itself is always ready.
///
/// Servers come and go at any time, from any thread. Calls that are at a server when it goes run on (L20). What the balancer
/// and the breaker know of a server stays with it while others come and go (S7); a server that is replaced begins anew.
///
/// A set is ordered by its keys. Clients that write their keys alike (`Display`), whatever their services are, agree which
/// server a request code belongs to (S5).
///
/// # Cost
///
/// A server takes 104 bytes beside its key and its service, and under `la` 1080 more. A call looks at the list without a
/// lock. A change of the list copies it, and what the balancer has made of it: some tens of bytes a server, and under
/// consistent hashing 8 a point. Make many changes by [`HedgeSet::apply`], all at once.
pub struct HedgeSet<K, S, T, R = RetryErrors, C = Plain> {
    inner: Arc<Inner<K, S, T, R, C>>,
}

struct Inner<K, S, T, R, C> {
    shared: Shared<T, R, C>,
    servers: Servers<K, OwnAddress<S>>,
}

impl<K, S: Clone, T: Timer, R, C> AsRef<Shared<T, R, C>> for CallHost<Arc<Inner<K, S, T, R, C>>> {
    fn as_ref(&self) -> &Shared<T, R, C> {
        &self.home().shared
    }
}

impl<K, S: Clone, T: Timer, R, C> Home for Inner<K, S, T, R, C> {
    type Key = K;
    type Service = OwnAddress<S>;
    /// A clone for one attempt.
    type Address = S;
    type Call = ();
    type Timer = T;
    type Judge = Judge<R>;

    fn servers(&self) -> &Servers<K, OwnAddress<S>> {
        &self.servers
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn timer(&self) -> &T {
        &self.shared.timer
    }

    fn judge(&self) -> &Judge<R> {
        &self.shared.judge
    }

    fn address(&self, node: &Node<K, OwnAddress<S>>) -> S {
        node.service().0.clone()
    }
}

impl<K, S, T, R, C> HedgeSet<K, S, T, R, C> {
    pub(crate) fn new(shared: Shared<T, R, C>, balancer: Balancer, health: Health<Breaker>) -> Self {
        Self { inner: Arc::new(Inner { shared, servers: Servers::new(balancer, health, MAX_SERVERS) }) }
    }

    /// This set, in step with a stream of changes.
    pub fn follow<D>(self, changes: D) -> Following<D, K, S, T, R, C> {
        Following::new(self, changes)
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.inner.servers.load().list().nodes().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many extra attempts of a kind were refused for a reason since the set was made. Wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.shared.settings.denied(extra, reason)
    }

    /// How long calls took in the last 10 s: see [`Hedge::latencies`](crate::Hedge::latencies). Calls that found no server
    /// count as abandoned too.
    pub fn latencies(&self) -> Snapshot
    where
        T: Timer,
    {
        self.inner.shared.settings.latencies(self.now())
    }

    /// The time on the set's clock, which is what a policy is told of; for snapshots of a policy's own latencies:
    /// `adaptive.latencies().snapshot(set.now())`.
    pub fn now(&self) -> Instant
    where
        T: Timer,
    {
        self.inner.shared.timer.now()
    }
}

impl<K: Ord + fmt::Display, S, T: Timer, R, C> HedgeSet<K, S, T, R, C> {
    /// Adds a server, or replaces the one of that key.
    ///
    /// # Errors
    /// [`ClusterError::Full`]: the set holds 65,536 others already. [`ClusterError::Balancer`], as of
    /// [`apply`](Self::apply). The list is as it was.
    pub fn insert(&self, key: K, service: S) -> Result<(), ClusterError> {
        self.put(Change::Insert(key, service))
    }

    /// The same with a weight, for the balancers that look at it: `wrr`, `wr` and `p2c`.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_weighted(&self, key: K, service: S, weight: NonZeroU32) -> Result<(), ClusterError> {
        self.put(Change::InsertWeighted(key, service, weight))
    }

    fn put(&self, change: Change<K, S>) -> Result<(), ClusterError> {
        match self.apply([change])? {
            0 => Err(ClusterError::Full),
            _ => Ok(()),
        }
    }

    /// Removes a server; false if there is none of that key.
    pub fn remove(&self, key: K) -> bool {
        // A balancer has room for what is left.
        self.apply([Change::Remove(key)]) == Ok(1)
    }

    /// Makes several changes in one step; answers how many changed anything: a server that would be the 65,537th is left
    /// out. The list is copied once.
    ///
    /// # Errors
    /// [`ClusterError::Balancer`]: the balancer cannot take the new list. Under consistent hashing that is one with more
    /// points than the ring can hold, or with a key that fails to write itself. The list is as it was.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change<K, S>>) -> Result<usize, ClusterError> {
        apply(&self.inner.servers, changes, self.now()).map_err(ClusterError::Balancer)
    }
}

impl<K: Ord, S, T: Timer, R, C> HedgeSet<K, S, T, R, C> {
    /// Whether a server takes calls: its connection is not known to be broken, and no breaker isolates it. False if there is
    /// none of that key.
    pub fn usable(&self, key: &K) -> bool {
        let servers = &self.inner.servers;
        servers.load().list().named(key).is_some_and(|node| servers.health().usable(node.health(), self.now()))
    }

    /// Says whether a server's connection stands, so that it takes calls; false if there is none of that key. A new server
    /// does. What is said here isolates without limit; a breaker decides beside it (H4).
    pub fn set_usable(&self, key: &K, usable: bool) -> bool {
        let servers = &self.inner.servers;
        servers.load().list().named(key).map(|node| servers.set_usable(node, usable, self.now())).is_some()
    }

    /// How many attempts a server is working on; 0 if there is none of that key.
    pub fn in_flight(&self, key: &K) -> u32 {
        self.inner.servers.load().list().named(key).map_or(0, |node| node.in_flight())
    }
}

impl<K, S, T, R, C, Request> Service<Request> for HedgeSet<K, S, T, R, C>
where
    K: Send + Sync + 'static,
    S: Service<Request> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    Request: Send + 'static,
    T: Timer<Sleep: Send> + Send + Sync + 'static,
    R: RetryPolicy<S::Response, S::Error> + Send + Sync + 'static,
    C: Protocol<Request, S::Response> + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let host = CallHost::new(Arc::clone(&self.inner), ());
        ResponseFuture::new(run(host, request, |attempt: AttemptInfo<S>, request| Attempt::Unready {
            service: attempt.address,
            request,
        }))
    }
}

impl<K, S, T, R, C> Clone for HedgeSet<K, S, T, R, C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: fmt::Debug, S, T, R, C> fmt::Debug for HedgeSet<K, S, T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.inner.servers.load();
        let keys: Vec<&K> = now.list().nodes().iter().map(|node| node.key()).collect();
        f.debug_struct("HedgeSet")
            .field("servers", &keys)
            .field("options", &self.inner.shared.settings.options())
            .finish_non_exhaustive()
    }
}

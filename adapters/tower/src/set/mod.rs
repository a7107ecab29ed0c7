//! Hedges calls over a set of services, one for each server: [`HedgeSet`].

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
use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::RetryPolicy;
use hedge_core::time::Instant;
use hedge_fleet::{CallHost, ChannelContext, Counters, Node, OwnAddress, Servers, Settings};
use tower_service::Service;

pub use change::Change;
pub use follow::Following;

use crate::attempt::Attempt;
use crate::run::run;
use crate::shared::{AttemptPolicy, Shared};
use crate::{Error, Plain, Protocol, ResponseFuture, RetryErrors};
use change::apply;

/// The maximum number of servers in a set: the number of slots.
pub(crate) const MAX_SERVERS: usize = 1 << 16;

/// A set of servers. It holds a service for each server, under a key that stands for the server's address. All clones
/// share the same servers.
///
/// The balancer chooses the first server. Every extra attempt goes to another server, as long as a usable server is
/// left that the call has not tried ([L11](hedge_core::rules#L11)). Each attempt is made by a clone of the server's
/// service. The wait for this clone to become ready is part of the attempt. So a server that is not ready counts as
/// slow, and a backup goes to another server. The set itself is always ready.
///
/// Servers can be added and removed at any time, from any thread. When a server is removed, attempts in flight at it go
/// on ([L20](hedge_core::rules#L20)). The balancer and the breaker keep what they know about a server while other
/// servers are added and removed ([S7](hedge_core::rules#S7)). About a server that replaces another one, they know
/// nothing at first.
///
/// A set is ordered by its keys. Consistent hashing hashes the text of each key (`Display`). So clients whose keys have
/// the same texts agree on the server of each request code ([S5](hedge_core::rules#S5)).
///
/// # Cost
///
/// A server takes 120 bytes, plus its key and its service. With the balancer `la`, it takes 1080 bytes more. A call
/// reads the list without a lock. A change copies the list and the balancer's arrangement of it: some tens of bytes for
/// each server, and with consistent hashing 8 bytes for each point. So make many changes with one [`HedgeSet::apply`].
pub struct HedgeSet<K, S, T, R = RetryErrors, C = Plain> {
    inner: Arc<Inner<K, S, T, R, C>>,
}

struct Inner<K, S, T, R, C> {
    shared: Shared<T, R, C>,
    servers: Servers<K, OwnAddress<S>>,
}

impl<K: 'static, S: Clone, T: Timer, R, C> AsRef<Shared<T, R, C>> for CallHost<Arc<Inner<K, S, T, R, C>>> {
    fn as_ref(&self) -> &Shared<T, R, C> {
        &self.channel().shared
    }
}

impl<K: 'static, S: Clone, T: Timer, R, C> ChannelContext for Inner<K, S, T, R, C> {
    type Key = K;
    type Service = OwnAddress<S>;
    /// A clone of the service, for one attempt.
    type Address = S;
    type Call = ();
    type Timer = T;
    type RetryPolicy = AttemptPolicy<R>;

    fn servers(&self) -> &Servers<K, OwnAddress<S>> {
        &self.servers
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn timer(&self) -> &T {
        &self.shared.timer
    }

    fn retry_policy(&self) -> &AttemptPolicy<R> {
        &self.shared.retry_policy
    }

    fn address(&self, node: &Node<K, OwnAddress<S>>) -> S {
        node.service().0.clone()
    }
}

impl<K, S, T, R, C> HedgeSet<K, S, T, R, C> {
    pub(crate) fn new(shared: Shared<T, R, C>, servers: Servers<K, OwnAddress<S>>) -> Self {
        let servers = servers.observed_by(shared.settings.observers().clone());
        Self { inner: Arc::new(Inner { shared, servers }) }
    }

    pub(crate) fn shared(&self) -> &Shared<T, R, C> {
        &self.inner.shared
    }

    pub(crate) fn servers(&self) -> &Servers<K, OwnAddress<S>> {
        &self.inner.servers
    }

    /// Makes this set follow a stream of changes.
    pub fn follow<D>(self, changes: D) -> Following<D, K, S, T, R, C> {
        Following::new(self, changes)
    }

    /// The number of servers in the set.
    pub fn len(&self) -> usize {
        self.inner.servers.load().list().nodes().len()
    }

    /// Whether the set has no server.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many calls wait for a server with room ([L22](hedge_core::rules#L22)).
    pub fn queued_calls(&self) -> usize {
        self.inner.servers.queued_calls()
    }

    /// How many extra attempts of this kind were refused for this reason since the set was made. The count wraps at
    /// 2³².
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.shared.settings.denied(extra, reason)
    }

    /// How many calls ended in which way since the set was made, how many attempts they made, and how many extra
    /// attempts were refused.
    pub fn counters(&self) -> Counters {
        self.inner.shared.settings.counters()
    }

    /// How long calls took in the last 10 s: see [`Hedge::latencies`](crate::Hedge::latencies). Calls that found no
    /// server count as abandoned too.
    pub fn latencies(&self) -> Snapshot
    where
        T: Timer,
    {
        self.inner.shared.settings.latencies(self.now())
    }

    /// The current time of the set's clock. The policies of the set use the same clock, so a snapshot of a policy's own
    /// latencies needs this time: `adaptive.latencies().snapshot(set.now())`.
    pub fn now(&self) -> Instant
    where
        T: Timer,
    {
        self.inner.shared.timer.now()
    }
}

impl<K: Ord + fmt::Display + 'static, S, T: Timer, R, C> HedgeSet<K, S, T, R, C> {
    /// Adds a server, or replaces the server with this key.
    ///
    /// # Errors
    /// [`ClusterError::Full`] if the set already holds 65,536 other servers. [`ClusterError::Balancer`] as in
    /// [`apply`](Self::apply). The list is then unchanged.
    pub fn insert(&self, key: K, service: S) -> Result<(), ClusterError> {
        self.put(Change::Insert(key, service))
    }

    /// Adds a server with this weight, or replaces the server with this key. The balancers `wrr`, `wr` and `p2c` use
    /// weights.
    ///
    /// # Errors
    /// See [`insert`](Self::insert).
    pub fn insert_weighted(&self, key: K, service: S, weight: NonZeroU32) -> Result<(), ClusterError> {
        self.put(Change::InsertWeighted(key, service, weight))
    }

    fn put(&self, change: Change<K, S>) -> Result<(), ClusterError> {
        match self.apply([change])? {
            0 => Err(ClusterError::Full),
            _ => Ok(()),
        }
    }

    /// Removes a server. Returns false if no server has this key.
    pub fn remove(&self, key: K) -> bool {
        // The balancer can always arrange the smaller list, so this does not fail.
        self.apply([Change::Remove(key)]) == Ok(1)
    }

    /// Makes several changes in one step. Returns how many of the changes had an effect. A set holds at most 65,536
    /// servers; further ones are left out. The list is copied once.
    ///
    /// # Errors
    /// [`ClusterError::Balancer`] if the balancer cannot arrange the new list. With consistent hashing, this happens if
    /// the list has more points than the ring can hold, or if the `Display` of a key fails. The list is then unchanged.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change<K, S>>) -> Result<usize, ClusterError> {
        apply(&self.inner.servers, changes, self.now()).map_err(ClusterError::Balancer)
    }
}

impl<K: Ord + 'static, S, T: Timer, R, C> HedgeSet<K, S, T, R, C> {
    /// Whether a server takes calls: it was not withdrawn by [`set_usable`](Self::set_usable), and the circuit breaker
    /// does not isolate it. False if no server has this key.
    pub fn usable(&self, key: &K) -> bool {
        let snapshot = self.inner.servers.load();
        snapshot.list().named(key).is_some_and(|node| snapshot.health().usable(node.health(), self.now()))
    }

    /// Withdraws a server, so that it takes no calls, or puts it back. Returns false if no server has this key. A new
    /// server is not withdrawn. Any number of servers can be withdrawn, since the isolation limit is for the circuit
    /// breaker only ([H4](hedge_core::rules#H4)). The circuit breaker may isolate a server that was put back.
    pub fn set_usable(&self, key: &K, usable: bool) -> bool {
        let servers = &self.inner.servers;
        servers.load().list().named(key).map(|node| servers.set_usable(node, usable, self.now())).is_some()
    }

    /// How many attempts are in flight at a server; 0 if no server has this key.
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
        ResponseFuture::new(|| {
            let host = CallHost::new(Arc::clone(&self.inner), ());
            run(host, request, |attempt: AttemptInfo<S>, request| Attempt::Unready {
                service: attempt.address,
                request,
            })
        })
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

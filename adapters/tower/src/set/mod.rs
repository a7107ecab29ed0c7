//! A service for each server: [`HedgeSet`].

mod follow;
mod host;
mod servers;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use hedge_core::balance::{AnyBalancer, ServerList};
use hedge_core::drive::Timer;
use hedge_core::policy::{Denial, Extra, RetryPolicy};
use tower_service::Service;

pub use follow::Following;

use crate::attempt::Attempt;
use crate::run::run;
use crate::shared::Shared;
use crate::{Error, Plain, Protocol, ResponseFuture, RetryErrors};
use host::CallHost;
use servers::Servers;

/// A change of a [`HedgeSet`]; tower's `discover::Change` is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<K, S> {
    /// A server has come; if there is one of that key, it is replaced.
    Insert(K, S),
    /// A server has gone.
    Remove(K),
}

/// A set of servers: a service for each, under a key that stands for its address. A clone is the same set.
///
/// The balancer chooses the first server, and every extra attempt goes to another as long as an untried one is usable
/// (L11). Each attempt is made by a clone of its server's service, which becomes ready as part of the attempt: a server
/// that is not ready is slow, and its backup goes elsewhere. So the set itself is always ready.
///
/// Servers come and go at any time, from any thread. Calls that are at a server when it goes run on (L20).
pub struct HedgeSet<K, S, T, R = RetryErrors, C = Plain> {
    inner: Arc<Inner<K, S, T, R, C>>,
}

struct Inner<K, S, T, R, C> {
    shared: Shared<T, R, C>,
    servers: Servers<K, S>,
    balancer: AnyBalancer,
}

impl<K, S, T, R, C> HedgeSet<K, S, T, R, C> {
    pub(crate) fn new(shared: Shared<T, R, C>, balancer: AnyBalancer) -> Self {
        Self { inner: Arc::new(Inner { shared, servers: Servers::new(), balancer }) }
    }

    /// This set, in step with a stream of changes.
    pub fn follow<D>(self, changes: D) -> Following<D, K, S, T, R, C> {
        Following::new(self, changes)
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.inner.servers.load().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many extra attempts of a kind were refused for a reason since the set was made. Wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.shared.settings.policy.denied(extra, reason)
    }
}

impl<K: Ord, S, T, R, C> HedgeSet<K, S, T, R, C> {
    /// Adds a server, or replaces the one of that key; false if the set holds 65,536 others already.
    pub fn insert(&self, key: K, service: S) -> bool {
        self.apply([Change::Insert(key, service)]) == 1
    }

    /// Removes a server; false if there is none of that key.
    pub fn remove(&self, key: K) -> bool {
        self.apply([Change::Remove(key)]) == 1
    }

    /// Makes several changes in one step; answers how many changed anything. The list is copied once.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change<K, S>>) -> usize {
        self.inner.servers.apply(changes)
    }

    /// Says whether a server takes calls; false if there is none of that key. A new server does.
    pub fn set_usable(&self, key: &K, usable: bool) -> bool {
        self.inner.servers.load().named(key).map(|node| node.set_usable(usable)).is_some()
    }

    /// How many attempts a server is working on; 0 if there is none of that key.
    pub fn in_flight(&self, key: &K) -> u32 {
        self.inner.servers.load().named(key).map_or(0, |node| node.in_flight())
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
        let host = CallHost::new(Arc::clone(&self.inner));
        ResponseFuture::new(run(host, request, |attempt, request| Attempt::Unready {
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
        let keys: Vec<&K> = now.nodes().iter().map(|node| &node.key).collect();
        f.debug_struct("HedgeSet")
            .field("servers", &keys)
            .field("options", &self.inner.shared.settings.options)
            .finish_non_exhaustive()
    }
}

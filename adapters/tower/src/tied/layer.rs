//! Makes the layer: [`TiedLayer`] and [`TiedBuilder`].

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hedge_core::time::Duration;
use hedge_fleet::Spawn;
use http::header::HeaderValue;
use http::uri::PathAndQuery;
use tower_layer::Layer;

use super::counters::{AtomicCounters, TiedCounters};
use super::headers::Peers;
use super::messages::{InFlight, Tell, send};
use super::queue::{CopyId, CopyState, Effect, TieQueue};
use super::service::Tied;

/// Puts a bounded queue before an HTTP service, and ties the requests in it to their copies on other servers; see the
/// [module](super). All services of a layer and its clones share one queue.
pub struct TiedLayer<T, C> {
    shared: Arc<Shared<T, C>>,
}

impl<T: Spawn, C: Tell> TiedLayer<T, C> {
    /// Begins a layer. `runtime` runs the tasks that send messages. `own` is the address of this server, as the peers and
    /// the clients know it. `tell` sends the messages.
    pub const fn builder(runtime: T, own: SocketAddr, tell: C) -> TiedBuilder<T, C> {
        TiedBuilder {
            runtime,
            tell,
            own,
            peers: Vec::new(),
            concurrency: 1,
            max_waiting: 1_000,
            path: None,
            secret: None,
            ask_timeout: Duration::from_millis(1),
            tell_timeout: Duration::from_millis(100),
            max_messages: 256,
        }
    }

    /// What all services of the layer have counted.
    #[must_use]
    pub fn counters(&self) -> TiedCounters {
        self.shared.counters.snapshot()
    }

    /// How many requests wait at present.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.change(|queue| queue.waiting())
    }

    /// How many requests the service works on at present.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.shared.change(|queue| queue.at_work())
    }
}

impl<T, C> Clone for TiedLayer<T, C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T, C> fmt::Debug for TiedLayer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TiedLayer").field("counters", &self.shared.counters.snapshot()).finish_non_exhaustive()
    }
}

impl<S, T, C> Layer<S> for TiedLayer<T, C> {
    type Service = Tied<S, T, C>;

    fn layer(&self, service: S) -> Self::Service {
        Tied::new(service, Arc::clone(&self.shared))
    }
}

/// The options of a [`TiedLayer`].
#[must_use = "it is not built yet"]
pub struct TiedBuilder<T, C> {
    runtime: T,
    tell: C,
    own: SocketAddr,
    peers: Vec<SocketAddr>,
    concurrency: usize,
    max_waiting: usize,
    path: Option<String>,
    secret: Option<String>,
    ask_timeout: Duration,
    tell_timeout: Duration,
    max_messages: usize,
}

impl<T: Spawn, C: Tell> TiedBuilder<T, C> {
    /// Sets the servers that may be contacted and obeyed, by the addresses that clients use. The server's own address may
    /// be in the list, where it has no effect. Default: no server, so nothing is tied.
    pub fn peers(self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { peers: peers.into_iter().collect(), ..self }
    }

    /// Sets how many requests the service works on at once. A request counts until the service has returned the head of
    /// its response. Default: 1.
    pub fn concurrency(self, requests: usize) -> Self {
        Self { concurrency: requests, ..self }
    }

    /// Sets how many requests may wait. More are answered at once with status 503. Default: 1,000.
    pub fn max_waiting(self, requests: usize) -> Self {
        Self { max_waiting: requests, ..self }
    }

    /// Sets the path of messages. It must be the same on all peers, and the service must not need it for `POST`. Default:
    /// `/.well-known/hedge-tied`.
    pub fn path(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    /// Sets a text that each message must carry. It must be the same on all peers. Default: none.
    pub fn secret(self, secret: impl Into<String>) -> Self {
        Self { secret: Some(secret.into()), ..self }
    }

    /// Sets how long a backup is held while the server of the first attempt is asked. With 0, an idle server begins a
    /// backup at once. Then a backup also helps against a server that is slow after it has begun, but more requests are
    /// worked on twice. Default: 1 ms.
    pub fn ask_timeout(self, time: Duration) -> Self {
        Self { ask_timeout: time, ..self }
    }

    /// Sets how long the answer to a message may take. If a backup is held, this time begins after
    /// [`ask_timeout`](Self::ask_timeout). Default: 100 ms.
    pub fn tell_timeout(self, time: Duration) -> Self {
        Self { tell_timeout: time, ..self }
    }

    /// Sets how many messages may be in flight. More are not sent. Default: 256.
    pub fn max_messages(self, messages: usize) -> Self {
        Self { max_messages: messages, ..self }
    }

    /// Builds the layer.
    ///
    /// # Errors
    /// The first option that is not valid.
    pub fn build(self) -> Result<TiedLayer<T, C>, TiedError> {
        let path = match self.path {
            None => PathAndQuery::from_static("/.well-known/hedge-tied"),
            Some(path) => match PathAndQuery::try_from(path.as_str()) {
                Ok(valid) if path.starts_with('/') && valid.query().is_none() => valid,
                _ => return Err(TiedError::Path(path)),
            },
        };
        let secret = match self.secret.map(HeaderValue::try_from) {
            None => None,
            Some(Ok(mut secret)) if !secret.is_empty() => {
                secret.set_sensitive(true);
                Some(secret)
            }
            Some(_) => return Err(TiedError::Secret),
        };
        if self.concurrency == 0 {
            return Err(TiedError::NoConcurrency);
        }
        let queue = TieQueue::new(self.concurrency, self.max_waiting);
        let shared = Shared {
            runtime: self.runtime,
            tell: self.tell,
            peers: Peers::new(self.own, self.peers, path, secret),
            ask_timeout: self.ask_timeout,
            tell_timeout: self.tell_timeout,
            in_flight: InFlight::new(self.max_messages),
            counters: AtomicCounters::default(),
            state: Mutex::new(State { queue, wakers: HashMap::new() }),
        };
        Ok(TiedLayer { shared: Arc::new(shared) })
    }
}

impl<T, C> fmt::Debug for TiedBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TiedBuilder").field("own", &self.own).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// An option of a [`TiedBuilder`] that is not valid.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TiedError {
    /// The concurrency is 0, so no request would ever begin.
    NoConcurrency,
    /// This is not a path.
    Path(String),
    /// The secret is empty or cannot be the value of a header.
    Secret,
}

impl fmt::Display for TiedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConcurrency => {
                f.write_str("concurrency: 0 is not allowed, as no request would begin; write 1 or more")
            }
            Self::Path(path) => write!(f, "path: {path:?} is not a path; write one such as \"/tied\", without a query"),
            Self::Secret => f.write_str("secret: it must not be empty, and must not have control characters"),
        }
    }
}

impl std::error::Error for TiedError {}

/// What all services of a layer share.
pub(super) struct Shared<T, C> {
    pub(super) runtime: T,
    pub(super) tell: C,
    pub(super) peers: Peers,
    pub(super) ask_timeout: Duration,
    pub(super) tell_timeout: Duration,
    pub(super) in_flight: InFlight,
    pub(super) counters: AtomicCounters,
    state: Mutex<State>,
}

struct State {
    queue: TieQueue<SocketAddr>,
    /// The tasks of copies that wait.
    wakers: HashMap<CopyId, Waker>,
}

impl<T, C> Shared<T, C> {
    /// Pending while the copy waits: it has not begun, and was not dropped. Wakes the task when this changes.
    pub(super) fn poll_state(&self, copy: CopyId, cx: &Context<'_>) -> Poll<Option<CopyState>> {
        // A waker is code of the runtime, so it is cloned and dropped outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match state.queue.state(copy) {
            Some(CopyState::Held | CopyState::Waiting) => state.wakers.insert(copy, waker),
            other => return Poll::Ready(other),
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T: Spawn, C: Tell> Shared<T, C> {
    /// Changes the queue. Then wakes the tasks whose copies have changed, and sends the messages.
    pub(super) fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut TieQueue<SocketAddr>) -> R) -> R {
        let (mut awake, mut messages) = (Vec::new(), Vec::new());
        let result = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut state.queue);
            while let Some(effect) = state.queue.next_effect() {
                match effect {
                    Effect::Changed(copy) => awake.extend(state.wakers.remove(&copy)),
                    message => messages.push(message),
                }
            }
            result
        };
        awake.into_iter().for_each(Waker::wake);
        messages.into_iter().for_each(|message| send(self, message));
        result
    }

    /// The copy leaves the queue.
    pub(super) fn leave(self: &Arc<Self>, copy: CopyId) {
        // A waker is code of the runtime, so it is dropped outside of the lock.
        let waker = self.state.lock().unwrap_or_else(PoisonError::into_inner).wakers.remove(&copy);
        drop(waker);
        self.change(|queue| queue.leave(copy));
    }
}

//! The idle connections to one address.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::HeaderValue;
use hedge_core::time::{Duration, Instant};

use super::connection::Connection;
use crate::runtime::Runtime;

/// What an [`Http`](super::Http) transport is told by its owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) max_body: usize,
    pub(super) max_idle: usize,
    pub(super) idle_timeout: Duration,
}

/// A stack of idle connections: the one used last is used next, so that what load does not need grows old and is closed.
pub(super) struct Pool<R> {
    runtime: R,
    settings: Settings,
    /// The address as a `Host` header, for requests that bring none.
    pub(super) host: HeaderValue,
    stack: Mutex<Stack>,
}

#[derive(Default)]
struct Stack {
    /// The oldest in front.
    idle: VecDeque<(Connection, Instant)>,
    /// A task is there that closes what has been idle for too long.
    reaping: bool,
}

/// Where a connection goes back to; hides the runtime from a reply's body.
pub(super) trait Home: Send + Sync {
    /// Keeps a connection that is ready for another request.
    fn give_back(self: Arc<Self>, connection: Connection);
}

impl<R: Runtime> Pool<R> {
    pub(super) fn new(runtime: R, settings: Settings, host: HeaderValue) -> Self {
        Self { runtime, settings, host, stack: Mutex::default() }
    }

    /// The connection that was used last and has not been closed since.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut stack = self.lock();
        while let Some((connection, _)) = stack.idle.pop_back() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().idle.is_empty()
    }

    /// Closes what has been idle for too long; answers when to look again, `None` if nothing is idle any more.
    fn reap(&self) -> Option<Instant> {
        let now = self.runtime.now();
        let mut stack = self.lock();
        while let Some((connection, since)) = stack.idle.front() {
            let until = *since + self.settings.idle_timeout;
            if until > now && !connection.is_closed() {
                return Some(until);
            }
            stack.idle.pop_front();
        }
        stack.reaping = false;
        None
    }

    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> Home for Pool<R> {
    fn give_back(self: Arc<Self>, connection: Connection) {
        let now = self.runtime.now();
        let mut stack = self.lock();
        if stack.idle.len() >= self.settings.max_idle {
            stack.idle.retain(|(idle, _)| !idle.is_closed());
            if stack.idle.len() >= self.settings.max_idle {
                return;
            }
        }
        stack.idle.push_back((connection, now));
        if std::mem::replace(&mut stack.reaping, true) {
            return;
        }
        drop(stack);
        let (runtime, pool) = (self.runtime.clone(), Arc::downgrade(&self));
        let mut until = now + self.settings.idle_timeout;
        // Ends with the pool, or when nothing is idle; it holds neither meanwhile.
        self.runtime.spawn(async move {
            loop {
                runtime.sleep_until(until).await;
                match pool.upgrade().and_then(|pool| pool.reap()) {
                    Some(next) => until = next,
                    None => return,
                }
            }
        });
    }
}

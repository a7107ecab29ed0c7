//! The idle connections to one address: [`Pool`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::HeaderValue;
use futures_channel::oneshot;
use hedge_core::time::{Duration, Instant};
use hedge_link::{Runtime, RuntimeId, before};

use super::connection::Connection;
use super::counters::Counts;
use super::limits::HeadLimits;
use super::on_attempt::OnAttempt;

/// The settings of an [`Http`](super::Http) transport.
#[derive(Clone, Debug)]
pub(super) struct PoolSettings {
    pub(super) max_body: usize,
    pub(super) head: Arc<HeadLimits>,
    /// Whether a 408 on a connection that had been idle counts as a broken connection.
    pub(super) retry_stale_408: bool,
    pub(super) max_idle: usize,
    pub(super) idle_timeout: Duration,
    pub(super) on_attempt: Option<OnAttempt>,
    pub(super) counts: Arc<Counts>,
}

/// A stack of idle connections for each runtime. The connection that was used last is used next, so connections that
/// the load does not need become old and are closed. A connection stays with the runtime that runs its task. On another
/// runtime, a call would depend on a runtime that may have ended, or that is not polled.
pub(super) struct Pool<R> {
    runtime: R,
    pub(super) settings: PoolSettings,
    /// The address as a `Host` header, for requests that bring none.
    pub(super) host: HeaderValue,
    stacks: Mutex<Vec<Stack>>,
}

/// The idle connections of one runtime.
struct Stack {
    runtime: RuntimeId,
    /// The connections, the oldest in front, each with the time since when it has been idle.
    idle: VecDeque<(Connection, Instant)>,
    /// A task of the runtime closes connections that have been idle for too long. The task ends when this is dropped,
    /// or with its runtime.
    reaper: oneshot::Sender<Infallible>,
}

impl Stack {
    /// Whether the runtime has ended, and with it the connections.
    fn is_over(&self) -> bool {
        self.reaper.is_canceled()
    }
}

/// An idle connection, and the time since when it has been idle.
pub(super) struct IdleConnection {
    pub(super) connection: Connection,
    pub(super) since: Instant,
}

/// The place that a connection goes back to. It hides the type of the runtime from a reply's body.
pub(super) trait PoolHandle: Send + Sync {
    /// Keeps a connection that is ready for another request.
    fn give_back(self: Arc<Self>, connection: Connection);
}

impl<R: Runtime> Pool<R> {
    pub(super) fn new(runtime: R, settings: PoolSettings, host: HeaderValue) -> Self {
        Self { runtime, settings, host, stacks: Mutex::default() }
    }

    /// The connection of this runtime that was used last, unless it has been closed or idle for too long.
    pub(super) fn take(&self, now: Instant) -> Option<IdleConnection> {
        let runtime = self.runtime.id();
        // These are dropped after the lock. Closing a connection wakes its task, and the executor's waker may run any
        // code.
        let mut over = VecDeque::new();
        let mut stacks = self.lock();
        let stack = stacks.iter_mut().find(|stack| stack.runtime == runtime)?;
        while let Some((connection, since)) = stack.idle.pop_back() {
            if since + self.settings.idle_timeout <= now {
                // The connections below are older.
                over.append(&mut stack.idle);
            } else if !connection.is_closed() {
                return Some(IdleConnection { connection, since });
            }
            over.push_back((connection, since));
        }
        None
    }

    /// Closes the connections that have been idle since `at` or longer.
    pub(super) fn close_idle_since(&self, at: Instant) {
        let mut over = VecDeque::new();
        let mut stacks = self.lock();
        for stack in &mut *stacks {
            let younger = stack.idle.partition_point(|(_, since)| *since <= at);
            over.extend(stack.idle.drain(..younger));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut over = Vec::new();
        let mut stacks = self.lock();
        over.extend(stacks.extract_if(.., |stack| stack.is_over()));
        stacks.iter().all(|stack| stack.idle.is_empty())
    }

    /// Closes connections that have been idle for too long. Returns when to look again; `None` if no connection is idle
    /// any more.
    fn reap(&self, runtime: RuntimeId) -> Option<Instant> {
        let (mut over, mut ended) = (VecDeque::new(), None);
        let now = self.runtime.now();
        let mut stacks = self.lock();
        let place = stacks.iter().position(|stack| stack.runtime == runtime)?;
        let stack = stacks.get_mut(place)?;
        while let Some((connection, since)) = stack.idle.front() {
            let until = *since + self.settings.idle_timeout;
            if until > now && !connection.is_closed() {
                return Some(until);
            }
            over.extend(stack.idle.pop_front());
        }
        ended.replace(stacks.swap_remove(place));
        None
    }

    /// Starts the task that closes connections that are idle on this runtime for too long. It holds neither the stack
    /// nor the pool, and ends when one of them is dropped.
    fn start_reaper(self: &Arc<Self>, mut until: Instant, mut gone: oneshot::Receiver<Infallible>) {
        let (timer, pool, runtime) = (self.runtime.clone(), Arc::downgrade(self), self.runtime.id());
        self.runtime.spawn(async move {
            while before(&timer, Some(until), &mut gone).await.is_none() {
                match pool.upgrade().and_then(|pool| pool.reap(runtime)) {
                    Some(next) => until = next,
                    None => return,
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stack>> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> PoolHandle for Pool<R> {
    fn give_back(self: Arc<Self>, connection: Connection) {
        let mut over = Vec::new();
        let mut stacks = self.lock();
        let now = self.runtime.now();
        let runtime = connection.runtime;
        if stacks.iter().map(|stack| stack.idle.len()).sum::<usize>() >= self.settings.max_idle {
            for stack in &mut *stacks {
                stack.idle.retain(|(idle, _)| !idle.is_closed());
            }
            if stacks.iter().map(|stack| stack.idle.len()).sum::<usize>() >= self.settings.max_idle {
                return drop(stacks);
            }
        }
        if let Some(stack) = stacks.iter_mut().find(|stack| stack.runtime == runtime && !stack.is_over()) {
            return stack.idle.push_back((connection, now));
        }
        over.extend(stacks.extract_if(.., |stack| stack.is_over()));
        // A new stack needs a task, which can only be spawned on the runtime that this runs on. A connection of another
        // runtime is closed.
        if self.runtime.id() == runtime {
            let (reaper, gone) = oneshot::channel();
            stacks.push(Stack { runtime, idle: VecDeque::from([(connection, now)]), reaper });
            drop(stacks);
            self.start_reaper(now + self.settings.idle_timeout, gone);
        }
    }
}

//! The idle connections to one server: [`Store`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hedge_core::time::{Instant, Micros};

use super::PoolConnection;
use super::expired::Expired;
use super::settings::PoolSettings;
use crate::bell::Bell;
use crate::registry::Place;
use crate::runtime::{Runtime, RuntimeId, before};

/// The idle connections to one server: one stack for each runtime. A connection stays with the runtime that made it. If
/// a call on another runtime used the connection, the call would depend on a runtime that may have ended, or that is
/// not polled.
///
/// Connections are always dropped after the lock is released. The reason is that closing a connection wakes a task, and
/// the executor's waker may run any code.
pub(super) struct Store<R, C> {
    /// The clock of all instants in this store. It is the clock of the first channel.
    pub(super) clock: R,
    pub(super) place: Place,
    state: Mutex<State<C>>,
}

struct State<C> {
    stacks: Vec<Stack<C>>,
    /// The time at which all connections are closed after the last channel has gone. It is `NEVER` if there is no
    /// deferred close.
    close_at: Instant,
}

/// The idle connections of one runtime.
struct Stack<C> {
    runtime: RuntimeId,
    /// The connections in the order in which they became idle.
    idle: VecDeque<Idle<C>>,
    /// The time at which the reaper looks next.
    looks_at: Instant,
    /// Wakes the reaper, which is a task of this runtime that closes connections whose time is over. Only the reaper
    /// owns the bell. So if the bell no longer exists, the reaper has ended together with its runtime.
    bell: Weak<Bell>,
}

struct Idle<C> {
    connection: C,
    since: Instant,
    /// The settings of the channel that used the connection last.
    settings: Arc<PoolSettings>,
}

impl<C: PoolConnection> Idle<C> {
    fn until(&mut self) -> Instant {
        self.settings.until(self.since, self.connection.lifetime())
    }
}

impl<C> State<C> {
    fn idle(&self) -> usize {
        self.stacks.iter().map(|stack| stack.idle.len()).sum()
    }

    /// Removes the stack of this reaper, and returns it.
    fn end_stack(&mut self, runtime: RuntimeId, bell: &Arc<Bell>) -> Option<Stack<C>> {
        let place = self.stacks.iter().position(|stack| stack.is_reaped(runtime, bell))?;
        Some(self.stacks.swap_remove(place))
    }

    /// Returns whether the last channel has gone, the close was deferred, and no connection is left.
    fn is_unused(&self) -> bool {
        self.close_at < Instant::NEVER && self.stacks.is_empty()
    }

    fn stack(&mut self, runtime: RuntimeId) -> Option<&mut Stack<C>> {
        self.stacks.iter_mut().find(|stack| stack.runtime == runtime)
    }
}

impl<C> Stack<C> {
    fn is_over(&self) -> bool {
        self.bell.strong_count() == 0
    }

    fn is_reaped(&self, runtime: RuntimeId, bell: &Arc<Bell>) -> bool {
        self.runtime == runtime && self.bell.as_ptr() == Arc::as_ptr(bell)
    }
}

/// Wakes the reaper, so that it ends.
impl<C> Drop for Stack<C> {
    fn drop(&mut self) {
        self.bell.upgrade().iter().for_each(|bell| bell.ring());
    }
}

impl<R: Runtime, C: PoolConnection> Store<R, C> {
    pub(super) fn new(clock: R, place: Place) -> Self {
        Self { clock, place, state: Mutex::new(State { stacks: Vec::new(), close_at: Instant::NEVER }) }
    }

    pub(super) fn take(&self, runtime: RuntimeId, now: Instant) -> Option<(C, Instant)> {
        let (mut expired, mut over) = (Expired::at(self.place.address()), Vec::new());
        let mut state = self.lock();
        let stack = state.stack(runtime)?;
        while let Some(mut idle) = stack.idle.pop_back() {
            if idle.until() <= now {
                expired.add(&idle.settings, idle.since, now);
            } else if !idle.connection.is_closed() {
                return Some((idle.connection, idle.since));
            }
            over.push(idle);
        }
        None
    }

    /// Keeps a connection, or closes it if it may not be kept. `here` is the runtime on which this method is called.
    pub(super) fn give_back(self: &Arc<Self>, here: &R, connection: C, settings: &Arc<PoolSettings>) {
        let (mut over, mut ended) = (Vec::new(), Vec::new());
        let runtime = connection.runtime();
        let mut state = self.lock();
        let since = self.clock.now();
        if state.idle() >= settings.max_idle() {
            for stack in &mut state.stacks {
                over.extend(remove_if(&mut stack.idle, |idle| idle.connection.is_closed()));
            }
            if state.idle() >= settings.max_idle() {
                drop(state);
                return drop(connection);
            }
        }
        let mut idle = Idle { connection, since, settings: Arc::clone(settings) };
        let until = idle.until();
        if until <= since {
            drop(state);
            drop(idle);
            return Expired::at(self.place.address()).add(settings, since, since);
        }
        if let Some(stack) = state.stack(runtime).filter(|stack| !stack.is_over()) {
            stack.idle.push_back(idle);
            if until < stack.looks_at {
                stack.looks_at = until;
                let bell = stack.bell.upgrade();
                drop(state);
                bell.iter().for_each(|bell| bell.ring());
            }
            return;
        }
        ended.extend(state.stacks.extract_if(.., |stack| stack.is_over()));
        // A new stack needs a task, and a task can only be spawned on the runtime on which this method is called. So a
        // connection of another runtime is closed.
        if here.id() == runtime {
            let bell = Arc::new(Bell::default());
            let idle = VecDeque::from([idle]);
            state.stacks.push(Stack { runtime, idle, looks_at: until, bell: Arc::downgrade(&bell) });
            drop(state);
            let reaper = Reaper { store: Arc::downgrade(self), clock: self.clock.clone(), runtime, bell };
            here.spawn(reaper.run(until));
        } else {
            drop(state);
            drop(idle);
        }
    }

    /// Closes the connections that became idle at the instant `at` or earlier.
    pub(super) fn close_idle_since(&self, at: Instant) {
        let mut over = Vec::new();
        let mut state = self.lock();
        for stack in &mut state.stacks {
            let younger = stack.idle.partition_point(|idle| idle.since <= at);
            over.extend(stack.idle.drain(..younger));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut ended = Vec::new();
        let mut state = self.lock();
        ended.extend(state.stacks.extract_if(.., |stack| stack.is_over()));
        state.idle() == 0
    }

    /// Closes the connections that the settings no longer allow.
    pub(super) fn settings_changed(&self, settings: &Arc<PoolSettings>) {
        let mut over = Vec::new();
        let mut state = self.lock();
        let mut surplus = state.idle().saturating_sub(settings.max_idle());
        for stack in &mut state.stacks {
            over.extend(remove_if(&mut stack.idle, |idle| {
                let is_surplus = surplus > 0 && Arc::ptr_eq(&idle.settings, settings);
                surplus = surplus.saturating_sub(usize::from(is_surplus));
                is_surplus
            }));
        }
        drop(state);
        self.look();
    }

    /// Defers the close of the idle connections by `time`, since the last channel has gone. Returns false if no
    /// connection is idle.
    pub(super) fn defer_close(&self, time: Micros) -> bool {
        let mut state = self.lock();
        let is_reaped = state.stacks.iter().any(|stack| !stack.is_over() && !stack.idle.is_empty());
        if is_reaped {
            state.close_at = self.clock.now() + time;
        }
        is_reaped
    }

    /// Cancels a deferred close, since there is a new channel.
    pub(super) fn keep_open(&self) {
        self.lock().close_at = Instant::NEVER;
    }

    /// Wakes the reapers, so that they look at the connections again.
    pub(super) fn look(&self) {
        let bells: Vec<_> = self.lock().stacks.iter().filter_map(|stack| stack.bell.upgrade()).collect();
        bells.iter().for_each(|bell| bell.ring());
    }

    /// Closes the connections of one stack whose time is over. Returns the time at which the reaper must look again.
    /// Returns `None` if no connection is left.
    fn reap(&self, runtime: RuntimeId, bell: &Arc<Bell>) -> Option<Instant> {
        let mut expired = Expired::at(self.place.address());
        let (mut over, mut ended) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        let now = self.clock.now();
        let mut next = state.close_at;
        if next <= now {
            ended.append(&mut state.stacks);
        }
        let stack = state.stacks.iter_mut().find(|stack| stack.is_reaped(runtime, bell));
        if let Some(stack) = stack {
            over.extend(remove_if(&mut stack.idle, |idle| {
                let until = idle.until();
                if until <= now {
                    expired.add(&idle.settings, idle.since, now);
                    return true;
                }
                next = next.min(until);
                false
            }));
            stack.looks_at = next;
            if !stack.idle.is_empty() {
                return Some(next);
            }
        }
        ended.extend(state.end_stack(runtime, bell));
        let is_unused = state.is_unused();
        drop(state);
        if is_unused {
            self.place.leave_unused();
        }
        None
    }

    /// Removes the stack of a reaper that was dropped before the stack was empty, since its runtime has ended.
    fn reaper_ended(&self, runtime: RuntimeId, bell: &Arc<Bell>) {
        let mut state = self.lock();
        let ended = state.end_stack(runtime, bell);
        let is_unused = state.is_unused();
        drop(state);
        drop(ended);
        if is_unused {
            self.place.leave_unused();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the elements for which `is_over` returns true, and returns them. The other elements keep their order.
fn remove_if<T>(queue: &mut VecDeque<T>, mut is_over: impl FnMut(&mut T) -> bool) -> Vec<T> {
    let mut over = Vec::new();
    for _ in 0..queue.len() {
        if let Some(mut item) = queue.pop_front() {
            if is_over(&mut item) { over.push(item) } else { queue.push_back(item) }
        }
    }
    over
}

/// The task that closes the connections of one stack when their time is over. The task owns neither the store nor the
/// stack, and ends when one of them is dropped.
struct Reaper<R: Runtime, C: PoolConnection> {
    store: Weak<Store<R, C>>,
    clock: R,
    runtime: RuntimeId,
    bell: Arc<Bell>,
}

impl<R: Runtime, C: PoolConnection> Reaper<R, C> {
    async fn run(self, mut until: Instant) {
        loop {
            before(&self.clock, Some(until), self.bell.rung()).await;
            match self.store.upgrade().and_then(|store| store.reap(self.runtime, &self.bell)) {
                Some(next) => until = next,
                None => return,
            }
        }
    }
}

/// If the task is dropped with its runtime, its connections are removed.
impl<R: Runtime, C: PoolConnection> Drop for Reaper<R, C> {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            store.reaper_ended(self.runtime, &self.bell);
        }
    }
}

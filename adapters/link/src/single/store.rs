//! The shared connections to one server: [`Store`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use hedge_core::time::{Instant, Micros};

use super::SharedConnection;
use super::lease::{Lease, Leased};
use super::line::{Attempt, Line, Login, Member};
use crate::bell::Bell;
use crate::pool::{Expired, Lifetime, PoolSettings};
use crate::registry::Place;
use crate::runtime::{Runtime, RuntimeId, before};

/// The shared connections to one server: one [`Line`] for each runtime. Connections and futures are dropped, and wakers
/// are called, after the lock is released, since they may run any code.
pub(super) struct Store<R, C, E> {
    /// The clock of all instants in this store. It is the clock of the first channel.
    clock: R,
    pub(super) place: Place,
    state: Mutex<State<C, E>>,
}

pub(super) struct State<C, E> {
    lines: Vec<Line<C, E>>,
    /// The number of the next connection or call.
    next: u64,
    /// The time at which all connections are closed after the last channel has gone. It is `NEVER` if there is no
    /// deferred close.
    close_at: Instant,
}

impl<C: SharedConnection, E> State<C, E> {
    pub(super) fn number(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    pub(super) fn line(&mut self, runtime: RuntimeId) -> Option<&mut Line<C, E>> {
        self.lines.iter_mut().find(|line| line.runtime == runtime)
    }

    /// Returns the line of this runtime. If there is none, a new line is made.
    pub(super) fn line_or_new(&mut self, runtime: RuntimeId) -> &mut Line<C, E> {
        let place = self.lines.iter().position(|line| line.runtime == runtime).unwrap_or_else(|| {
            self.lines.push(Line::new(runtime));
            self.lines.len() - 1
        });
        // `place` is the index of a line, so it is valid.
        #[expect(clippy::indexing_slicing, reason = "just found or made")]
        &mut self.lines[place]
    }

    /// Removes the lines that are no longer needed.
    pub(super) fn tidy(&mut self) {
        self.lines.retain(|line| !line.is_over());
    }

    fn is_unused(&self) -> bool {
        self.close_at < Instant::NEVER && self.lines.iter().all(|line| line.members.is_empty())
    }
}

impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Store<R, C, E> {
    pub(super) fn new(clock: R, place: Place) -> Self {
        let state = State { lines: Vec::new(), next: 0, close_at: Instant::NEVER };
        Self { clock, place, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<C, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection that a call on this runtime has made. If the line has no reaper, starts one. Returns the lease
    /// of the call that made the connection. Returns `None` if the connection takes no calls yet.
    pub(super) fn connected(
        self: &Arc<Self>,
        here: &R,
        connection: C,
        settings: &Arc<PoolSettings>,
        must_log_in: bool,
    ) -> Option<Lease<C>> {
        let runtime = here.id();
        let mut state = self.lock();
        let (id, since) = (state.number(), self.clock.now());
        let line = state.line_or_new(runtime);
        line.attempt = Attempt::None;
        line.failure = None;
        let mut lifetime = Lifetime::new();
        lifetime.begin(since);
        let (connection, own) = (Arc::new(connection), Arc::clone(settings));
        let login = if must_log_in { Login::Needed } else { Login::Done };
        let until = settings.until(since, &lifetime);
        let mut member = Member { id, connection, calls: 0, login, since, settings: own, lifetime };
        let lease = member.has_room().then(|| self.lease(runtime, &mut member, settings));
        line.members.push(member);
        let reaper = (line.bell.strong_count() == 0).then(|| {
            let bell = Arc::new(Bell::default());
            line.bell = Arc::downgrade(&bell);
            Reaper { store: Arc::downgrade(self), clock: self.clock.clone(), runtime, bell }
        });
        let woken = line.everyone();
        drop(state);
        wake(woken);
        if let Some(reaper) = reaper {
            here.spawn(reaper.run(until));
        }
        lease
    }

    /// Makes the lease of this connection for a call. The caller has locked the state.
    pub(super) fn lease(
        self: &Arc<Self>,
        runtime: RuntimeId,
        member: &mut Member<C>,
        settings: &Arc<PoolSettings>,
    ) -> Lease<C> {
        let is_first = member.login == Login::Needed;
        if is_first {
            member.login = Login::Sending;
        }
        member.calls = member.calls.saturating_add(1);
        Lease {
            connection: Arc::clone(&member.connection),
            member: member.id,
            runtime,
            settings: Arc::clone(settings),
            store: Arc::clone(self) as _,
            is_first,
            credential: None,
        }
    }

    pub(super) fn connections(&self) -> usize {
        let state = self.lock();
        let open = |line: &Line<C, E>| line.members.iter().filter(|member| member.is_open()).count();
        state.lines.iter().map(open).sum()
    }

    /// Cancels a deferred close, since there is a new channel.
    pub(super) fn keep_open(&self) {
        self.lock().close_at = Instant::NEVER;
    }

    /// Defers the close of the connections by `time`, since the last channel has gone. Returns false if there is no
    /// connection to keep.
    pub(super) fn defer_close(&self, time: Micros) -> bool {
        let mut state = self.lock();
        let is_reaped = state.lines.iter().any(|line| line.bell.strong_count() > 0 && !line.members.is_empty());
        if is_reaped {
            state.close_at = self.clock.now() + time;
        }
        is_reaped
    }

    /// Wakes the reapers and the calls that wait, so that they look at the connections again.
    pub(super) fn look(&self) {
        let (mut bells, mut woken) = (Vec::new(), Vec::new());
        for line in &mut self.lock().lines {
            bells.extend(line.bell.upgrade());
            woken.extend(line.everyone());
        }
        bells.iter().for_each(|bell| bell.ring());
        wake(woken);
    }

    /// Closes the connections of one runtime that have been idle for too long. Returns the time at which the reaper
    /// must look again. Returns `None` if no connection is left.
    fn reap(&self, runtime: RuntimeId, bell: &Arc<Bell>) -> Option<Instant> {
        let (mut expired, mut over) = (Expired::at(self.place.address()), Vec::new());
        let mut state = self.lock();
        let (now, close_at) = (self.clock.now(), state.close_at);
        let line = state.line(runtime).filter(|line| line.bell.as_ptr() == Arc::as_ptr(bell))?;
        over.extend(line.without_closed());
        let mut next = close_at;
        over.extend(line.members.extract_if(.., |member| {
            if member.calls > 0 {
                // If the connection became idle now, its idle time would end then.
                next = next.min(member.settings.until(now, &Lifetime::new()));
                return false;
            }
            let until = member.until().min(close_at);
            if until <= now {
                expired.add(&member.settings, member.since, now);
                return true;
            }
            next = next.min(until);
            false
        }));
        let is_empty = line.members.is_empty() || close_at <= now;
        if is_empty {
            over.append(&mut line.members);
            line.bell = Weak::new();
        }
        let woken = line.next();
        state.tidy();
        let is_unused = state.is_unused();
        drop(state);
        wake(woken);
        if is_unused {
            self.place.leave_unused();
        }
        (!is_empty).then_some(next)
    }

    /// Removes the connections of a reaper that was dropped, since its runtime has ended.
    fn reaper_ended(&self, runtime: RuntimeId, bell: &Arc<Bell>) {
        let mut over = Vec::new();
        let mut state = self.lock();
        if let Some(line) = state.line(runtime).filter(|line| line.bell.as_ptr() == Arc::as_ptr(bell)) {
            over.append(&mut line.members);
            line.bell = Weak::new();
        }
        state.tidy();
        let is_unused = state.is_unused();
        drop(state);
        drop(over);
        if is_unused {
            self.place.leave_unused();
        }
    }
}

impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Leased for Store<R, C, E> {
    fn ended(&self, runtime: RuntimeId, id: u64, settings: &Arc<PoolSettings>) {
        let mut over = Vec::new();
        let mut state = self.lock();
        let Some(line) = state.line(runtime) else { return };
        if let Some(member) = line.members.iter_mut().find(|member| member.id == id) {
            member.calls = member.calls.saturating_sub(1);
            if member.calls == 0 {
                member.since = self.clock.now();
                member.settings = Arc::clone(settings);
            }
        }
        over.extend(line.without_closed());
        let (woken, bell) = (line.next(), line.bell_if_empty());
        drop(state);
        wake(woken);
        bell.iter().for_each(|bell| bell.ring());
    }

    fn logged_in(&self, runtime: RuntimeId, id: u64, login: Login) {
        let mut state = self.lock();
        let Some(line) = state.line(runtime) else { return };
        if let Some(member) = line.members.iter_mut().find(|member| member.id == id) {
            member.login = login;
        }
        let woken = line.everyone();
        drop(state);
        wake(woken);
    }

    fn retire(&self, runtime: RuntimeId, id: u64) {
        let mut over = Vec::new();
        let mut state = self.lock();
        let Some(line) = state.line(runtime) else { return };
        over.extend(line.members.extract_if(.., |member| member.id == id));
        let (woken, bell) = (line.next(), line.bell_if_empty());
        drop(state);
        wake(woken);
        bell.iter().for_each(|bell| bell.ring());
    }
}

#[cfg(test)]
impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Store<R, C, E> {
    pub(super) fn is_clean(&self) -> bool {
        self.lock().lines.is_empty()
    }
}

pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The task that closes the idle connections of one line. While connections are in use, the task looks at them once in
/// each idle timeout. So a call that ends need not wake the task.
struct Reaper<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> {
    store: Weak<Store<R, C, E>>,
    clock: R,
    runtime: RuntimeId,
    bell: Arc<Bell>,
}

impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Reaper<R, C, E> {
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
impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static> Drop for Reaper<R, C, E> {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            store.reaper_ended(self.runtime, &self.bell);
        }
    }
}

/// Wakes the reapers, so that they end.
impl<C, E> Drop for State<C, E> {
    fn drop(&mut self) {
        let bells: Vec<_> = self.lines.iter().filter_map(|line| line.bell.upgrade()).collect();
        bells.iter().for_each(|bell| bell.ring());
    }
}

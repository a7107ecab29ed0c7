//! A call that waits for a shared connection: [`Call`].

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::SharedConnection;
use super::lease::Lease;
use super::line::{Attempt, Connecting, Line, Member};
use super::store::{Store, wake};
use crate::pool::PoolSettings;
use crate::runtime::{Runtime, RuntimeId};

/// A call that waits for a connection with room. The call makes a connection if no other call is making one.
pub(super) struct Call<'a, R: Runtime, C: SharedConnection, E: Send + Sync + 'static, M> {
    runtime: &'a R,
    store: &'a Arc<Store<R, C, E>>,
    settings: &'a Arc<PoolSettings>,
    must_log_in: bool,
    /// Makes the future of an attempt.
    connect: Option<M>,
    /// The number of this call, and its runtime. They are set at the first poll.
    waits: Option<(u64, RuntimeId)>,
    /// The number of the attempt that this call waits for.
    waits_for: u64,
    /// Whether this call polls the attempt.
    is_driver: bool,
    /// The attempt that this call polls. While the attempt is being polled, this is `None`.
    driven: Option<Connecting<C, E>>,
}

/// The next step of a call.
enum Step<C, E> {
    Go(Lease<C>),
    Fail(Arc<E>),
    /// The call polls the attempt.
    Drive,
    /// The call makes an attempt, and polls it.
    Begin,
    Wait,
}

impl<'a, R, C, E, M, F> Call<'a, R, C, E, M>
where
    R: Runtime,
    C: SharedConnection,
    E: Send + Sync + 'static,
    M: FnOnce() -> F,
    F: Future<Output = Result<C, E>> + Send + 'static,
{
    pub(super) const fn new(
        runtime: &'a R,
        store: &'a Arc<Store<R, C, E>>,
        settings: &'a Arc<PoolSettings>,
        must_log_in: bool,
        connect: M,
    ) -> Self {
        let connect = Some(connect);
        Self {
            runtime,
            store,
            settings,
            must_log_in,
            connect,
            waits: None,
            waits_for: 0,
            is_driver: false,
            driven: None,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lease<C>, Arc<E>>> {
        loop {
            match self.step(cx) {
                Step::Go(lease) => return Poll::Ready(Ok(lease)),
                Step::Fail(error) => return Poll::Ready(Err(error)),
                Step::Wait => return Poll::Pending,
                Step::Drive => {}
                Step::Begin => match self.connect.take() {
                    Some(connect) => self.driven = Some(Box::pin(connect())),
                    None => return Poll::Pending,
                },
            }
            // If this poll panics, the attempt is lost, and another call begins a new one.
            let Some(mut attempt) = self.driven.take() else { return Poll::Pending };
            match attempt.as_mut().poll(cx) {
                Poll::Pending => {
                    self.driven = Some(attempt);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(connection)) => {
                    drop(attempt);
                    self.leave_attempt();
                    let lease = self.store.connected(self.runtime, connection, self.settings, self.must_log_in);
                    if let Some(lease) = lease {
                        return Poll::Ready(Ok(lease));
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.is_driver = false;
                    return Poll::Ready(Err(self.failed(error)));
                }
            }
        }
    }

    fn step(&mut self, cx: &Context<'_>) -> Step<C, E> {
        let mut closed = Vec::new();
        let mut state = self.store.lock();
        let (call, runtime) = *self.waits.get_or_insert_with(|| (state.number(), self.runtime.id()));
        let line = state.line_or_new(runtime);
        closed.extend(line.without_closed());
        // This is read before the limits. A connection's limit may become known meanwhile. If it were read after them,
        // a call could see the old limit of a connection that is settled, and connect for nothing.
        let is_settling = line.is_settling();
        if let Some(member) = line.roomy() {
            let lease = self.store.lease(runtime, member, self.settings);
            line.leave(call);
            // There may be room for another call.
            let next = line.next();
            drop(state);
            wake(next);
            return Step::Go(lease);
        }
        line.wait(call, cx);
        if self.is_driver {
            return Step::Drive;
        }
        if let Some((_, error)) = line.failure.as_ref().filter(|(number, _)| *number == self.waits_for) {
            return Step::Fail(Arc::clone(error));
        }
        match std::mem::replace(&mut line.attempt, Attempt::Driven) {
            Attempt::Left(attempt) => {
                (self.is_driver, self.driven) = (true, Some(attempt));
                Step::Drive
            }
            Attempt::None if !is_settling && self.may_connect(line) => {
                line.number = line.number.wrapping_add(1);
                (self.is_driver, self.waits_for) = (true, line.number);
                Step::Begin
            }
            attempt => {
                if matches!(attempt, Attempt::Driven) {
                    self.waits_for = line.number;
                }
                line.attempt = attempt;
                Step::Wait
            }
        }
    }

    fn may_connect(&self, line: &Line<C, E>) -> bool {
        self.connect.is_some() && line.members.len() < self.settings.max_connections()
    }

    /// Records that the attempt that this call polled has ended. The call may have begun on another runtime than the one
    /// that has polled it to the end.
    fn leave_attempt(&mut self) {
        self.is_driver = false;
        let mut state = self.store.lock();
        if let Some((_, runtime)) = self.waits
            && let Some(line) = state.line(runtime)
        {
            line.attempt = Attempt::None;
        }
    }

    /// Returns whether there is a connection whose limit is known, so that the call could only wait for room on it.
    pub(super) fn has_connection(&self) -> bool {
        let mut state = self.store.lock();
        let Some(line) = self.waits.and_then(|(_, runtime)| state.line(runtime)) else { return false };
        line.members.iter().any(Member::is_open)
    }

    /// Records that the attempt that this call polled has failed. All calls that wait for this attempt fail.
    fn failed(&self, error: E) -> Arc<E> {
        let error = Arc::new(error);
        let mut state = self.store.lock();
        let mut woken = Vec::new();
        if let Some((_, runtime)) = self.waits
            && let Some(line) = state.line(runtime)
        {
            line.attempt = Attempt::None;
            line.failure = Some((line.number, Arc::clone(&error)));
            woken = line.everyone();
        }
        drop(state);
        wake(woken);
        error
    }
}

/// If the call leaves while it polls an attempt, another call continues the attempt. If the call was woken for a
/// connection with room, another call is woken.
impl<R: Runtime, C: SharedConnection, E: Send + Sync + 'static, M> Drop for Call<'_, R, C, E, M> {
    fn drop(&mut self) {
        let Some((call, runtime)) = self.waits else { return };
        let mut over = None;
        let mut state = self.store.lock();
        let Some(line) = state.line(runtime) else { return };
        line.leave(call);
        if self.is_driver {
            line.attempt = self.driven.take().map_or(Attempt::None, Attempt::Left);
        }
        if line.waiters.is_empty() && matches!(line.attempt, Attempt::Left(_)) {
            over = Some(std::mem::replace(&mut line.attempt, Attempt::None));
        }
        let next = line.next();
        state.tidy();
        drop(state);
        wake(next);
        drop(over);
    }
}

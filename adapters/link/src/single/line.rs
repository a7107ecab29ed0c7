//! The connections of one runtime to one server, and the calls that wait for a connection: [`Line`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};

use hedge_core::time::Instant;

use super::SharedConnection;
use crate::bell::Bell;
use crate::pool::{Lifetime, PoolSettings};
use crate::runtime::RuntimeId;

/// An attempt to connect.
pub(super) type Connecting<C, E> = Pin<Box<dyn Future<Output = Result<C, E>> + Send>>;

/// The connections of one runtime to one server, and the calls that wait for a connection.
pub(super) struct Line<C, E> {
    pub(super) runtime: RuntimeId,
    pub(super) members: Vec<Member<C>>,
    pub(super) attempt: Attempt<C, E>,
    /// The number of the current attempt to connect. If there is no current attempt, the number of the last one.
    pub(super) number: u64,
    /// The number of the last attempt that failed, and its error.
    pub(super) failure: Option<(u64, Arc<E>)>,
    pub(super) waiters: Vec<Waiter>,
    /// Wakes the reaper. Only the reaper owns the bell.
    pub(super) bell: Weak<Bell>,
}

/// A connection that takes calls.
pub(super) struct Member<C> {
    pub(super) id: u64,
    pub(super) connection: Arc<C>,
    pub(super) calls: usize,
    pub(super) login: Login,
    /// The time at which its last call ended. If there was no call, the time at which the connection was made.
    pub(super) since: Instant,
    /// The settings of the channel that used the connection last.
    pub(super) settings: Arc<PoolSettings>,
    pub(super) lifetime: Lifetime,
}

/// Whether the first call of a connection has sent the credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Login {
    /// The next call must send the credential.
    Needed,
    /// The first call is sending the credential. The other calls wait.
    Sending,
    /// The credential is sent, or the connection needs none.
    Done,
}

/// The current attempt to connect, if there is one.
pub(super) enum Attempt<C, E> {
    None,
    /// One of the calls polls the attempt.
    Driven,
    /// The call that polled the attempt has left. The next call that is polled continues the attempt.
    Left(Connecting<C, E>),
}

/// A call that waits. Its waker is `None` after the call was woken, until it is polled again.
pub(super) struct Waiter {
    call: u64,
    waker: Option<Waker>,
}

impl<C: SharedConnection, E> Line<C, E> {
    pub(super) const fn new(runtime: RuntimeId) -> Self {
        Self {
            runtime,
            members: Vec::new(),
            attempt: Attempt::None,
            number: 0,
            failure: None,
            waiters: Vec::new(),
            bell: Weak::new(),
        }
    }

    /// Removes the connections that take no more calls, and returns them.
    pub(super) fn without_closed(&mut self) -> Vec<Member<C>> {
        self.members.extract_if(.., |member| member.connection.is_closed()).collect()
    }

    /// Among the connections with room, returns the one with the most calls. So connections that are not needed for the
    /// current load become idle. Returns `None` if no connection has room.
    pub(super) fn roomy(&mut self) -> Option<&mut Member<C>> {
        self.members.iter_mut().filter(|member| member.has_room()).max_by_key(|member| member.calls)
    }

    /// Returns whether a connection may soon have room: its credential is being sent, or its limit is not known yet.
    pub(super) fn is_settling(&self) -> bool {
        self.members.iter().any(|member| member.login == Login::Sending || !member.connection.is_settled())
    }

    pub(super) fn wait(&mut self, call: u64, cx: &Context<'_>) {
        let waker = Some(cx.waker().clone());
        match self.waiters.iter_mut().find(|waiter| waiter.call == call) {
            Some(waiter) => waiter.waker = waker,
            None => self.waiters.push(Waiter { call, waker }),
        }
    }

    pub(super) fn leave(&mut self, call: u64) {
        self.waiters.retain(|waiter| waiter.call != call);
    }

    /// Returns the waker of one call that can continue now, since a connection has room, or since a call must continue
    /// or begin an attempt to connect.
    pub(super) fn next(&mut self) -> Option<Waker> {
        if matches!(self.attempt, Attempt::Driven) && self.roomy().is_none() {
            return None;
        }
        self.waiters.iter_mut().find_map(|waiter| waiter.waker.take())
    }

    /// Returns the wakers of all calls that wait.
    pub(super) fn everyone(&mut self) -> Vec<Waker> {
        self.waiters.iter_mut().filter_map(|waiter| waiter.waker.take()).collect()
    }

    /// Returns whether the line is no longer needed: it has no reaper, no connection, no waiting call and no attempt.
    pub(super) fn is_over(&self) -> bool {
        let is_reaped = self.bell.strong_count() > 0;
        !is_reaped && self.members.is_empty() && self.waiters.is_empty() && matches!(self.attempt, Attempt::None)
    }

    /// Returns the bell of the reaper if there are no connections, so that the reaper can end.
    pub(super) fn bell_if_empty(&self) -> Option<Arc<Bell>> {
        self.bell.upgrade().filter(|_| self.members.is_empty())
    }
}

impl<C: SharedConnection> Member<C> {
    /// Returns whether the connection takes calls, and its limit is known.
    pub(super) fn is_open(&self) -> bool {
        !self.connection.is_closed() && self.connection.is_settled()
    }

    pub(super) fn has_room(&self) -> bool {
        self.login != Login::Sending && self.calls < self.connection.limit()
    }

    /// Returns the time at which the connection must be closed if it stays idle.
    pub(super) fn until(&self) -> Instant {
        self.settings.until(self.since, &self.lifetime)
    }
}

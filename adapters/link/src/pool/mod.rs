//! Connections with one call at a time, which are kept for the next call: [`Pool`].

mod expired;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use hedge_core::time::Instant;
use hedge_fleet::Address;

use crate::key::ConnectionKey;
use crate::registry::Place;
use crate::runtime::{Runtime, RuntimeId};

pub(crate) use expired::Expired;
pub use settings::{Lifetime, PoolSettings};
use store::Store;

/// A connection that a [`Pool`] keeps while it is idle. Dropping this value closes the connection.
pub trait PoolConnection: Send + 'static {
    /// Returns whether the connection is known to be closed. This method is called while a lock is held, so it must not
    /// block and must not wake a task.
    fn is_closed(&mut self) -> bool;

    /// Returns the id of the runtime that made the connection. The connection is used only on this runtime.
    fn runtime(&self) -> RuntimeId;

    /// Returns the lifetime of the connection, which the pool reads and changes.
    fn lifetime(&mut self) -> &mut Lifetime;
}

/// The idle connections to one server for the connection type `pooled` ([C1](hedge_core::rules#C1)). Each pool belongs
/// to one channel. The pools of channels with equal keys share their connections ([C4](hedge_core::rules#C4)).
///
/// A connection is used only on the runtime that made it. The connection that was used last is used next. So
/// connections that are not needed for the current load stay idle and are closed. The number of connections in use is
/// not limited.
///
/// # Cost
/// Taking a connection costs one short lock, and so does giving it back. While a server has idle connections, one task
/// for each runtime closes the connections whose time is over. If there are no idle connections, there is no task and
/// no timer.
pub struct Pool<R: Runtime, C: PoolConnection> {
    runtime: R,
    settings: Arc<PoolSettings>,
    store: Arc<Store<R, C>>,
    clocks: Clocks,
}

/// An idle connection, and the time at which it became idle.
#[derive(Debug)]
pub struct IdleConnection<C> {
    /// The connection.
    pub connection: C,
    /// The time at which the connection became idle.
    pub since: Instant,
}

impl<R: Runtime, C: PoolConnection> Pool<R, C> {
    /// Makes a pool of connections to `address`. All pools in the process with this address and an equal key share
    /// their connections.
    #[must_use]
    pub fn new(runtime: R, address: &Address, key: &ConnectionKey, settings: Arc<PoolSettings>) -> Self {
        Self::at(&Place::of::<Store<R, C>>(address, key), runtime, settings)
    }

    fn at(place: &Place, runtime: R, settings: Arc<PoolSettings>) -> Self {
        let store = place.enter(|place| Store::new(runtime.clone(), place), Store::keep_open);
        let clocks = Clocks::new(runtime.now(), store.clock.now());
        Self { runtime, settings, store, clocks }
    }

    /// Takes the connection of this runtime that was used last. Connections that are closed, or whose time is over at
    /// `now`, are removed instead of being returned. Returns `None` if there is no other connection.
    pub fn take(&self, now: Instant) -> Option<IdleConnection<C>> {
        let (connection, since) = self.store.take(self.runtime.id(), self.clocks.to_store(now))?;
        Some(IdleConnection { connection, since: self.clocks.to_own(since) })
    }

    /// Keeps a connection that is ready for another call. The connection is closed instead in three cases: the pool is
    /// full, the connection's time is over, or this method is called on another runtime while no connection of the
    /// connection's own runtime is idle.
    pub fn give_back(&self, connection: C) {
        self.store.give_back(&self.runtime, connection, &self.settings);
    }

    /// Records that a connection has just been made. Its age counts from now.
    pub fn opened(&self, connection: &mut C) {
        connection.lifetime().begin(self.store.clock.now());
    }

    /// Closes the connections that became idle at the instant `at` or earlier.
    pub fn close_idle_since(&self, at: Instant) {
        self.store.close_idle_since(self.clocks.to_store(at));
    }

    /// Returns whether no connection is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// Applies the current settings to the connections that are idle now. Call this method after a change of the
    /// settings.
    pub fn settings_changed(&self) {
        self.store.settings_changed(&self.settings);
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Arc<PoolSettings> {
        &self.settings
    }
}

/// Dropping the last pool with this key closes the idle connections, at once or after the time of
/// [`set_defer_close`](PoolSettings::set_defer_close).
impl<R: Runtime, C: PoolConnection> Drop for Pool<R, C> {
    fn drop(&mut self) {
        let mut is_deferred = false;
        self.store.place.leave(|| {
            is_deferred = self.settings.defer_close().is_some_and(|time| self.store.defer_close(time));
            is_deferred
        });
        if is_deferred {
            self.store.look();
        }
    }
}

impl<R: Runtime, C: PoolConnection> fmt::Debug for Pool<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, settings) = (self.store.place.address(), &self.settings);
        f.debug_struct("Pool").field("address", address).field("settings", settings).finish_non_exhaustive()
    }
}

/// Two readings, at the same moment, of the clock of a channel and the clock of the store. The clock of the store is
/// the clock of the first channel. Both clocks run at the same speed, but each has its own origin.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    own: Instant,
    store: Instant,
}

impl Clocks {
    /// Makes a value from two readings at the same moment.
    const fn new(own: Instant, store: Instant) -> Self {
        Self { own, store }
    }

    /// Converts an instant of the channel's clock into an instant of the store's clock.
    fn to_store(self, own: Instant) -> Instant {
        moved(own, self.own, self.store)
    }

    /// Converts an instant of the store's clock into an instant of the channel's clock. If the instant is before the
    /// origin of the channel's clock, the result is this origin.
    fn to_own(self, store: Instant) -> Instant {
        moved(store, self.store, self.own)
    }
}

/// Converts the instant `at` of one clock into an instant of another clock. The first clock read `here` at the moment
/// at which the other clock read `there`.
fn moved(at: Instant, here: Instant, there: Instant) -> Instant {
    if there >= here {
        at + there.micros_since(here)
    } else {
        Instant::ZERO + at.micros_since(Instant::ZERO + here.micros_since(there))
    }
}

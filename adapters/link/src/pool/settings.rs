//! Settings for connections, such as how many idle connections are kept, and for how long: [`PoolSettings`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hedge_core::time::{Duration, Instant, Micros};
use hedge_fleet::Observers;

/// The settings of one channel for its connections. All settings may be changed while connections are in use. After a
/// change, call [`Pool::settings_changed`](crate::Pool::settings_changed) or
/// [`Single::changed`](crate::Single::changed).
///
/// If several channels share a connection, the settings of the channel that used it last apply while the connection is
/// idle.
#[derive(Debug)]
pub struct PoolSettings {
    max_idle: AtomicUsize,
    max_connections: AtomicUsize,
    /// This time and the next two times are in microseconds.
    idle_timeout: AtomicU64,
    max_age: AtomicU64,
    defer_close: AtomicU64,
    expired: AtomicU64,
    observers: OnceLock<Observers>,
}

impl PoolSettings {
    /// The default number of idle connections that are kept, as in brpc's `max_connection_pool_size`.
    pub const DEFAULT_MAX_IDLE: usize = 100;
    /// The default maximum number of connections of the type `single` to a server.
    pub const DEFAULT_MAX_CONNECTIONS: usize = 8;
    /// The default time for which a connection may be idle, as in brpc's `idle_timeout_second`.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    /// Makes the default settings: at most 100 idle connections or 8 shared connections, an idle timeout of 10 s, and
    /// no limit on the age. Connections are closed with their last channel.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_idle: AtomicUsize::new(Self::DEFAULT_MAX_IDLE),
            max_connections: AtomicUsize::new(Self::DEFAULT_MAX_CONNECTIONS),
            idle_timeout: AtomicU64::new(micros(Self::DEFAULT_IDLE_TIMEOUT)),
            max_age: AtomicU64::new(micros(Duration::MAX)),
            defer_close: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            observers: OnceLock::new(),
        }
    }

    /// Sets how many idle connections a [`Pool`](crate::Pool) keeps. If the number is 0, no connection is kept.
    pub fn set_max_idle(&self, connections: usize) {
        self.max_idle.store(connections, Ordering::Relaxed);
    }

    /// Sets how many connections a [`Single`](crate::Single) may have on one runtime. Connections that get no new calls
    /// are not counted. The value 0 means 1.
    pub fn set_max_connections(&self, connections: usize) {
        self.max_connections.store(connections.max(1), Ordering::Relaxed);
    }

    /// Sets how long a connection may be idle before it is closed.
    pub fn set_idle_timeout(&self, timeout: Duration) {
        self.idle_timeout.store(micros(timeout), Ordering::Relaxed);
    }

    /// Sets how old a connection may be. An older connection is closed if it is idle, or as soon as it becomes idle.
    /// The calls on a connection are not interrupted.
    pub fn set_max_age(&self, age: Duration) {
        self.max_age.store(micros(age), Ordering::Relaxed);
    }

    /// Sets how long idle connections are kept after their last channel has gone. A connection is closed earlier if its
    /// idle time ends earlier. If the time is 0, the connections are closed at once.
    pub fn set_defer_close(&self, time: Duration) {
        self.defer_close.store(micros(time), Ordering::Relaxed);
    }

    /// Sets the observers that are notified of connections that expire. Only the first call has an effect.
    pub fn observed_by(&self, observers: Observers) {
        // The observers of a channel never change.
        let _ = self.observers.set(observers);
    }

    /// Returns how many idle connections have expired: they were closed because they were idle for too long, were too
    /// old, or were idle for as long as the server had announced. The count wraps.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    pub(super) fn max_idle(&self) -> usize {
        self.max_idle.load(Ordering::Relaxed)
    }

    /// Returns how long idle connections are kept after their last channel has gone. Returns `None` if connections are
    /// closed with their last channel.
    pub(crate) fn defer_close(&self) -> Option<Micros> {
        Some(self.defer_close.load(Ordering::Relaxed)).filter(|micros| *micros > 0).map(Micros::from_micros)
    }

    pub(super) fn expire(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the observers. Returns `None` if nothing wants the event of a connection that has expired.
    pub(super) fn observers(&self) -> Option<&Observers> {
        self.observers.get().filter(|observers| observers.want_servers())
    }

    /// Returns the time at which a connection that has been idle since `since` must be closed.
    pub(crate) fn until(&self, since: Instant, lifetime: &Lifetime) -> Instant {
        let idle = since + Micros::from_micros(self.idle_timeout.load(Ordering::Relaxed));
        let kept = lifetime.keep_for.map_or(Instant::NEVER, |time| since + time);
        let made = lifetime.made.unwrap_or(since);
        idle.min(kept).min(made + Micros::from_micros(self.max_age.load(Ordering::Relaxed)))
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self::new()
    }
}

fn micros(time: Duration) -> u64 {
    Micros::from_duration(time).as_micros()
}

/// The time at which a connection was made, and how long the server keeps the connection while it is idle. The
/// connection stores this value for its pool.
#[derive(Clone, Debug, Default)]
pub struct Lifetime {
    /// The time at which the connection was made, on the clock of the pool's store.
    made: Option<Instant>,
    keep_for: Option<Duration>,
}

impl Lifetime {
    /// Makes the lifetime of a new connection. [`Pool::opened`](super::Pool::opened) adds the time at which the
    /// connection was made.
    #[must_use]
    pub const fn new() -> Self {
        Self { made: None, keep_for: None }
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        self.made = Some(now);
    }

    /// Records that the server closes the connection when it has been idle for longer than `time`. If `time` is 0, the
    /// connection is not kept.
    pub fn keep_for(&mut self, time: Duration) {
        self.keep_for = Some(time);
    }
}

//! How many connections were opened, reused and closed: [`HttpCounters`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The connections of an [`Http`](super::Http) transport since it was made. Those of health checks do not count. Take
/// differences for rates.
///
/// If channels share connections ([C4](hedge_core::rules#C4)), a connection counts as opened, and later as closed, at the
/// channel that made it; as reused at the channel whose request was given to it; and as expired at the channel that used
/// it last. So the numbers of all channels together are those of all connections.
///
/// # Cost
/// One atomic addition for each request on a connection that had been idle, and for each connection that is opened,
/// closed or drained. Reading does not stop calls, so the numbers may be from slightly different moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HttpCounters {
    /// Connections that were made.
    pub opened: u64,
    /// Connections that were closed, by whichever side.
    pub closed: u64,
    /// Requests that were given to a connection that had been idle.
    pub reused: u64,
    /// Requests that were sent once more, on a new connection: see [`Http::resent`](super::Http::resent).
    pub resent: u64,
    /// Connections that were closed because their time was over while they were idle: the idle timeout, the age, or what
    /// the server's `Keep-Alive` header said.
    pub expired: u64,
    /// Connections that were kept after an abandoned attempt: its answer was read and thrown away
    /// ([C2](hedge_core::rules#C2)). Over HTTP/2, these are streams that were not reset.
    pub drained: u64,
    /// Connections that were closed after an abandoned attempt: its request had not been sent whole, its answer was over
    /// one of the [limits](super::DrainOptions) or ended the connection, or the transport [closes](super::DrainOrClose)
    /// them.
    pub closed_undrained: u64,
    /// Requests over HTTP/2 that were abandoned, and whose streams were reset with CANCEL
    /// ([C2](hedge_core::rules#C2)).
    pub reset: u64,
    /// Connections on which the answer of an abandoned attempt is read now. Over HTTP/2, streams.
    pub draining: u64,
}

impl HttpCounters {
    /// How many connections are open now.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }
}

/// The counts that the parts of a transport share.
#[derive(Debug, Default)]
pub(super) struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    reused: AtomicU64,
    resent: AtomicU64,
    drained: AtomicU64,
    closed_undrained: AtomicU64,
    reset: AtomicU64,
    draining: AtomicU64,
}

impl Counts {
    pub(super) fn get(&self, expired: u64) -> HttpCounters {
        // What was closed is read first, since it was opened before.
        let closed = self.closed.load(Ordering::Acquire);
        HttpCounters {
            opened: self.opened.load(Ordering::Relaxed),
            closed,
            reused: self.reused.load(Ordering::Relaxed),
            resent: self.resent.load(Ordering::Relaxed),
            expired,
            drained: self.drained.load(Ordering::Relaxed),
            closed_undrained: self.closed_undrained.load(Ordering::Relaxed),
            reset: self.reset.load(Ordering::Relaxed),
            draining: self.draining.load(Ordering::Relaxed),
        }
    }

    pub(super) fn resent(&self) -> u64 {
        self.resent.load(Ordering::Relaxed)
    }

    pub(super) fn reuse(&self) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resend(&self) {
        self.resent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn close_undrained(&self) {
        self.closed_undrained.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(feature = "http2")]
    pub(super) fn reset(&self) {
        self.reset.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer of an abandoned request over HTTP/2 was read and thrown away.
    #[cfg(feature = "http2")]
    pub(super) fn throw_away(&self) {
        self.drained.fetch_add(1, Ordering::Relaxed);
    }

    /// No answer is read any more that [`begin_drain`](Self::begin_drain) counted.
    #[cfg(feature = "http2")]
    pub(super) fn end_throwing_away(&self) {
        self.draining.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn begin_drain(&self) {
        self.draining.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_drain(&self, is_kept: bool) {
        let ended = if is_kept { &self.drained } else { &self.closed_undrained };
        ended.fetch_add(1, Ordering::Relaxed);
        self.draining.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a connection as opened, and as closed when this is dropped.
pub(super) struct OpenConnection(Arc<Counts>);

impl OpenConnection {
    pub(super) fn new(counts: &Arc<Counts>) -> Self {
        counts.opened.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}

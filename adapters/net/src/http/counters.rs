//! How many connections were opened, reused and closed: [`HttpCounters`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The connections of an [`Http`](super::Http) transport since it was made. Those of health checks do not count. Take
/// differences for rates.
///
/// # Cost
/// One atomic addition for each request on a connection that had been idle, and for each connection that is opened or
/// closed. Reading does not stop calls, so the numbers may be from slightly different moments.
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
}

impl Counts {
    pub(super) fn get(&self) -> HttpCounters {
        // What was closed is read first, since it was opened before.
        let closed = self.closed.load(Ordering::Acquire);
        HttpCounters {
            opened: self.opened.load(Ordering::Relaxed),
            closed,
            reused: self.reused.load(Ordering::Relaxed),
            resent: self.resent.load(Ordering::Relaxed),
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

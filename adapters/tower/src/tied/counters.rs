//! What a layer has counted: [`TiedCounters`].

use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`TiedLayer`](super::TiedLayer) has counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TiedCounters {
    /// Requests that the service has worked on.
    pub begun: u64,
    /// Requests that were dropped, since a copy has begun on another server.
    pub dropped: u64,
    /// Requests that were refused, since too many waited.
    pub full: u64,
    /// Messages of this server that another server has answered.
    pub told: u64,
    /// Messages of this server that were not sent, since too many were in flight, or that got no answer in time.
    pub unanswered: u64,
    /// Messages that this server has refused: the sender is not a peer, or the secret, the key or a known word is
    /// missing.
    pub refused: u64,
}

/// The same as atomics. Each is exact by itself; they need no order among each other.
#[derive(Default, Debug)]
pub(super) struct AtomicCounters {
    pub(super) begun: Count,
    pub(super) dropped: Count,
    pub(super) full: Count,
    pub(super) told: Count,
    pub(super) unanswered: Count,
    pub(super) refused: Count,
}

#[derive(Default, Debug)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AtomicCounters {
    pub(super) fn snapshot(&self) -> TiedCounters {
        TiedCounters {
            begun: self.begun.get(),
            dropped: self.dropped.get(),
            full: self.full.get(),
            told: self.told.get(),
            unanswered: self.unanswered.get(),
            refused: self.refused.get(),
        }
    }
}

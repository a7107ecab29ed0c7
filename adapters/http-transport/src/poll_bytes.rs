//! Limits the bytes of one poll of a connection's task: [`PollBytes`].

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes a connection's task may read and write in one poll. After that, other tasks on its thread can run.
pub(super) const BYTES_A_POLL: usize = 64 * 1024;

/// How many bytes the present poll may still use. Only the connection's task accesses it.
pub(super) struct PollBytes(AtomicUsize);

impl PollBytes {
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(BYTES_A_POLL))
    }

    /// Begins a poll.
    pub(super) fn begin_poll(&self) {
        self.0.store(BYTES_A_POLL, Ordering::Relaxed);
    }

    pub(super) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn spend(&self, bytes: usize) {
        self.0.store(self.left().saturating_sub(bytes), Ordering::Relaxed);
    }
}

//! How many attempts a server may work on at a time ([L22](hedge_core::rules#L22)): [`Cap`]. All servers of a list
//! share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_core::config::ServerLimits;
use hedge_core::time::Timeout;

use crate::queue::Queue;

/// The cap that all servers of a list share, and the queue of the calls that wait for room.
pub(crate) struct Cap {
    per_server: u32,
    max_wait: Timeout,
    /// `None`: calls do not wait.
    queue: Option<Arc<Queue>>,
}

impl Cap {
    /// The cap that the options ask for; `None` if they ask for none.
    pub(crate) fn new(limits: &ServerLimits) -> Option<Self> {
        let per_server = limits.max_in_flight_per_server?;
        let most = usize::try_from(limits.max_queued_calls).unwrap_or(usize::MAX);
        let queue = (most > 0).then(|| Arc::new(Queue::new(most)));
        Some(Self { per_server, max_wait: limits.max_queue_wait, queue })
    }

    /// The calls that wait for room; `None` if calls do not wait.
    pub(crate) const fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    /// How long a call may wait, besides its deadline.
    pub(crate) const fn max_wait(&self) -> Timeout {
        self.max_wait
    }

    /// Whether a server with so many attempts in flight takes another one.
    pub(crate) fn has_room(&self, in_flight: &AtomicU32) -> bool {
        in_flight.load(Ordering::Relaxed) < self.per_server
    }

    /// Counts one attempt more in flight, unless the server is full. Returns whether it did.
    pub(crate) fn take(&self, in_flight: &AtomicU32) -> bool {
        let one_more = |count| (count < self.per_server).then_some(count + 1);
        // What the attempt that made room has done came before.
        in_flight.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts one attempt less in flight, and wakes the first call that waits for room.
    pub(crate) fn give_back(&self, in_flight: &AtomicU32) {
        in_flight.fetch_sub(1, Ordering::Release);
        if let Some(queue) = &self.queue {
            queue.wake_first();
        }
    }
}

#[cfg(test)]
mod tests;

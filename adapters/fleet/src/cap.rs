//! The limit on attempts in flight at each server ([L22](hedge_core::rules#L22)): [`Cap`]. All servers of a list have
//! the same limit, so they share one `Cap`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_core::config::ServerLimits;
use hedge_core::time::Timeout;

use crate::queue::Queue;

/// The limit on attempts in flight at each server of a list, and the queue of the calls that wait for a server with
/// room.
pub(crate) struct Cap {
    per_server: u32,
    max_wait: Timeout,
    /// The queue of the calls that wait for room. `None` means that calls do not wait.
    queue: Option<Arc<Queue>>,
}

impl Cap {
    /// Makes the cap that `limits` asks for. Returns `None` if `max_in_flight_per_server` is not set.
    pub(crate) fn new(limits: &ServerLimits) -> Option<Self> {
        let per_server = limits.max_in_flight_per_server?;
        let most = usize::try_from(limits.max_queued_calls).unwrap_or(usize::MAX);
        let queue = (most > 0).then(|| Arc::new(Queue::new(most)));
        Some(Self { per_server, max_wait: limits.max_queue_wait, queue })
    }

    /// Returns the queue of the calls that wait for a server with room. Returns `None` if calls do not wait.
    pub(crate) const fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    /// Returns the longest time that a call may wait in the queue. In addition, the deadline of the call applies.
    pub(crate) const fn max_wait(&self) -> Timeout {
        self.max_wait
    }

    /// Returns whether a server with `in_flight` attempts may get another one.
    pub(crate) fn has_room(&self, in_flight: &AtomicU32) -> bool {
        in_flight.load(Ordering::Relaxed) < self.per_server
    }

    /// Counts one more attempt in flight, unless the server is full. Returns whether the attempt was counted.
    pub(crate) fn take(&self, in_flight: &AtomicU32) -> bool {
        let one_more = |count| (count < self.per_server).then_some(count + 1);
        // `Acquire` pairs with the `Release` in `give_back`. So an attempt that takes a place sees everything that the
        // earlier attempt in this place has done.
        in_flight.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts one attempt less in flight. Wakes the first waiting call that has not been woken yet.
    pub(crate) fn give_back(&self, in_flight: &AtomicU32) {
        in_flight.fetch_sub(1, Ordering::Release);
        if let Some(queue) = &self.queue {
            queue.wake_first();
        }
    }
}

#[cfg(test)]
mod tests;

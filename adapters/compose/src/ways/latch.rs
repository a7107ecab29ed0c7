//! A latch that opens once, with how a call ended: [`Latch`].

use crate::sync::{AtomicU32, Condvar, Mutex, Ordering, PoisonError};

/// How a call ended, for those who join it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The call has a result. If it has a callback, the callback has returned.
    Completed,
    /// The callback panicked. The panic was caught.
    CallbackPanicked,
    /// The call was not started, its future was dropped, or its callback was dropped because no thread could run it.
    Dropped,
}

/// The latch is closed, and no thread waits.
const CLOSED: u32 = 0;
/// The latch is closed, and a thread waits or is about to wait.
const AWAITED: u32 = 1;
const COMPLETED: u32 = 2;
const CALLBACK_PANICKED: u32 = 3;
const DROPPED: u32 = 4;

/// A latch that opens once. Any number of threads may wait for it.
///
/// Cost: if no thread waits, opening is one atomic exchange, and looking is one load. The lock is only for threads that
/// wait.
#[derive(Debug)]
pub(crate) struct Latch {
    state: AtomicU32,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Latch {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(CLOSED), lock: Mutex::new(()), opened: Condvar::new() }
    }

    /// Opens the latch and wakes all threads that wait. This must be called only once. Everything that this thread did
    /// before is visible to the threads that wait.
    pub(crate) fn open(&self, ended: Ended) {
        let opened = match ended {
            Ended::Completed => COMPLETED,
            Ended::CallbackPanicked => CALLBACK_PANICKED,
            Ended::Dropped => DROPPED,
        };
        if self.state.swap(opened, Ordering::AcqRel) == AWAITED {
            // A thread that waits holds the lock from its look at the state until it waits. So it does not miss this.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.opened.notify_all();
        }
    }

    /// Returns how the call ended. Returns `None` while the latch is closed.
    pub(crate) fn ended(&self) -> Option<Ended> {
        read(self.state.load(Ordering::Acquire))
    }

    /// Waits until the latch is open.
    pub(crate) fn wait(&self) -> Ended {
        if let Some(ended) = self.ended() {
            return ended;
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let marked = self.state.compare_exchange(CLOSED, AWAITED, Ordering::AcqRel, Ordering::Acquire);
            if let Some(ended) = marked.err().and_then(read) {
                return ended;
            }
            guard = self.opened.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn read(state: u32) -> Option<Ended> {
    match state {
        COMPLETED => Some(Ended::Completed),
        CALLBACK_PANICKED => Some(Ended::CallbackPanicked),
        DROPPED => Some(Ended::Dropped),
        _ => None,
    }
}

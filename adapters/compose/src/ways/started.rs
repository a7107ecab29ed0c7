//! Calls that were started and are joined later: [`Started`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::WayError;
use super::handle::Handle;

/// A call that runs, and whose result is taken by [`join`](Self::join). Dropping this does not cancel the call: it runs
/// to its end, and its result is dropped.
#[must_use = "the result is only here"]
pub struct Started<T, E> {
    handle: Handle,
    slot: Slot<T, E>,
}

/// The place of a result.
pub(super) type Slot<T, E> = Arc<Mutex<Option<Result<T, WayError<E>>>>>;

impl<T, E> Started<T, E> {
    pub(super) const fn new(handle: Handle, slot: Slot<T, E>) -> Self {
        Self { handle, slot }
    }

    /// Returns the handle of the call.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for the call's end and returns its result. A callback that waits here keeps its thread of the pool.
    ///
    /// # Errors
    /// See [`WayError`]. [`WayError::AsyncContext`] says that this thread must not wait. The call goes on then, and its
    /// result is dropped.
    pub fn join(self) -> Result<T, WayError<E>> {
        match self.handle.join_without_callback() {
            Ok(_) => {
                let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
                // Empty only if the call was dropped without a result.
                slot.take().unwrap_or(Err(WayError::NoRuntime))
            }
            Err(_) => Err(WayError::AsyncContext),
        }
    }
}

impl<T, E> fmt::Debug for Started<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Started").field(&self.handle).finish()
    }
}

/// Waits for the ends of several calls. Returns their results in the order of the calls.
pub fn join_all<T, E>(calls: impl IntoIterator<Item = Started<T, E>>) -> Vec<Result<T, WayError<E>>> {
    calls.into_iter().map(Started::join).collect()
}

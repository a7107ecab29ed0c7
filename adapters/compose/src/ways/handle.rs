//! A call as other threads see it: [`Handle`].

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hedge_fleet::CancelToken;

use super::latch::{Ended, Latch};
use super::pool;

/// The handle of a call. Any thread may hold it, before the call starts and after the call has ended. It has the number
/// of the call, can cancel the call, and can wait for its end. All clones are the same call. Dropping a handle does
/// nothing to the call.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    id: HandleId,
    latch: Latch,
    cancel: CancelToken,
    may_block: fn() -> bool,
}

/// The number of a call that was prepared by [`Ways`](super::Ways). No two calls of one process have the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HandleId(u64);

static PREPARED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The call whose callback runs on this thread.
    static CALLBACK_OF: Cell<Option<HandleId>> = const { Cell::new(None) };
}

impl Handle {
    pub(super) fn new(cancel: CancelToken, may_block: fn() -> bool) -> Self {
        let id = HandleId(PREPARED.fetch_add(1, Ordering::Relaxed));
        Self(Arc::new(Shared { id, latch: Latch::new(), cancel, may_block }))
    }

    /// Returns the number of the call.
    #[must_use]
    pub fn id(&self) -> HandleId {
        self.0.id
    }

    /// Cancels the call ([L12](hedge_core::rules#L12)), from any thread. A call that has not started yet ends as soon as
    /// it starts. If the call has ended, nothing happens. This does not wait: the callback runs later, with the error of
    /// a cancelled call.
    pub fn cancel(&self) {
        self.0.cancel.cancel();
    }

    /// Returns how the call ended. Returns `None` if it has not ended. The callback is part of the call.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.0.latch.ended()
    }

    /// Waits until the call has ended and its callback has returned. Any number of threads may wait. If the call has
    /// not started, this waits for its start too. If the call has ended, this returns at once, on any thread.
    ///
    /// A callback may join other calls. Two callbacks that join each other's calls wait for ever. While a callback on
    /// the pool waits here, another thread takes its place. So at most 60 callbacks of a [`Ways`](super::Ways) may wait
    /// here at once: a further one gets [`JoinError::NoSpareThread`]. [`Started::join`](super::Started::join) has no
    /// such limit.
    ///
    /// # Errors
    /// See [`JoinError`]. The call goes on.
    pub fn join(&self) -> Result<Ended, JoinError> {
        match self.check()? {
            Some(ended) => Ok(ended),
            None => pool::waiting(|| self.0.latch.wait()).ok_or(JoinError::NoSpareThread),
        }
    }

    /// Waits until a call without a callback has ended. This does not wait for the pool, so the pool starts no other
    /// thread meanwhile.
    pub(super) fn join_without_callback(&self) -> Result<Ended, JoinError> {
        Ok(self.check()?.unwrap_or_else(|| self.0.latch.wait()))
    }

    /// Returns how the call ended. Returns `None` if this thread may wait for its end.
    fn check(&self) -> Result<Option<Ended>, JoinError> {
        if CALLBACK_OF.try_with(Cell::get).ok().flatten() == Some(self.0.id) {
            return Err(JoinError::OwnCallback);
        }
        match self.ended() {
            None if !(self.0.may_block)() => Err(JoinError::AsyncContext),
            ended => Ok(ended),
        }
    }

    /// Runs the callback of this call. Inside it, joining this call is an error.
    pub(super) fn in_callback(&self, callback: impl FnOnce()) {
        struct Restore(Option<HandleId>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CALLBACK_OF.set(self.0);
            }
        }
        let _restore = Restore(CALLBACK_OF.replace(Some(self.0.id)));
        callback();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.id()).field("ended", &self.ended()).finish_non_exhaustive()
    }
}

impl HandleId {
    /// Returns the number, from 0.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The duty to end a call. If this is dropped, the call ends as [`Ended::Dropped`].
#[derive(Debug)]
pub(super) struct Ending(Option<Handle>);

impl Ending {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(Some(handle))
    }

    pub(super) fn end(mut self, ended: Ended) {
        if let Some(handle) = self.0.take() {
            handle.0.latch.open(ended);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.0.latch.open(Ended::Dropped);
        }
    }
}

/// Why a call was not joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The call was joined inside its own callback. This would wait for ever, since a call ends after its callback.
    OwnCallback,
    /// The present thread runs tasks of the call's runtime, so it must not wait
    /// ([`Spawn::may_block`](hedge_fleet::Spawn::may_block)).
    AsyncContext,
    /// The call was joined inside a callback on the pool, and the pool has no thread to take the place of this one: 60
    /// callbacks already join other calls, or the operating system starts no thread.
    NoSpareThread,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnCallback => "a call cannot be joined inside its own callback: return from the callback first",
            Self::AsyncContext => ASYNC_CONTEXT,
            Self::NoSpareThread => {
                "too many callbacks join other calls, or the operating system starts no thread: start a call and join it \
                 by `Started::join`, or join after the callback"
            }
        })
    }
}

impl Error for JoinError {}

pub(super) const ASYNC_CONTEXT: &str =
    "a task of an async runtime must not wait for a call: await the call, or wait on a thread for blocking work";

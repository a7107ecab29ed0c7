//! Ways to make a call: [`Ways`] ([W1](hedge_core::rules#W1)).

mod delivery;
mod error;
mod handle;
mod latch;
mod pool;
mod prepared;
mod started;

use std::fmt;
use std::sync::Arc;

use hedge_fleet::{CallOptions, Spawn};

pub use error::WayError;
pub use handle::{Handle, HandleId, JoinError};
pub use latch::Ended;
use pool::Pool;
pub use prepared::PreparedCall;
pub use started::{Started, join_all};

/// A caller whose calls can be made in several ways. A clone is the same caller, with the same threads for callbacks.
///
/// [`call`](Self::call) prepares a call. The [`PreparedCall`] gives a [`Handle`] and then starts:
///
/// | way | method | where the result goes |
/// |---|---|---|
/// | async | [`run`](PreparedCall::run) | to the task that awaits it |
/// | blocking | [`wait`](PreparedCall::wait) | to the thread that waits |
/// | callback | [`callback`](PreparedCall::callback), [`callback_inline`](PreparedCall::callback_inline) | to the callback |
/// | semi-synchronous | [`start`](PreparedCall::start), then [`join_all`] | to the thread that joins |
///
/// All ways but the first run the call as a task of the runtime. A call keeps its caller alive until it ends, so the
/// last `Ways` may be dropped while calls run, also inside a callback.
///
/// # Cost
/// The async way allocates twice: for the handle, and for the token that cancels the call. The other ways also allocate
/// the task. All of them except [`callback_inline`](PreparedCall::callback_inline) also allocate a place for the
/// result, and wake a thread for the result. No thread is started before the first callback. The pool has four threads
/// for callbacks, and one more for each callback that waits in [`Handle::join`]: at most 64.
pub struct Ways<C, R>(Arc<Inner<C, R>>);

struct Inner<C, R> {
    caller: C,
    runtime: R,
    pool: Pool,
}

impl<C, R: Spawn> Ways<C, R> {
    /// Wraps `caller`. Calls run as tasks of `runtime`, which must be the runtime of the caller's connections.
    pub fn new(caller: C, runtime: R) -> Self {
        Self(Arc::new(Inner { caller, runtime, pool: Pool::new() }))
    }

    /// Returns the caller.
    pub fn caller(&self) -> &C {
        &self.0.caller
    }

    /// Prepares a call with the caller's options. Nothing is sent yet.
    pub fn call<Request>(&self, request: Request) -> PreparedCall<C, R, Request> {
        self.call_with(request, CallOptions::new())
    }

    /// Prepares a call. Nothing is sent yet. If the options have a token that cancels the call, [`Handle::cancel`] uses
    /// this token.
    pub fn call_with<Request>(&self, request: Request, options: CallOptions) -> PreparedCall<C, R, Request> {
        PreparedCall::new(Arc::clone(&self.0), request, options)
    }
}

impl<C, R> Clone for Ways<C, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: fmt::Debug, R> fmt::Debug for Ways<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("caller", &self.0.caller).finish_non_exhaustive()
    }
}

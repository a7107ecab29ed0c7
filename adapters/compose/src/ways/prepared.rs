//! A call that has a handle and has not started: [`PreparedCall`].

use std::fmt;
use std::sync::{Arc, PoisonError};

use hedge_fleet::{CallOptions, Caller, Spawn, caught, caught_in};

use super::Inner;
use super::delivery::{Delivery, Place};
use super::error::WayError;
use super::handle::{Ending, Handle};
use super::latch::Ended;
use super::started::{Slot, Started};

/// A call that has not started. Each method except [`handle`](Self::handle) starts it in another way. If this is
/// dropped, the call ends as [`Ended::Dropped`], and nothing is sent.
#[must_use = "the call has not started"]
pub struct PreparedCall<C, R, Request> {
    ways: Arc<Inner<C, R>>,
    request: Request,
    options: CallOptions,
    handle: Handle,
    ending: Ending,
}

impl<C, R: Spawn, Request> PreparedCall<C, R, Request> {
    pub(super) fn new(ways: Arc<Inner<C, R>>, request: Request, mut options: CallOptions) -> Self {
        let cancel = options.cancel.get_or_insert_default().clone();
        let handle = Handle::new(cancel, R::may_block);
        Self { ways, request, options, ending: Ending::new(handle.clone()), handle }
    }

    /// Returns the handle of the call, for example for a thread that may cancel it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl<C, R, Request> PreparedCall<C, R, Request>
where
    C: Caller<Request, Reply: 'static, Error: 'static> + 'static,
    R: Spawn,
    Request: Send + Sync + 'static,
{
    /// Makes the call in the present task. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Returns the reason why the call failed.
    pub async fn run(self) -> Result<C::Reply, C::Error> {
        let Self { ways, request, options, handle: _, ending } = self;
        let result = ways.caller.call_with(&request, &options).await;
        ending.end(Ended::Completed);
        result
    }

    /// Makes the call and waits for its result. The runtime drives the call on its own threads. A callback that waits
    /// here keeps its thread of the pool.
    ///
    /// # Errors
    /// See [`WayError`].
    pub fn wait(self) -> Result<C::Reply, WayError<C::Error>> {
        if !R::may_block() {
            return Err(WayError::AsyncContext);
        }
        self.start().join()
    }

    /// Starts the call and returns at once. [`Started::join`] waits for the result. Several calls may be started, and
    /// then joined by [`join_all`](super::join_all).
    pub fn start(self) -> Started<C::Reply, C::Error> {
        let slot: Slot<C::Reply, C::Error> = Arc::default();
        let (filled, handle) = (Arc::clone(&slot), self.handle.clone());
        self.spawn(Place::Slot, move |result| *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(result));
        Started::new(handle, slot)
    }

    /// Starts the call and returns at once. `callback` gets the result on a thread of the pool. At most four callbacks
    /// run at the same time; callbacks that wait in [`Handle::join`] do not count, and there are at most 60 of these.
    /// `callback` runs exactly once, except in the last case below. It never runs inside this method, even if the call
    /// fails at once. It may block. Its panic is caught: the call then ends as [`Ended::CallbackPanicked`].
    ///
    /// If the pool has no thread that can run it, because the operating system starts none, `callback` runs on the
    /// thread that drives the call. If there is no such thread either, because no runtime has accepted the call or the
    /// runtime has ended, `callback` is dropped and the call ends as [`Ended::Dropped`].
    pub fn callback(self, callback: impl FnOnce(Result<C::Reply, WayError<C::Error>>) + Send + 'static) -> Handle {
        let (place, handle) = (Place::Pool(self.ways.pool.clone()), self.handle.clone());
        self.spawn(place, callback);
        handle
    }

    /// Like [`callback`](Self::callback), but `callback` runs on the thread that drives the call. This saves the wake
    /// of a thread. `callback` must not block, because this would delay other calls. If the runtime drops the call,
    /// `callback` runs on the pool.
    pub fn callback_inline(
        self,
        callback: impl FnOnce(Result<C::Reply, WayError<C::Error>>) + Send + 'static,
    ) -> Handle {
        let (place, handle) = (Place::Inline(self.ways.pool.clone()), self.handle.clone());
        self.spawn(place, callback);
        handle
    }

    fn spawn(self, place: Place, receive: impl FnOnce(Result<C::Reply, WayError<C::Error>>) + Send + 'static) {
        let Self { ways, request, options, handle, ending } = self;
        let runtime = ways.runtime.clone();
        let delivery = Delivery::new(receive, handle, ending, place);
        // A task that is not accepted is dropped. This delivers `WayError::NoRuntime`.
        runtime.try_spawn(async move {
            // A caller may panic before it returns its future, so it is called inside the future that is caught.
            let result = caught_in(async { ways.caller.call_with(&request, &options).await }).await;
            let result = result.map_or(Err(WayError::Panicked), |result| result.map_err(WayError::Call));
            // The program may drop its channel as soon as it has the result. This task has then already dropped its own
            // reference, so the drop by the program is the last one. A panic of this drop does not change the result.
            caught(|| drop((ways, request, options)));
            delivery.deliver(result);
        });
    }
}

impl<C, R, Request> fmt::Debug for PreparedCall<C, R, Request> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedCall").field("handle", &self.handle).finish_non_exhaustive()
    }
}

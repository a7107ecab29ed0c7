//! How a result reaches the program: [`Delivery`].

use hedge_fleet::caught;

use super::error::WayError;
use super::handle::{Ending, Handle};
use super::latch::Ended;
use super::pool::{Job, Pool};

/// Where a result is given to the program.
pub(super) enum Place {
    /// In a callback on a thread of the pool.
    Pool(Pool),
    /// In a callback on the thread that drives the call. If the call is dropped, the callback runs on the pool.
    Inline(Pool),
    /// In a slot, from which a thread takes it.
    Slot,
}

/// A result that is due. It is delivered once. If this is dropped, the result is [`WayError::NoRuntime`].
pub(super) struct Delivery<T, E, F>
where
    T: Send + 'static,
    E: Send + 'static,
    F: FnOnce(Result<T, WayError<E>>) + Send + 'static,
{
    due: Option<Due<F>>,
    place: Place,
    result: std::marker::PhantomData<fn(T, E)>,
}

struct Due<F> {
    receive: F,
    handle: Handle,
    ending: Ending,
}

impl<T, E, F> Delivery<T, E, F>
where
    T: Send + 'static,
    E: Send + 'static,
    F: FnOnce(Result<T, WayError<E>>) + Send + 'static,
{
    pub(super) fn new(receive: F, handle: Handle, ending: Ending, place: Place) -> Self {
        Self { due: Some(Due { receive, handle, ending }), place, result: std::marker::PhantomData }
    }

    /// Delivers the result of a call that has run to its end.
    pub(super) fn deliver(mut self, result: Result<T, WayError<E>>) {
        let Some(due) = self.due.take() else { return };
        match &self.place {
            Place::Pool(pool) => {
                // Without a thread for it, the callback still runs, and not inside the code that made the call.
                if let Err(job) = pool.run(due.into_job(result)) {
                    job();
                }
            }
            Place::Inline(_) | Place::Slot => due.receive(result),
        }
    }
}

impl<T, E, F> Drop for Delivery<T, E, F>
where
    T: Send + 'static,
    E: Send + 'static,
    F: FnOnce(Result<T, WayError<E>>) + Send + 'static,
{
    fn drop(&mut self) {
        let Some(due) = self.due.take() else { return };
        match &self.place {
            // A runtime that accepts no task drops it inside the code that makes the call. So the callback must not run
            // here, even if the pool gives it back: then the call ends as dropped.
            Place::Pool(pool) | Place::Inline(pool) => drop(pool.run(due.into_job(Err(WayError::NoRuntime)))),
            Place::Slot => due.receive(Err(WayError::NoRuntime)),
        }
    }
}

impl<F> Due<F> {
    fn receive<R>(self, result: R)
    where
        F: FnOnce(R),
    {
        let Self { receive, handle, ending } = self;
        let mut panicked = true;
        handle.in_callback(|| panicked = caught(|| receive(result)).is_none());
        ending.end(if panicked { Ended::CallbackPanicked } else { Ended::Completed });
    }

    fn into_job<R>(self, result: R) -> Job
    where
        F: FnOnce(R) + Send + 'static,
        R: Send + 'static,
    {
        Box::new(move || self.receive(result))
    }
}

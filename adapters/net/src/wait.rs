//! How a call waits before it starts: [`in_time`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use hedge_core::drive::{Cancel as _, CancelSignal};
use hedge_core::time::Instant;
use hedge_link::{Runtime, before};

/// How a wait ended.
pub(crate) enum Wait<T> {
    /// It was ready in time.
    Ready(T),
    /// The call was cancelled meanwhile.
    Cancelled,
    /// The deadline passed.
    Late,
}

/// Waits for a future, at most to the call's deadline, or until the call is cancelled.
pub(crate) async fn in_time<R: Runtime, F: Future>(
    runtime: &R,
    deadline: Option<Instant>,
    cancel: Option<&CancelSignal>,
    future: F,
) -> Wait<F::Output> {
    let mut future = pin!(future);
    let future = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Wait::Ready(output)),
        Poll::Pending if cancel.poll(cx) => Poll::Ready(Wait::Cancelled),
        Poll::Pending => Poll::Pending,
    });
    before(runtime, deadline, future).await.unwrap_or(Wait::Late)
}

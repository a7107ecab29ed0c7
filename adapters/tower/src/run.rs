//! Runs one call, from its request to its response: [`ResponseFuture`], and [`run`] inside it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hedge_core::drive::{Along, AttemptInfo, CallFailure, Timer};
use hedge_core::outcome::End;
use hedge_core::policy::{Idempotency, RetryPolicy};

use hedge_fleet::{AlongOptions, CallContext, ServerRef};

use crate::shared::{AttemptPolicy, Shared};
use crate::{CallEnd, Error, Protocol};

/// The future of a call. The call starts when the future is first polled. Dropping the future cancels the call.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Response, E> {
    inner: Pin<Box<dyn Future<Output = Result<Response, Error<E>>> + Send>>,
}

impl<Response, E> ResponseFuture<Response, E> {
    /// The future that `make` makes.
    // The memory is allocated first, and the future is then built there. `Box::pin` would build it on the stack and copy
    // the whole kilobyte, although a future that was not polled yet uses only few of its bytes.
    #[inline]
    pub(crate) fn new<F>(make: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = Result<Response, Error<E>>> + Send + 'static,
    {
        let place = Box::<F>::new_uninit();
        let future = Box::write(place, make());
        Self { inner: Box::into_pin(future) }
    }
}

impl<Response, E> Future for ResponseFuture<Response, E> {
    type Output = Result<Response, Error<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl<Response, E> fmt::Debug for ResponseFuture<Response, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Runs a call. `send` makes the future of each attempt. If the request of an attempt could not be copied, `send` gets
/// `None`. The attempt then fails with the error `None`.
pub(crate) fn run<H, T, R, C, Request, Response, E, F>(
    mut host: H,
    request: Request,
    mut send: impl FnMut(AttemptInfo<H::Address>, Option<Request>) -> F,
) -> impl Future<Output = Result<Response, Error<E>>>
where
    H: CallContext<Timer = T, RetryPolicy = AttemptPolicy<R>> + AsRef<Shared<T, R, C>>,
    T: Timer,
    R: RetryPolicy<Response, E>,
    C: Protocol<Request, Response>,
    F: Future<Output = Result<Response, Option<E>>>,
{
    let mut first = Some(request);
    async move {
        // The options are taken now, at the first poll, since the future may have been made long ago.
        host.hold();
        let protocol = &host.as_ref().protocol;
        let mut asked = first.as_ref().map(|request| protocol.options(request)).unwrap_or_default();
        let mut kept = None;
        if asked.max_retry.unwrap_or(host.options().max_retry) > 0 {
            kept = first.as_ref().and_then(|request| protocol.copy(request));
            if kept.is_none() {
                // Without a copy, the request cannot be sent again, even if nothing of it was sent.
                asked.idempotency = Idempotency::NotIdempotent;
                asked.max_retry = Some(0);
            }
        }
        let along = AlongOptions::call_along(asked.along.as_deref(), protocol.wants_key());
        let mut first_server = None;
        let ended = hedge_fleet::run!(
            host,
            asked,
            Idempotency::Unset,
            |attempt: AttemptInfo<H::Address>| {
                // `kept` is borrowed as mutable. With a shared borrow, requests would have to be `Sync`.
                let protocol = &host.as_ref().protocol;
                let mut request = first.take().or_else(|| protocol.copy(kept.as_mut()?));
                if let Some(request) = &mut request {
                    let first = ServerRef::new(*first_server.get_or_insert(attempt.server), &host);
                    let along = along.as_ref().map(|call| call.of_attempt(attempt.kind, Some(&first)));
                    protocol.prepare_along(request, &attempt.without_address(), along.unwrap_or(Along::NOTHING));
                }
                send(attempt, request)
            },
            |call, result| ended(host.as_ref(), result, &CallEnd::new(call.report(), &host))
        );
        ended.unwrap_or_else(|error| Err(Error::Config(error)))
    }
}

/// Turns the end of a call into the result that the caller gets.
// This function is inlined, since the result would otherwise be moved once more. It is called in one place.
#[inline(always)]
fn ended<T, R, C, Request, Response, E>(
    shared: &Shared<T, R, C>,
    result: Result<Response, CallFailure<Response, Option<E>>>,
    call: &CallEnd<'_>,
) -> Result<Response, Error<E>>
where
    C: Protocol<Request, Response>,
{
    let result = match result {
        Ok(response) => Ok(response),
        // The call ended with a response that was not accepted. It is still a response of the server, so the caller
        // gets it.
        Err(CallFailure::Ended { end: End::Failed | End::Fatal, last: Some(Ok(response)) }) => Ok(response),
        Err(CallFailure::Ended { end, last }) => Err(Error::ended(end, last.and_then(Result::err).flatten())),
        Err(CallFailure::Config(error)) => return Err(Error::Config(error)),
    };
    result.map(|mut response| {
        shared.protocol.attach(&mut response, call);
        response
    })
}

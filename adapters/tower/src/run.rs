//! Runs one call, from its request to its response: [`ResponseFuture`], and [`run`] inside it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hedge_core::drive::{AttemptInfo, CallFailure, Timer};
use hedge_core::outcome::End;
use hedge_core::policy::{Idempotency, RetryPolicy};

use hedge_fleet::CallContext;

use crate::shared::{AttemptPolicy, Shared};
use crate::{CallEnd, Error, Protocol};

/// The future of a call. The call starts when this is first polled. Dropping this cancels the call.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Response, E> {
    inner: Pin<Box<dyn Future<Output = Result<Response, Error<E>>> + Send>>,
}

impl<Response, E> ResponseFuture<Response, E> {
    pub(crate) fn new(call: impl Future<Output = Result<Response, Error<E>>> + Send + 'static) -> Self {
        Self { inner: Box::pin(call) }
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

/// Runs a call. `send` makes each attempt. If the request could not be copied, `send` gets `None`, and the attempt
/// fails without an error.
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
        // Only now: the future may have been made long ago.
        host.hold();
        let protocol = &host.as_ref().protocol;
        let mut asked = first.as_ref().map(|request| protocol.options(request)).unwrap_or_default();
        let mut kept = None;
        if asked.max_retry.unwrap_or(host.options().max_retry) > 0 {
            kept = first.as_ref().and_then(|request| protocol.copy(request));
            if kept.is_none() {
                // Without a copy, the request cannot be sent again, even if it never left.
                asked.idempotency = Idempotency::NotIdempotent;
                asked.max_retry = Some(0);
            }
        }
        let ended = hedge_fleet::run!(
            host,
            asked,
            Idempotency::Unset,
            |attempt: AttemptInfo<H::Address>| {
                // The request is borrowed as mutable, so that requests need not be `Sync`.
                let protocol = &host.as_ref().protocol;
                let mut request = first.take().or_else(|| protocol.copy(kept.as_mut()?));
                if let Some(request) = &mut request {
                    protocol.prepare(request, &attempt.without_address());
                }
                send(attempt, request)
            },
            |call, result| ended(host.as_ref(), result, &CallEnd::new(call.report(), &host))
        );
        ended.unwrap_or_else(|error| Err(Error::Config(error)))
    }
}

/// Turns the end of a call into what the caller gets.
// Inlined, since it has one caller, and otherwise the result would be moved once more.
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
        // A response that was not accepted is still a response of the server, so it is returned if the call ended with
        // it.
        Err(CallFailure::Ended { end: End::Failed | End::Fatal, last: Some(Ok(response)) }) => Ok(response),
        Err(CallFailure::Ended { end, last }) => Err(Error::ended(end, last.and_then(Result::err).flatten())),
        Err(CallFailure::Config(error)) => return Err(Error::Config(error)),
    };
    result.map(|mut response| {
        shared.protocol.attach(&mut response, call);
        response
    })
}

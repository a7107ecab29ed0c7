//! One call from its request to its response: [`ResponseFuture`], and [`run`] inside it.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use hedge_core::call::{Call, Host};
use hedge_core::drive::{Addresses, AttemptInfo, CallFailure, Driver, Timer, drive};
use hedge_core::outcome::End;
use hedge_core::policy::{Idempotency, RetryPolicy};

use crate::shared::Shared;
use crate::{Error, MAX_ATTEMPTS, MAX_IN_FLIGHT, Protocol};

/// A call. It starts when it is first polled; dropping it cancels it.
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

/// Runs a call whose attempts `send` makes; of a request that could not be copied they are told none, and fail without an
/// error.
pub(crate) fn run<H, T, R, C, Request, Response, E, F>(
    host: H,
    request: Request,
    mut send: impl FnMut(AttemptInfo<H::Address>, Option<Request>) -> F,
) -> impl Future<Output = Result<Response, Error<E>>>
where
    H: Host + Addresses + AsRef<Shared<T, R, C>>,
    T: Timer,
    R: RetryPolicy<Response, E>,
    C: Protocol<Request, Response>,
    F: Future<Output = Result<Response, Option<E>>>,
{
    let mut first = Some(request);
    async move {
        let Shared { settings, timer, judge, protocol } = host.as_ref();
        let own = first.as_ref().map(|request| protocol.options(request)).unwrap_or_default();
        let mut options = own.as_core();
        let mut kept = None;
        if options.max_retry.unwrap_or(settings.options.max_retry) > 0 {
            kept = first.as_ref().and_then(|request| protocol.copy(request));
            if kept.is_none() {
                // Not even what never left could be sent again.
                options.idempotency = Idempotency::NotIdempotent;
                options.max_retry = Some(0);
            }
        }
        let with_own;
        if let Some(own) = options.backup_policy {
            with_own = (own, &settings.latencies);
            options.backup_policy = Some(&with_own);
        }
        let mut call = Call::<_, MAX_ATTEMPTS>::new(&host, &options, timer.now()).map_err(Error::Config)?;
        let driver = Driver::new(timer, judge).cancelled_by(own.cancel.as_deref());
        let mut start = |attempt| {
            // Borrowed as mutable, so that requests need not be `Sync`.
            let request = first.take().or_else(|| protocol.copy(kept.as_mut()?));
            send(attempt, request)
        };
        // Two attempts fit in the call's own allocation; a call that may have more in flight, which is rare, boxes them.
        let result = if call.max_backups() <= 1 {
            drive(&mut call, [pin!(None), pin!(None)], driver, start).await
        } else {
            let start = move |attempt| Box::pin(start(attempt));
            let slots: [_; MAX_IN_FLIGHT] = [pin!(None), pin!(None), pin!(None), pin!(None), pin!(None)];
            drive(&mut call, slots, driver, start).await
        };
        let result = match result {
            Ok(response) => Ok(response),
            // What was not accepted is still the server's word, if the call ended with it.
            Err(CallFailure::Ended { end: End::Failed | End::Fatal, last: Some(Ok(response)) }) => Ok(response),
            Err(CallFailure::Ended { end, last }) => Err(Error::ended(end, last.and_then(Result::err).flatten())),
            Err(CallFailure::Config(error)) => return Err(Error::Config(error)),
        };
        // Looked up again, so that a call that waits keeps no room for them.
        let Shared { settings, protocol, .. } = host.as_ref();
        if let Some(on_end) = &settings.on_end {
            on_end(call.report());
        }
        result.map(|mut response| {
            protocol.attach(&mut response, call.report());
            response
        })
    }
}

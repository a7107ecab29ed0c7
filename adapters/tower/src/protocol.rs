//! What the layer must know of requests, responses and errors that it does not know: [`Protocol`] and [`RetryErrors`].

use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::RetryPolicy;

use crate::{CallOptions, Report};

/// How a request is copied, and what it and its response can carry.
///
/// Closures `Fn(&Request) -> Option<Request>` are protocols that copy, and know no more.
pub trait Protocol<Request, Response> {
    /// A copy to send. `None`: it cannot be copied, and the call makes one attempt.
    ///
    /// Asked once at the start of a call that may make a further attempt, and again for each such attempt; a request that
    /// was copied once should be so again, else the call makes do without that attempt.
    fn copy(&self, request: &Request) -> Option<Request>;

    /// What this call sets differently from the layer; the default is nothing.
    fn options(&self, request: &Request) -> CallOptions {
        let _ = request;
        CallOptions::new()
    }

    /// Attaches the report to the response that the caller gets; the default does nothing.
    fn attach(&self, response: &mut Response, report: &Report) {
        let _ = (response, report);
    }
}

/// Copies by `Clone`, and knows no more: the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plain;

impl<Request: Clone, Response> Protocol<Request, Response> for Plain {
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

impl<F, Request, Response> Protocol<Request, Response> for F
where
    F: Fn(&Request) -> Option<Request>,
{
    fn copy(&self, request: &Request) -> Option<Request> {
        self(request)
    }
}

/// Accepts every response and retries every error, of which it knows nothing: the default.
///
/// An error may come after the request has left, so what is not idempotent is not retried. Services whose errors tell more
/// do better with a closure, or with [`DefaultRetryPolicy`](hedge_core::policy::DefaultRetryPolicy).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetryErrors;

impl<Response, E> RetryPolicy<Response, E> for RetryErrors {
    fn judge(&self, result: Result<&Response, &E>) -> Judgement {
        if result.is_ok() { Verdict::Accept.into() } else { Verdict::Retry.into() }
    }
}

//! HTTP's ways: [`Http`].

use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::{Idempotency, RetryPolicy};
use hedge_http::RetryStatuses;
use http::{Request, Response};

use crate::{CallOptions, Protocol, Report};

/// Requests of `http` whose body is a clone away, like shared bytes; a [`Protocol`] and a retry policy in one.
///
/// * A copy has the method, URI, version, headers, extensions and body.
/// * [`CallOptions`] in the request's extensions are the call's.
/// * Unless those say otherwise, `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` and `DELETE` may be sent twice, and no other method.
/// * The [`Report`] is put into the response's extensions.
/// * Below 500 a response is accepted, above it loses to what is in flight; errors are retried (R1), and so are the statuses
///   that [`retry_statuses`](Http::retry_statuses) names.
/// * A response that is not accepted may push back by its headers (R4): see [`pushback`](hedge_http::pushback). A retry
///   policy of one's own makes its verdicts on responses by [`failure`](hedge_http::failure).
///
/// To gRPC every answer is a 200: there [`Builder::retry_codes`](crate::Builder::retry_codes) says what is retried.
///
/// For bodies that cannot be cloned, a closure that copies what can be copied is a protocol too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Http {
    silent: bool,
    retried: RetryStatuses,
}

impl Http {
    /// Reports are put into the responses' extensions.
    #[must_use]
    pub const fn new() -> Self {
        Self { silent: false, retried: RetryStatuses::NONE }
    }

    /// The same without reports in responses, which saves allocations.
    #[must_use]
    pub const fn without_reports() -> Self {
        Self { silent: true, retried: RetryStatuses::NONE }
    }

    /// The same with statuses that are retried (R1).
    #[must_use]
    pub const fn retry_statuses(self, statuses: RetryStatuses) -> Self {
        Self { retried: statuses, ..self }
    }
}

impl<B: Clone, Reply> Protocol<Request<B>, Response<Reply>> for Http {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    fn options(&self, request: &Request<B>) -> CallOptions {
        let mut options = request.extensions().get::<CallOptions>().cloned().unwrap_or_default();
        if options.idempotency == Idempotency::Unset {
            options.idempotency = hedge_http::idempotency(request.method());
        }
        options
    }

    fn attach(&self, response: &mut Response<Reply>, report: &Report) {
        if !self.silent {
            response.extensions_mut().insert(report.clone());
        }
    }
}

impl<B, E> RetryPolicy<Response<B>, E> for Http {
    fn judge(&self, result: Result<&Response<B>, &E>) -> Judgement {
        match result {
            Ok(response) => self.retried.judge(response),
            Err(_) => Verdict::Retry.into(),
        }
    }
}

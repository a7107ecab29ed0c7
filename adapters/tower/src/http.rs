//! The protocol and the retry policy for HTTP: [`Http`].

use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::{Idempotency, RetryPolicy};
use hedge_http::RetryStatuses;
use http::{Request, Response};

use crate::{CallOptions, Protocol, Report};

/// A [`Protocol`] and a retry policy in one, for requests of the crate `http` whose body can be cloned, such as shared
/// bytes.
///
/// * A copy has the method, URI, version, headers, extensions and body.
/// * [`CallOptions`] in the request's extensions are the options of the call.
/// * Unless these options say otherwise, `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` and `DELETE` may be sent twice, and
///   no other method (L15).
/// * The [`Report`] is put into the response's extensions.
/// * A response with a status below 500 is accepted. With another status it is `Wait`, so an attempt in flight may
///   still win. Errors are retried (R1), and so are the statuses that [`retry_statuses`](Http::retry_statuses) names.
/// * A response that is not accepted may push back by its headers (R4): see [`pushback`](hedge_http::pushback). A retry
///   policy of your own should make its verdicts on responses with [`failure`](hedge_http::failure).
///
/// In gRPC, every response has status 200. Use [`Builder::retry_codes`](crate::Builder::retry_codes) there to say what
/// is retried.
///
/// For bodies that cannot be cloned, use a closure as the protocol: it returns `None` for a request that it cannot
/// copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Http {
    silent: bool,
    retried: RetryStatuses,
}

impl Http {
    /// Puts the report of each call into its response's extensions.
    #[must_use]
    pub const fn new() -> Self {
        Self { silent: false, retried: RetryStatuses::NONE }
    }

    /// Puts no reports into responses, which saves allocations.
    #[must_use]
    pub const fn without_reports() -> Self {
        Self { silent: true, retried: RetryStatuses::NONE }
    }

    /// Sets the statuses that are retried (R1).
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

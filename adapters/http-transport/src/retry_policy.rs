//! What a response or an error means for its call, by default: [`HttpRetryPolicy`].

use ::http::Response;
use hedge_core::outcome::Judgement;
use hedge_core::policy::{DefaultRetryPolicy, RetryPolicy};
use hedge_http::RetryStatuses;

use super::body::Body;
use super::error::HttpError;

/// The default for HTTP ([R1](hedge_core::rules#R1)). A status below 500 is accepted. Other statuses are `Wait`, with
/// the status as their code. Errors are judged by their kind. The headers of a failed response may push back
/// ([R4](hedge_core::rules#R4)): see [`pushback`](hedge_http::pushback).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HttpRetryPolicy;

impl RetryPolicy<Response<Body>, HttpError> for HttpRetryPolicy {
    fn judge(&self, result: Result<&Response<Body>, &HttpError>) -> Judgement {
        match result {
            Ok(response) => hedge_http::judge(response),
            error => DefaultRetryPolicy.judge(error),
        }
    }
}

/// Judges as [`HttpRetryPolicy`] does, except that these statuses are retried.
impl RetryPolicy<Response<Body>, HttpError> for RetryStatuses {
    fn judge(&self, result: Result<&Response<Body>, &HttpError>) -> Judgement {
        match result {
            Ok(response) => RetryStatuses::judge(self, response),
            error => DefaultRetryPolicy.judge(error),
        }
    }
}

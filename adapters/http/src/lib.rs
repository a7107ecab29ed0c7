//! Translates HTTP and gRPC responses into judgements of `hedge-core`. This crate judges HTTP responses ([`judge`],
//! [R1](hedge_core::rules#R1)) and gRPC responses ([`judge_grpc`]). It reads the headers with which a server delays or
//! stops further attempts ([`pushback()`], [R4](hedge_core::rules#R4)). It also says whether a request with a method
//! may be sent twice ([`idempotency`], [L15](hedge_core::rules#L15)). `hedge-net` and `hedge-tower` share this crate.
//! Your own retry policy can use it too:
//!
//! ```
//! use hedge_core::outcome::{Judgement, Verdict};
//! use http::{Response, StatusCode};
//!
//! /// Retries status 429, since another server may have room. The `Retry-After` of the server is used.
//! fn too_many_requests_are_retried(response: &Response<Vec<u8>>) -> Judgement {
//!     match response.status() {
//!         StatusCode::TOO_MANY_REQUESTS => hedge_http::failure(Verdict::Retry, response),
//!         _ => hedge_http::judge(response),
//!     }
//! }
//! # let response = Response::builder().status(429).header("retry-after", "2").body(Vec::new())?;
//! # let wait = hedge_core::outcome::Pushback::after(hedge_core::time::Duration::from_secs(2)).for_server();
//! # assert_eq!(too_many_requests_are_retried(&response).pushback, Some(wait));
//! # Ok::<(), http::Error>(())
//! ```
//!
//! # Contract and cost
//! The judgements never panic and never allocate, for any response of a server. If a response is accepted, its status
//! is read, and one header is looked up for gRPC. For a failure, two more headers are looked up. If a header contains a
//! date, the wall clock is read.
#![forbid(unsafe_code)]

pub mod along;
mod codes;
mod grpc;
mod header;
mod pushback;
mod statuses;
mod timeout;

pub use codes::{CodeError, RetryCodes};
pub use grpc::{grpc_code, judge_grpc};
pub use pushback::pushback;
pub use statuses::{RetryStatuses, StatusError};
pub use timeout::{GrpcTimeout, GrpcTimeoutError};

use hedge_core::outcome::{Code, Judgement, Verdict};
use hedge_core::policy::Idempotency;
use http::{Method, Response};

/// Judges a response in the default way ([R1](hedge_core::rules#R1)): a status below 500 is accepted. Any other status
/// is a [`failure`] that is not retried, but an attempt in flight may still win. The answer for a [dropped
/// copy](along::DroppedCopy) blames no server.
#[must_use]
pub fn judge<B>(response: &Response<B>) -> Judgement {
    if response.status().as_u16() < 500 {
        return Verdict::Accept.into();
    }
    along::DroppedCopy::judge(response).unwrap_or_else(|| failure(Verdict::Wait, response))
}

/// Makes the judgement on a response that is not accepted, with this verdict. The judgement's code is the HTTP status.
/// Its pushback is the [`pushback`] of the response's headers.
#[must_use]
pub fn failure<B>(verdict: Verdict, response: &Response<B>) -> Judgement {
    let code = Code(response.status().as_u16());
    Judgement { pushback: pushback(response.headers()), ..Judgement::new(verdict, code) }
}

/// Returns whether a request with this method may be sent twice (RFC 9110, 9.2.2). Requests with `GET`, `HEAD`,
/// `OPTIONS`, `TRACE`, `PUT` and `DELETE` may be sent twice. Requests with other methods may not.
#[must_use]
pub fn idempotency(method: &Method) -> Idempotency {
    if method.is_idempotent() { Idempotency::Idempotent } else { Idempotency::NotIdempotent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::outcome::Pushback;
    use hedge_core::time::Duration;

    fn response(status: u16) -> Response<()> {
        Response::builder().status(status).header("retry-after", "1").body(()).unwrap()
    }

    #[test]
    fn r1_a_status_below_500_is_accepted_and_others_wait() {
        for status in [200, 302, 404, 429, 499] {
            assert_eq!(judge(&response(status)), Verdict::Accept.into(), "{status}");
        }
        for status in [500, 503, 599, 999] {
            let judgement = judge(&response(status));
            assert_eq!((judgement.verdict, judgement.code), (Verdict::Wait, Code(status)));
        }
    }

    #[test]
    fn r4_only_a_failure_is_asked_for_pushback() {
        assert_eq!(judge(&response(429)).pushback, None);
        let wait = Some(Pushback::after(Duration::from_secs(1)).for_server());
        assert_eq!(judge(&response(503)).pushback, wait);
        assert_eq!(failure(Verdict::Retry, &response(429)).pushback, wait);
    }

    #[test]
    fn l15_idempotency_goes_by_the_method() {
        for (method, expected) in [
            ("GET", true),
            ("HEAD", true),
            ("PUT", true),
            ("DELETE", true),
            ("OPTIONS", true),
            ("TRACE", true),
            ("POST", false),
            ("PATCH", false),
            ("CONNECT", false),
            ("PURGE", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(idempotency(&method) == Idempotency::Idempotent, expected, "{method}");
        }
    }
}

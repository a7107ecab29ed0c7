//! What HTTP says of a call, in `hedge-core`'s words: verdicts on responses ([R1](hedge_core::rules#R1)), those of gRPC
//! included ([`judge_grpc`]), pushback in headers ([R4](hedge_core::rules#R4)), and whether a method may be sent twice
//! ([L15](hedge_core::rules#L15)). `hedge-net` and `hedge-tower` share it, and retry policies of one's own may use it:
//!
//! ```
//! use hedge_core::outcome::{Judgement, Verdict};
//! use http::{Response, StatusCode};
//!
//! /// Another server may have room, and "do not come back before" is heeded.
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
//! Nothing panics or allocates, whatever a server sends. An accepted response costs a look at its status, and for gRPC the
//! look-up of a header; a failure two look-ups more, and a look at the wall clock if it names a date.
#![forbid(unsafe_code)]

mod codes;
mod grpc;
mod header;
mod pushback;
mod statuses;

pub use codes::{CodeError, RetryCodes};
pub use grpc::{grpc_code, judge_grpc};
pub use pushback::pushback;
pub use statuses::{RetryStatuses, StatusError};

use hedge_core::outcome::{Code, Judgement, Verdict};
use hedge_core::policy::Idempotency;
use http::{Method, Response};

/// The default ([R1](hedge_core::rules#R1)): a status below 500 is accepted, others are a [`failure`] that is not worth
/// another attempt.
#[must_use]
pub fn judge<B>(response: &Response<B>) -> Judgement {
    if response.status().as_u16() < 500 { Verdict::Accept.into() } else { failure(Verdict::Wait, response) }
}

/// A response that is not accepted: its status is the code, and its [`pushback`] counts.
#[must_use]
pub fn failure<B>(verdict: Verdict, response: &Response<B>) -> Judgement {
    let code = Code(response.status().as_u16());
    Judgement { pushback: pushback(response.headers()), ..Judgement::new(verdict, code) }
}

/// Whether a request of this method may be sent twice (RFC 9110, 9.2.2): `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` and
/// `DELETE` may, and no other.
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

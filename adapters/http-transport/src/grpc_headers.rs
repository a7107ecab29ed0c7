//! What gRPC wants in the head of each attempt: [`set_headers`].

use ::http::header::{CONTENT_TYPE, TE};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use hedge_core::drive::AttemptInfo;
use hedge_core::time::Duration;
use hedge_http::{GrpcTimeout, GrpcTimeoutError};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// Sets the headers of an attempt if its request is one of gRPC: `te`, the time that is left, and how many attempts of the
/// call came before.
pub(super) fn set_headers<A>(headers: &mut HeaderMap, attempt: &AttemptInfo<A>) {
    if is_grpc(headers) {
        set(headers, attempt.remaining(), attempt.attempt.index());
    }
}

/// The time that the caller's own `grpc-timeout` allows. `None` without that header.
///
/// # Errors
/// The header is not one, or there are several.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, GrpcTimeoutError> {
    let mut values = headers.get_all(&GRPC_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none()).ok_or(GrpcTimeoutError)?;
    text.parse().map(|timeout: GrpcTimeout| Some(timeout.to_duration()))
}

fn set(headers: &mut HeaderMap, left: Option<Duration>, previous: usize) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // A call that was not made by a `GrpcChannel` may have a header with less time than the call.
    let own = timeout(headers).ok().flatten();
    if let Some(left) = left.filter(|left| own.is_none_or(|own| own > *left))
        && let Ok(value) = HeaderValue::try_from(GrpcTimeout::at_most(left).to_string())
    {
        headers.insert(GRPC_TIMEOUT, value);
    }
    if previous == 0 {
        headers.remove(PREVIOUS_ATTEMPTS);
    } else {
        headers.insert(PREVIOUS_ATTEMPTS, previous.into());
    }
}

/// Whether the content type is `application/grpc`, perhaps with a codec (`+proto`) or parameters. gRPC-Web is another
/// protocol.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let codec = value.and_then(|value| value.strip_prefix(b"application/grpc"));
    codec.is_some_and(|codec| matches!(codec, [] | [b'+' | b';', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_attempt_has_the_time_that_is_left_and_its_number() {
        let mut of_the_call = headers(&[("grpc-timeout", "1S"), ("grpc-previous-rpc-attempts", "7"), ("x-a", "1")]);
        for (left, previous, expected) in [
            (None, 0, ("1S", None)),
            (Some(MS(900)), 0, ("900000u", None)),
            (Some(MS(400)), 1, ("400000u", Some("1"))),
            (Some(MS(5)), 3, ("5000000n", Some("3"))),
        ] {
            set(&mut of_the_call, left, previous);
            assert_eq!(of_the_call["grpc-timeout"], expected.0);
            let number = of_the_call.get("grpc-previous-rpc-attempts").map(|number| number.to_str().unwrap());
            assert_eq!(
                (number, &of_the_call["te"], &of_the_call["x-a"]),
                (expected.1, &"trailers".parse().unwrap(), &"1".parse().unwrap())
            );
        }
    }

    #[test]
    fn a_shorter_timeout_of_the_caller_stays_and_a_wrong_one_goes() {
        for (own, expected) in [("1m", "1m"), ("20m", "20m"), ("21m", "20000000n"), ("1s", "20000000n")] {
            let mut headers = headers(&[("grpc-timeout", own)]);
            set(&mut headers, Some(MS(20)), 0);
            assert_eq!(headers["grpc-timeout"], expected, "{own}");
        }
        let mut none = HeaderMap::new();
        set(&mut none, None, 0);
        assert!(!none.contains_key("grpc-timeout"), "a call without a deadline");
    }

    #[test]
    fn the_callers_timeout_is_read_once() {
        assert_eq!(timeout(&HeaderMap::new()), Ok(None));
        assert_eq!(timeout(&headers(&[("grpc-timeout", "2S")])), Ok(Some(MS(2_000))));
        assert_eq!(timeout(&headers(&[("grpc-timeout", "2s")])), Err(GrpcTimeoutError));
        let mut twice = headers(&[("grpc-timeout", "2S")]);
        twice.append("grpc-timeout", HeaderValue::from_static("1S"));
        assert_eq!(timeout(&twice), Err(GrpcTimeoutError));
    }

    #[test]
    fn grpc_is_told_by_the_content_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(&headers(&[("content-type", content_type)])), expected, "{content_type}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}

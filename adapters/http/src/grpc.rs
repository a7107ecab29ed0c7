//! Judges a gRPC response by its head: [`judge_grpc`].

use hedge_core::outcome::{Code, Judgement, Verdict};
use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::along::DroppedCopy;
use crate::header::{digits, only};
use crate::pushback;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

const OK: u8 = 0;
pub(crate) const UNKNOWN: u8 = 2;
const PERMISSION_DENIED: u8 = 7;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// Judges a gRPC response by its head, before the body has come. `verdict` returns the verdict on a gRPC status code.
/// It is not called for `OK`.
///
/// A gRPC response has the HTTP status 200 even if the call has failed. The gRPC status is in the trailers, after the
/// body. But a server that fails before its first message sends the trailers as the head (*Trailers-Only*). This head
/// contains `grpc-status`, and may contain a [`pushback`]. The proposal A6 retries such failures. If a head with HTTP
/// status 200 has no `grpc-status`, the server has begun to answer. So the response is accepted, even if its trailers
/// report a failure later.
///
/// | head | code |
/// |---|---|
/// | with `grpc-status` | its value; `UNKNOWN` if the value is not a number in \[0, 16\], or if the header comes twice |
/// | without `grpc-status`, HTTP status 200 | no code: the response is accepted |
/// | without `grpc-status`, HTTP status 400 | `INTERNAL` |
/// | without `grpc-status`, HTTP status 401 | `UNAUTHENTICATED` |
/// | without `grpc-status`, HTTP status 403 | `PERMISSION_DENIED` |
/// | without `grpc-status`, HTTP status 404 | `UNIMPLEMENTED` |
/// | without `grpc-status`, HTTP status 429, 502, 503 or 504 | `UNAVAILABLE` |
/// | without `grpc-status`, any other HTTP status | `UNKNOWN` |
///
/// The rows without `grpc-status` come from gRPC's document "HTTP to gRPC Status Code Mapping". If `verdict` does not
/// accept a code, the judgement contains this code, as [`grpc_code`] writes it, and the pushback of the head. The
/// answer for a [dropped copy](DroppedCopy), if it has no `grpc-status`, is judged by [`DroppedCopy::judge`], and
/// `verdict` is not called.
///
/// ```
/// use hedge_core::config::service_config::ServiceConfig;
/// use hedge_core::outcome::{Judgement, Pushback, Verdict};
/// use hedge_core::time::Duration;
/// use hedge_http::{grpc_code, judge_grpc};
/// use http::Response;
///
/// let text = r#"{"methodConfig": [{
///     "name": [{"service": "users.Users", "method": "Get"}],
///     "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.02s", "nonFatalStatusCodes": ["UNAVAILABLE"]}
/// }]}"#;
/// let config: ServiceConfig<'_> = serde_json::from_str(text)?;
/// let method = config.method("users.Users", "Get").ok_or("no such method")?;
/// let policy = |response: &Response<()>| judge_grpc(response, |code| method.verdict(code));
///
/// let busy = Response::builder().header("grpc-status", "14").header("grpc-retry-pushback-ms", "250").body(())?;
/// let later = Pushback::after(Duration::from_millis(250));
/// assert_eq!(policy(&busy), Judgement::new(Verdict::Retry, grpc_code(14)).with_pushback(later));
///
/// let denied = Response::builder().header("grpc-status", "7").body(())?;
/// assert_eq!(policy(&denied).verdict, Verdict::Fatal);
/// assert_eq!(policy(&Response::new(())), Verdict::Accept.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn judge_grpc<B>(response: &Response<B>, verdict: impl FnOnce(u8) -> Verdict) -> Judgement {
    let code = match only(response.headers(), &GRPC_STATUS) {
        Some(text) => text.and_then(digits).and_then(status_code).unwrap_or(UNKNOWN),
        None => {
            if let Some(dropped) = DroppedCopy::judge(response) {
                return dropped;
            }
            of_http(response.status())
        }
    };
    judge_status(code, response.headers(), verdict)
}

/// Judges a status code and the headers that came with it.
pub(crate) fn judge_status(code: u8, headers: &HeaderMap, verdict: impl FnOnce(u8) -> Verdict) -> Judgement {
    if code == OK {
        return Verdict::Accept.into();
    }
    match verdict(code) {
        Verdict::Accept => Verdict::Accept.into(),
        other => Judgement { pushback: pushback(headers), ..Judgement::new(other, grpc_code(code)) },
    }
}

/// Converts a gRPC status code into a [`Code`] for reports, by adding 1000. Without this, the code could be mistaken
/// for an error kind of the core. For example, 9 is `FAILED_PRECONDITION` in gRPC, but a deadline in the core, and a
/// deadline is never retried.
#[must_use]
pub const fn grpc_code(code: u8) -> Code {
    // This cast only widens. `u16::from` cannot be used in a constant.
    Code(1_000 + code as u16)
}

/// Converts a number into a gRPC status code. Returns `None` if gRPC has no such code.
pub(crate) fn status_code(number: u64) -> Option<u8> {
    u8::try_from(number).ok().filter(|code| *code <= UNAUTHENTICATED)
}

/// Returns the gRPC code for the HTTP status of a response that has no gRPC status. A proxy may send such a response.
fn of_http(status: StatusCode) -> u8 {
    match status.as_u16() {
        200 => OK,
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::config::service_config::ServiceConfig;
    use hedge_core::outcome::{ErrorKind, Pushback};
    use hedge_core::time::Duration;
    use http::HeaderValue;

    /// Makes a head with this status and these headers.
    fn head(status: u16, headers: &[(&'static str, &[u8])]) -> Response<()> {
        let mut response = Response::builder().status(status).body(()).unwrap();
        for (name, value) in headers {
            response.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        response
    }

    /// Returns the code with which `verdict` was called. Returns `None` if it was not called.
    fn asked(response: &Response<()>) -> Option<u8> {
        let mut asked = None;
        let judgement = judge_grpc(response, |code| {
            asked = Some(code);
            Verdict::Wait
        });
        let expected = asked.map_or(Verdict::Accept.into(), |code| Judgement::new(Verdict::Wait, grpc_code(code)));
        assert_eq!(judgement, expected);
        asked
    }

    #[test]
    fn l8_a_head_without_a_status_is_committed_and_accepted() {
        assert_eq!(asked(&head(200, &[])), None);
        assert_eq!(asked(&head(200, &[("content-type", b"application/grpc"), ("grpc-encoding", b"gzip")])), None);
        // In a head without a gRPC status, a pushback does not count. It belongs in the trailers.
        assert_eq!(asked(&head(200, &[("grpc-retry-pushback-ms", b"5")])), None);
    }

    #[test]
    fn l8_a_status_in_the_head_counts_whatever_http_says() {
        for status in [200, 404, 503] {
            assert_eq!(asked(&head(status, &[("grpc-status", b"0")])), None, "{status}");
            for code in 1..=16 {
                let response = head(status, &[("grpc-status", code.to_string().as_bytes())]);
                assert_eq!(asked(&response), Some(code), "{status}");
            }
            for text in ["", "17", "255", "256", "99999999999999999999", "-1", "+14", "14.0", "UNAVAILABLE", "\u{e9}"] {
                assert_eq!(asked(&head(status, &[("grpc-status", text.as_bytes())])), Some(UNKNOWN), "{text:?}");
            }
            let twice = head(status, &[("grpc-status", b"0"), ("grpc-status", b"0")]);
            assert_eq!(asked(&twice), Some(UNKNOWN));
        }
    }

    #[test]
    fn l8_without_a_status_http_is_mapped_as_grpcs_document_says() {
        for status in 100..=999 {
            let expected = match status {
                200 => None,
                400 => Some(13),
                401 => Some(16),
                403 => Some(7),
                404 => Some(12),
                429 | 502..=504 => Some(14),
                _ => Some(2),
            };
            assert_eq!(asked(&head(status, &[])), expected, "{status}");
        }
    }

    #[test]
    fn r4_pushback_counts_where_a_code_is_not_accepted() {
        let later = |ms| Some(Pushback::after(Duration::from_millis(ms)));
        for (text, expected) in [("250", later(250)), ("-1", Some(Pushback::DO_NOT)), ("+5", Some(Pushback::DO_NOT))] {
            let busy = head(200, &[("grpc-status", b"14"), ("grpc-retry-pushback-ms", text.as_bytes())]);
            for verdict in [Verdict::Retry, Verdict::Wait, Verdict::Fatal] {
                let judgement = judge_grpc(&busy, |_| verdict);
                assert_eq!((judgement.verdict, judgement.pushback), (verdict, expected), "{text}");
            }
            assert_eq!(judge_grpc(&busy, |_| Verdict::Accept), Verdict::Accept.into(), "{text}");
        }
        let proxy = head(503, &[("retry-after", b"2")]);
        assert_eq!(judge_grpc(&proxy, |_| Verdict::Retry).pushback, later(2_000).map(Pushback::for_server));
    }

    #[test]
    fn l8_a_service_config_judges_what_a_server_says() {
        let text = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"]
        }}]}"#;
        let config: ServiceConfig<'_> = serde_json::from_str(text).unwrap();
        let method = config.method("any", "any").unwrap();
        for (response, verdict) in [
            (head(200, &[]), Verdict::Accept),
            (head(200, &[("grpc-status", b"14")]), Verdict::Retry),
            (head(200, &[("grpc-status", b"13")]), Verdict::Fatal),
            (head(502, &[]), Verdict::Retry),
            (head(500, &[]), Verdict::Fatal),
        ] {
            assert_eq!(judge_grpc(&response, |code| method.verdict(code)).verdict, verdict, "{response:?}");
        }
    }

    #[test]
    fn r1_no_code_is_taken_for_one_of_the_cores() {
        for code in 0..=u8::MAX {
            assert!(ErrorKind::ALL.iter().all(|kind| Code::from(*kind) != grpc_code(code)), "{code}");
            // The text of a code differs from the text of an HTTP status.
            let text = grpc_code(code).to_string();
            let number = format!("code {}", 1_000 + u16::from(code));
            assert!(if code <= UNAUTHENTICATED { text.starts_with("gRPC ") } else { text == number }, "{text}");
        }
    }
}

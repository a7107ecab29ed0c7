//! What a gRPC response means for its call, by its head alone: [`judge_grpc`].

use hedge_core::outcome::{Code, Judgement, Verdict};
use http::{HeaderMap, HeaderName, Response, StatusCode};

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

/// A gRPC response, of which there is only the head yet: `verdict` says what a status code other than `OK` means.
///
/// gRPC answers 200 to what has failed, and says so in trailers. A server that fails before it has anything to say sends
/// them as the head (*Trailers-Only*), with `grpc-status` in it and perhaps a [`pushback`]: these are the failures that A6
/// retries. A head without `grpc-status` belongs to a call that is committed: it is accepted, whatever its trailers say.
///
/// | head | code |
/// |---|---|
/// | with `grpc-status` | that; one that is not a number in \[0, 16\], or comes twice, is `UNKNOWN` |
/// | else 200 | accepted |
/// | else 400 | `INTERNAL` |
/// | else 401 | `UNAUTHENTICATED` |
/// | else 403 | `PERMISSION_DENIED` |
/// | else 404 | `UNIMPLEMENTED` |
/// | else 429, 502, 503 or 504 | `UNAVAILABLE` |
/// | else | `UNKNOWN` |
///
/// The part without `grpc-status` is gRPC's document "HTTP to gRPC Status Code Mapping". A code that `verdict` does not
/// accept is the judgement's, as [`grpc_code`] has it, and the head's pushback counts.
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
        None => of_http(response.status()),
    };
    judge_status(code, response.headers(), verdict)
}

/// What a status code and the headers that came with it mean.
pub(crate) fn judge_status(code: u8, headers: &HeaderMap, verdict: impl FnOnce(u8) -> Verdict) -> Judgement {
    if code == OK {
        return Verdict::Accept.into();
    }
    match verdict(code) {
        Verdict::Accept => Verdict::Accept.into(),
        other => Judgement { pushback: pushback(headers), ..Judgement::new(other, grpc_code(code)) },
    }
}

/// A gRPC status code as reports keep it: 1000 more, so that it is none of the core's error kinds. By those a deadline is
/// never retried (9, in gRPC `FAILED_PRECONDITION`), and a server that refuses (1, `CANCELLED`) may be isolated.
#[must_use]
pub const fn grpc_code(code: u8) -> Code {
    // A widening: `u16::from` is not for constants.
    Code(1_000 + code as u16)
}

/// One of the codes that there are.
pub(crate) fn status_code(number: u64) -> Option<u8> {
    u8::try_from(number).ok().filter(|code| *code <= UNAUTHENTICATED)
}

/// What a status means where gRPC says nothing, from a proxy for instance.
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

    /// A head with this status and these headers.
    fn head(status: u16, headers: &[(&'static str, &[u8])]) -> Response<()> {
        let mut response = Response::builder().status(status).body(()).unwrap();
        for (name, value) in headers {
            response.headers_mut().append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        response
    }

    /// The code that the verdict was asked for; `None`: it was not.
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
        // Its pushback is for trailers to give.
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
            // Nor for a status.
            let text = grpc_code(code).to_string();
            let number = format!("code {}", 1_000 + u16::from(code));
            assert!(if code <= UNAUTHENTICATED { text.starts_with("gRPC ") } else { text == number }, "{text}");
        }
    }
}

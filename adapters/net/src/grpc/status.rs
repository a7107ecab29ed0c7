//! Makes the reply with a gRPC status for a call that has no reply.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue, Response};
use hedge_core::outcome::ErrorKind;
use hedge_core::policy::AttemptError as _;
use hedge_fleet::Trace;

use super::error::GrpcError;
use super::reply_body::GrpcBody;
use crate::error::{CallError, LastFailure};
use crate::http::{Body, BodyError, BreakError, HttpError};

/// A gRPC status code that this client sets, because no server has sent a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Code(u16);

impl Code {
    const CANCELLED: Self = Self(1);
    const DEADLINE_EXCEEDED: Self = Self(4);
    const PERMISSION_DENIED: Self = Self(7);
    const RESOURCE_EXHAUSTED: Self = Self(8);
    const INTERNAL: Self = Self(13);
    const UNAVAILABLE: Self = Self(14);
}

/// Makes the trailers of a reply whose body could not be received to its end.
pub(super) fn of_body(error: &BodyError) -> HeaderMap {
    let code = match error {
        BodyError::Deadline => Code::DEADLINE_EXCEEDED,
        BodyError::Broken(error) => of_break(error),
        BodyError::TooLarge { .. } => Code::RESOURCE_EXHAUSTED,
        // A protocol error, or a failure of the request's own body.
        _ => Code::INTERNAL,
    };
    headers(code, error)
}

/// Makes headers or trailers with this status and this message.
fn headers(code: Code, message: &dyn fmt::Display) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", code.0.into());
    let mut text = String::new();
    // Writing into a string fails only if the message's own `Display` fails. Then the text contains only a part of the
    // message.
    let _ = write!(Encoded(&mut text), "{message}");
    if let Ok(text) = HeaderValue::try_from(text) {
        headers.insert("grpc-message", text);
    }
    headers
}

/// Makes the reply for a call that has failed. If the last response of a server decided the call, it is the reply.
/// Otherwise the reply contains the status of the failure. If the caller's own code failed, returns an error.
pub(super) fn of_error(error: CallError<Response<Body>, HttpError>) -> Result<Response<GrpcBody>, GrpcError> {
    let text = error.to_string();
    let (code, trace) = match error {
        CallError::Failed { last, report } | CallError::Fatal { last, report } => match last {
            Some(Ok(response)) => return Ok(with_trace(response, *report)),
            Some(Err(HttpError::RequestBody(error))) => return Err(GrpcError::RequestBody(error)),
            last => (of_failure(&last), report),
        },
        CallError::Refused { error, .. } => return Err(GrpcError::Refused(error)),
        CallError::Deadline { report, .. } | CallError::NoList { report, .. } => (Code::DEADLINE_EXCEEDED, report),
        CallError::Cancelled { report, .. } => (Code::CANCELLED, report),
        CallError::NoServer { report } | CallError::AllDown { report } => (Code::UNAVAILABLE, report),
        CallError::AllFull { report } => (Code::RESOURCE_EXHAUSTED, report),
        CallError::Config { report, .. } => (Code::INTERNAL, report),
    };
    let mut response = Response::new(Body::new(""));
    *response.headers_mut() = headers(code, &text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(with_trace(response, *trace))
}

/// Makes the response for the caller. Its extensions contain the report of the call.
pub(super) fn with_trace(mut response: Response<Body>, trace: Trace) -> Response<GrpcBody> {
    response.extensions_mut().insert(Arc::new(trace));
    response.map(GrpcBody::new)
}

/// Returns the status for the failure of the last attempt. If the server did not answer, the status is `UNAVAILABLE`.
fn of_failure(last: &LastFailure<Response<Body>, HttpError>) -> Code {
    match last {
        Some(Err(HttpError::Broken(error) | HttpError::Reset(error))) => of_break(error),
        Some(Err(error)) => match error.kind() {
            ErrorKind::TooLarge => Code::RESOURCE_EXHAUSTED,
            ErrorKind::BadRequest | ErrorKind::Protocol | ErrorKind::Internal => Code::INTERNAL,
            _ => Code::UNAVAILABLE,
        },
        Some(Ok(_)) | None => Code::UNAVAILABLE,
    }
}

fn of_break(error: &BreakError) -> Code {
    of_code(error.http2_code())
}

/// Returns the status of a stream that broke. If there is an error code of HTTP/2, it determines the status (see
/// "Errors" in the document "gRPC over HTTP/2").
fn of_code(http2_code: Option<u32>) -> Code {
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    const ENHANCE_YOUR_CALM: u32 = 11;
    const INADEQUATE_SECURITY: u32 = 12;
    match http2_code {
        None | Some(REFUSED_STREAM) => Code::UNAVAILABLE,
        Some(CANCEL) => Code::CANCELLED,
        Some(ENHANCE_YOUR_CALM) => Code::RESOURCE_EXHAUSTED,
        Some(INADEQUATE_SECURITY) => Code::PERMISSION_DENIED,
        Some(_) => Code::INTERNAL,
    }
}

/// Percent-encodes a message, as the document "gRPC over HTTP/2" requires. Each `%` is encoded, and each byte that is
/// neither visible ASCII nor a space.
struct Encoded<'a>(&'a mut String);

impl fmt::Write for Encoded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b' '..=b'~' if byte != b'%' => self.0.push(byte.into()),
                _ => write!(self.0, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{BadRequest, RequestBodyError};
    use hedge_core::time::{Duration, Instant};
    use hedge_fleet::Report;

    fn report() -> Box<Trace> {
        Box::new(Trace::nowhere(Report::new(Instant::ZERO)))
    }

    fn status_of(error: CallError<Response<Body>, HttpError>) -> (String, String) {
        let response = of_error(error).unwrap();
        assert!(response.extensions().get::<Arc<Trace>>().is_some());
        let text = |name| response.headers()[name].to_str().unwrap().to_owned();
        (text("grpc-status"), text("grpc-message"))
    }

    #[test]
    fn a_call_without_a_reply_has_the_status_that_grpc_gives_it() {
        let failed = |error| CallError::Failed { last: Some(Err(error)), report: report() };
        for (error, code, text) in [
            (CallError::Deadline { last: None, report: report() }, "4", "deadline passed after "),
            (CallError::NoList { error: None, waited: Duration::ZERO, report: report() }, "4", "no list of servers"),
            (CallError::Cancelled { last: None, report: report() }, "1", "cancelled after "),
            (CallError::NoServer { report: report() }, "14", "no server: the list is empty"),
            (CallError::AllDown { report: report() }, "14", "all servers are down"),
            (CallError::AllFull { report: report() }, "8", "all servers are full"),
            (CallError::Failed { last: None, report: report() }, "14", "failed after "),
            (failed(HttpError::TooLarge { limit: 1 }), "8", "failed after "),
            (failed(BadRequest::NoPath.into()), "13", "failed after "),
        ] {
            let status = status_of(error);
            assert!(status.0 == code && status.1.starts_with(text), "{status:?} is not {code} {text}");
        }
    }

    #[test]
    fn a_stream_that_broke_has_the_status_of_its_code() {
        for (code, expected) in [
            (0, Code::INTERNAL),
            (1, Code::INTERNAL),
            (7, Code::UNAVAILABLE),
            (8, Code::CANCELLED),
            (11, Code::RESOURCE_EXHAUSTED),
            (12, Code::PERMISSION_DENIED),
            (13, Code::INTERNAL),
            (99, Code::INTERNAL),
        ] {
            assert_eq!(of_code(Some(code)), expected, "{code}");
        }
        assert_eq!(of_code(None), Code::UNAVAILABLE);
        let late = of_body(&BodyError::Deadline);
        assert_eq!((&late["grpc-status"], late.len()), (&"4".parse().unwrap(), 2));
    }

    #[test]
    fn the_response_that_decided_a_call_is_its_reply() {
        let response = || Response::builder().header("grpc-status", "5").body(Body::new("x")).unwrap();
        let fatal = CallError::Fatal { last: Some(Ok(response())), report: report() };
        assert_eq!(of_error(fatal).unwrap().headers()["grpc-status"], "5");
        let late = CallError::Deadline { last: Some(Ok(response())), report: report() };
        assert_eq!(of_error(late).unwrap().headers()["grpc-status"], "4");
    }

    #[test]
    fn a_failure_of_the_callers_own_code_is_an_error() {
        let body = HttpError::RequestBody(RequestBodyError::Panicked);
        let error = of_error(CallError::Fatal { last: Some(Err(body)), report: report() }).unwrap_err();
        assert!(matches!(error, GrpcError::RequestBody(RequestBodyError::Panicked)));
        let error = of_error(CallError::Refused { error: "not you".into(), report: report() }).unwrap_err();
        assert_eq!(error.to_string(), "refused by an interceptor: not you");
    }

    #[test]
    fn a_message_is_percent_encoded() {
        let headers = headers(Code::INTERNAL, &"100 % ü\n~");
        assert_eq!(headers["grpc-message"], "100 %25 %C3%BC%0A~");
    }
}

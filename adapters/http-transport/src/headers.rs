//! Checks the headers that say where a request ends and what its connection is used for. The transport is responsible
//! for both, so the caller's headers must agree with it.

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::error::{BadRequest, HttpError};
use super::outgoing::{RequestBodyError, SendBody};
use super::request_error::{HeaderFault, first_invalid};

/// Adds a header. Values of the same name that were added before stay, except that a `content-type` is replaced.
///
/// # Errors
/// See [`HeaderFault`].
pub fn add<V>(headers: &mut HeaderMap, name: &str, value: V) -> Result<(), HeaderFault>
where
    V: AsRef<[u8]> + TryInto<HeaderValue>,
{
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        let at = first_invalid(name.as_bytes(), |start| HeaderName::from_bytes(start).is_ok());
        return Err(HeaderFault::Name { at });
    };
    // The value is looked at before it is given away.
    let at = value.as_ref().iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
    let value = value.try_into().map_err(|_| HeaderFault::Value { at: at.unwrap_or_default() })?;
    let added = if parsed == CONTENT_TYPE {
        headers.try_insert(parsed, value).map(drop)
    } else {
        headers.try_append(parsed, value).map(drop)
    };
    added.map_err(|_| HeaderFault::TooMany)
}

/// Refuses headers that are wrong with any body.
pub(super) fn check(headers: &HeaderMap) -> Result<(), BadRequest> {
    let mut hosts = 0_usize;
    for (name, value) in headers {
        let refused = match name.as_str() {
            // `close` and `keep-alive` say how long the connection lives; `te` must be named here by RFC 9110 (10.1.4).
            "connection" => has_other(value, &["close", "keep-alive", "te"]).then_some("connection"),
            "te" => has_other(value, &["trailers"]).then_some("te"),
            "transfer-encoding" => has_other(value, &["chunked"]).then_some("transfer-encoding"),
            "host" => {
                hosts = hosts.saturating_add(1);
                (hosts > 1 || !value.as_bytes().iter().all(u8::is_ascii_graphic)).then_some("host")
            }
            "upgrade" => Some("upgrade"),
            "http2-settings" => Some("http2-settings"),
            "keep-alive" => Some("keep-alive"),
            "proxy-connection" => Some("proxy-connection"),
            _ => None,
        };
        if let Some(name) = refused {
            return Err(BadRequest::Header(name));
        }
    }
    Ok(())
}

/// Makes the headers and the body agree on the body's length. Refuses the request if they contradict each other.
pub(super) fn frame(headers: &mut HeaderMap, body: &mut SendBody) -> Result<(), HttpError> {
    // Most requests have no such header. To compare the names costs less than to look them up.
    if body.length().is_some() && !headers.keys().any(|name| *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING) {
        body.announce(None, headers);
        return Ok(());
    }
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let length = digits(value).ok_or(BadRequest::Header("content-length"))?;
        let wanted = *body.length().as_ref().or(announced.as_ref()).unwrap_or(&length);
        if length != wanted {
            return Err(BadRequest::Header("content-length").into());
        }
        announced = Some(length);
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter().flat_map(elements).count();
    if codings > 1 || (codings == 1 && (announced.is_some() || body.length().is_some())) {
        return Err(BadRequest::Header("transfer-encoding").into());
    }
    body.announce(announced, headers);
    // hyper writes the length of a body itself, but it does not write a length of 0.
    if announced.is_some() {
        headers.remove(CONTENT_LENGTH);
        if body.length() == Some(0) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }
    // Without this header, hyper would send no body with GET and HEAD.
    if body.length().is_none() {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(())
}

impl From<RequestBodyError> for HttpError {
    fn from(error: RequestBodyError) -> Self {
        Self::RequestBody(error)
    }
}

/// The elements of a header's value. A value that is not text gives one element that matches nothing.
fn elements(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("?").split(',').map(str::trim)
}

/// Whether the value has an element that is not allowed.
fn has_other(value: &HeaderValue, allowed: &[&str]) -> bool {
    elements(value)
        .any(|element| !element.is_empty() && !allowed.iter().any(|other| element.eq_ignore_ascii_case(other)))
}

/// Parses digits only. Rust's own parser would also accept a `+`.
fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

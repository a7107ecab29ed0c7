//! The head of a request over HTTP/2: [`http2`].

use std::mem;

use ::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{Request, Uri, Version};

use crate::error::BadRequest;
use crate::place::Place;

/// Converts the head of a request from HTTP/1.1 to HTTP/2. The header `Host` becomes `:authority`, and headers about a
/// single connection are removed (RFC 9113, 8.2.2 and 8.3.1).
pub(super) fn http2(mut head: Request<()>, place: &Place) -> Result<Request<()>, BadRequest> {
    let headers = head.headers_mut();
    // Most requests have none of them. To compare the names costs less than to look them up.
    if headers.keys().any(|name| *name == CONNECTION || *name == TRANSFER_ENCODING) {
        headers.remove(CONNECTION);
        headers.remove(TRANSFER_ENCODING);
    }
    let host = headers.remove(HOST).ok_or(BadRequest::Host)?;
    let target = mem::take(head.uri_mut()).into_parts().path_and_query;
    // The authority of the place is already parsed, so it is used if it is equal to the header.
    let authority = match &place.authority {
        Some(authority) if authority.as_str().as_bytes() == host.as_bytes() => authority.clone(),
        _ => Authority::try_from(host.as_bytes()).map_err(|_| BadRequest::Host)?,
    };
    *head.uri_mut() = absolute(place.is_tls, authority, target)?;
    *head.version_mut() = Version::HTTP_2;
    Ok(head)
}

fn absolute(is_tls: bool, authority: Authority, target: Option<PathAndQuery>) -> Result<Uri, BadRequest> {
    let mut parts = ::http::uri::Parts::default();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|_| BadRequest::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(is_tls: bool) -> Place {
        Place::of(&"10.0.0.1:8443".parse().unwrap(), is_tls, Some("example.com")).unwrap()
    }

    fn request(target: &'static str, headers: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn t3_the_host_becomes_the_authority() {
        for (is_tls, target, host, uri) in [
            (true, "/a?b=c", "example.com:8443", "https://example.com:8443/a?b=c"),
            (false, "/", "10.0.0.1:8443", "http://10.0.0.1:8443/"),
            (false, "/", "own", "http://own/"),
            (false, "*", "own", "http://own*"),
        ] {
            let made = http2(request(target, &[("host", host), ("x-a", "1")]), &place(is_tls)).unwrap();
            assert_eq!(made.uri().to_string(), uri);
            assert_eq!(made.uri().path_and_query().unwrap(), target);
            assert!(!made.headers().contains_key("host"));
            assert_eq!(made.headers()["x-a"], "1");
        }
        assert_eq!(http2(request("/", &[("host", "a b")]), &place(true)).unwrap_err(), BadRequest::Host);
        assert_eq!(http2(request("/", &[]), &place(true)).unwrap_err(), BadRequest::Host);
    }

    #[test]
    fn headers_of_one_connection_are_not_sent() {
        let headers = [("host", "a"), ("connection", "close"), ("transfer-encoding", "chunked"), ("te", "trailers")];
        let made = http2(request("/", &headers), &place(false)).unwrap();
        assert_eq!(made.headers().len(), 1);
        assert_eq!(made.headers()["te"], "trailers");
    }
}

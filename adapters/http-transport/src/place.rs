//! What the server's place means for the head of a request: [`Place`].

use std::sync::Arc;

#[cfg(feature = "http2")]
use ::http::uri::Authority;
use ::http::uri::{PathAndQuery, Scheme};
use ::http::{HeaderValue, Uri};
use hedge_fleet::Address;

use super::error::BadRequest;

/// What the server's place means for the head of a request: the `Host` header and the path.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The `Host` header, for requests that bring none.
    pub(super) host: HeaderValue,
    /// The path in front of every request's.
    pub(super) base: Option<Arc<str>>,
    /// The same as [`host`](Self::host), for HTTP/2.
    #[cfg(feature = "http2")]
    pub(super) authority: Option<Authority>,
    /// Connections are encrypted.
    pub(super) is_tls: bool,
}

impl Place {
    /// The place of a server, without a URL. `name` is the name that its certificate is checked for, if that was set.
    pub(super) fn of(address: &Address, is_tls: bool, name: Option<&str>) -> Result<Self, BadRequest> {
        let port = match address {
            Address::Socket(address) => Some(address.port()),
            Address::Name { port, .. } => Some(*port),
            Address::Unix(_) => None,
        };
        // The default port is not written, as RFC 9110 (4.2.2) has it.
        let port = port.filter(|port| !is_tls || *port != 443);
        let host = match (address, name.filter(|_| is_tls)) {
            (_, Some(name)) if name.contains(':') => format!("[{name}]"),
            (_, Some(name)) => name.to_owned(),
            (Address::Socket(std::net::SocketAddr::V6(address)), None) => format!("[{}]", address.ip()),
            (Address::Socket(address), None) => address.ip().to_string(),
            (Address::Name { host, .. }, None) => host.to_string(),
            (Address::Unix(_), None) => "localhost".to_owned(),
        };
        let host = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        Ok(Self::with_host(HeaderValue::try_from(host).map_err(|_| BadRequest::Host)?, None, is_tls))
    }

    /// A place with this `Host` header, and this path in front of every request's.
    pub(super) fn with_host(host: HeaderValue, base: Option<Arc<str>>, is_tls: bool) -> Self {
        #[cfg(feature = "http2")]
        let authority = Authority::try_from(host.as_bytes()).ok();
        Self {
            host,
            base,
            #[cfg(feature = "http2")]
            authority,
            is_tls,
        }
    }

    /// Whether a request may name this scheme.
    pub(super) fn takes(&self, scheme: &Scheme) -> bool {
        *scheme == if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// The path and the query. For an absolute URI without a path, the path is `/` (RFC 9112, 3.2.1).
    pub(super) fn target(&self, uri: &Uri) -> Result<PathAndQuery, BadRequest> {
        let target = uri.path_and_query().ok_or(BadRequest::NoPath)?;
        let base = self.base.as_deref().unwrap_or_default();
        match target.as_str() {
            "*" => Ok(target.clone()),
            // The `http` crate shows an empty path as `/` too, but would write it as nothing.
            "/" if base.is_empty() => Ok(PathAndQuery::from_static("/")),
            text if text.starts_with('?') => joined(&[base, "/", text]),
            text if !base.is_empty() => joined(&[base, text]),
            _ => Ok(target.clone()),
        }
    }
}

fn joined(parts: &[&str]) -> Result<PathAndQuery, BadRequest> {
    PathAndQuery::try_from(parts.concat()).map_err(|_| BadRequest::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_the_host_is_the_checked_name_else_the_servers_own() {
        for (address, is_tls, name, host) in [
            ("10.0.0.1:80", false, None, "10.0.0.1:80"),
            ("10.0.0.1:443", false, Some("not.used"), "10.0.0.1:443"),
            ("[::1]:80", false, None, "[::1]:80"),
            ("Name:80", false, None, "name:80"),
            ("unix:/run/app.sock", false, None, "localhost"),
            ("10.0.0.1:443", true, None, "10.0.0.1"),
            ("name:8443", true, None, "name:8443"),
            ("10.0.0.1:443", true, Some("example.com"), "example.com"),
            ("10.0.0.1:8443", true, Some("example.com"), "example.com:8443"),
            ("10.0.0.1:8443", true, Some("::1"), "[::1]:8443"),
            ("unix:/run/app.sock", true, Some("example.com"), "example.com"),
        ] {
            let place = Place::of(&address.parse().unwrap(), is_tls, name).unwrap();
            assert_eq!(place.host, host, "{address}");
        }
    }

    #[test]
    fn n4_the_path_of_a_url_comes_before_that_of_a_request() {
        let host = HeaderValue::from_static("a");
        let place = Place::with_host(host, Some("/api".into()), true);
        for (uri, target) in [
            ("/", "/api/"),
            ("/users?id=7", "/api/users?id=7"),
            ("https://a", "/api/"),
            ("https://a?q", "/api/?q"),
            ("*", "*"),
        ] {
            assert_eq!(place.target(&uri.parse().unwrap()).unwrap(), target, "{uri}");
        }
        let long = format!("/{}", "x".repeat(65_530)).parse().unwrap();
        assert_eq!(place.target(&long), Err(BadRequest::TooLong));
    }
}

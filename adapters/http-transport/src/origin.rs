//! The URL of one server: [`Origin`], and what is wrong with one, [`UrlError`].

use std::fmt;

use ::http::uri::Authority;
use ::http::{HeaderValue, Uri};
use hedge_fleet::{Address, AddressError, Server};

/// The URL of one server: `https://host[:port][/base/path]`, or `http://` in clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pub(crate) is_https: bool,
    /// The server that it names.
    pub server: Server,
    /// The host, and the port if it is not the default, for the `Host` header.
    pub(crate) host: HeaderValue,
    /// The host alone, as certificates name it.
    #[cfg_attr(not(feature = "_tls"), allow(dead_code, reason = "only certificates are checked by it"))]
    pub(crate) name: Box<str>,
    /// The path in front of every request's. It does not end with a slash.
    pub(crate) base: Option<Box<str>>,
}

impl Origin {
    /// Parses a URL. `None` if the text does not begin with `http://` or `https://`.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Option<Result<Self, UrlError>> {
        let text = text.trim();
        let is_https = match text.split_once("://")?.0 {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Some(Self::of(text, is_https))
    }

    fn of(text: &str, is_https: bool) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Invalid)?;
        let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(UrlError::Query);
        }
        let default: u16 = if is_https { 443 } else { 80 };
        let host = uri.host().unwrap_or_default();
        let port = match authority.strip_prefix(host).unwrap_or_default() {
            "" => default,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or(UrlError::Port)?,
        };
        let address: Address = format!("{host}:{port}").parse().map_err(UrlError::Address)?;
        let host = if port == default { host.to_owned() } else { format!("{host}:{port}") };
        let base = uri.path().trim_end_matches('/');
        Ok(Self {
            is_https,
            server: Server::from(address),
            name: uri.host().unwrap_or_default().trim_matches(['[', ']']).into(),
            host: HeaderValue::try_from(host).map_err(|_| UrlError::Invalid)?,
            base: Some(base).filter(|base| !base.is_empty()).map(Into::into),
        })
    }
}

/// What is wrong with the URL of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UrlError {
    /// It is not a URL.
    Invalid,
    /// It has a user or a password.
    Credentials,
    /// It has a query or a fragment.
    Query,
    /// Its port is not a number in 0 to 65535.
    Port,
    /// Its host is not one.
    Address(AddressError),
    /// It is an `http://` URL, and TLS was asked for.
    Clear,
    /// It is an `https://` URL, and this build has no TLS.
    NoTls,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "not a url; write https://host:port/path",
            Self::Credentials => "has a user or a password before '@'; give them as headers",
            Self::Query => "has a query or a fragment; only a path can be put in front of every request's",
            Self::Port => "port is not a number in [0, 65535]",
            Self::Address(error) => return error.fmt(f),
            Self::Clear => "http:// is not encrypted, but TLS was asked for; write https://",
            Self::NoTls => "https:// needs the feature \"tls\" or \"tls-aws-lc\"",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n4_a_url_names_one_server() {
        for (text, server, host, name, base) in [
            ("https://Example.com", "example.com:443", "Example.com", "Example.com", None),
            ("https://example.com:8443/", "example.com:8443", "example.com:8443", "example.com", None),
            ("https://example.com:443/api/v1/", "example.com:443", "example.com", "example.com", Some("/api/v1")),
            ("http://example.com/api", "example.com:80", "example.com", "example.com", Some("/api")),
            (" http://[::1] ", "[::1]:80", "[::1]", "::1", None),
            ("https://10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:1", "10.0.0.1", None),
        ] {
            let origin = Origin::parse(text).unwrap().unwrap();
            assert_eq!(origin.is_https, text.contains("https"), "{text}");
            assert_eq!((&*origin.server.to_string(), origin.host.to_str().unwrap()), (server, host), "{text}");
            assert_eq!((&*origin.name, origin.base.as_deref()), (name, base), "{text}");
        }
        for text in ["10.0.0.1:80", "list://a:1", "unix:///run/app.sock", "httpx://a"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn n4_what_is_wrong_with_a_url_is_said() {
        for (text, error) in [
            ("https://", UrlError::Invalid),
            ("https://a b", UrlError::Invalid),
            ("https://user:secret@a", UrlError::Credentials),
            ("https://a?q", UrlError::Query),
            ("https://a/#x", UrlError::Query),
            ("https://a:", UrlError::Port),
            ("https://a:99999", UrlError::Port),
            ("https://a,b", UrlError::Address(AddressError::Several)),
            ("https://1.2.3", UrlError::Address(AddressError::Ipv4)),
        ] {
            assert_eq!(Origin::parse(text), Some(Err(error)), "{text}");
        }
    }
}

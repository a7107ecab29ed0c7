//! The headers that each request of a channel has unless it sets them itself: [`DefaultHeaders`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "_coding")]
use ::http::header::{ACCEPT_ENCODING, RANGE};
use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::error::BadRequest;
use super::headers;
use super::request_error::{HeaderFault, Shown};

/// The headers that each request of a channel has unless it sets them itself. A clone is cheap.
#[derive(Clone, Default)]
pub struct DefaultHeaders(Arc<HeaderMap>);

impl DefaultHeaders {
    /// Adds a header. Values of the same name that were added before stay, except that a `content-type` is replaced.
    ///
    /// # Errors
    /// No request can have this header, or it belongs to the body of a single request.
    pub fn add<V>(&mut self, name: &str, value: V) -> Result<(), DefaultHeaderError>
    where
        V: AsRef<[u8]> + TryInto<HeaderValue>,
    {
        let wrong = |fault| DefaultHeaderError { name: name.into(), fault };
        let headers = Arc::make_mut(&mut self.0);
        headers::add(headers, name, value).map_err(|fault| wrong(DefaultHeaderFault::Malformed(fault)))?;
        if [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name)) {
            return Err(wrong(DefaultHeaderFault::OfOneBody));
        }
        headers::check(headers).map_err(|error| wrong(DefaultHeaderFault::Refused(error)))
    }

    /// How many values they have.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.get(name)
    }

    /// Adds those headers that a request does not set itself.
    ///
    /// # Errors
    /// The request has too many headers.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) -> Result<(), BadRequest> {
        for name in self.0.keys() {
            if headers.contains_key(name) {
                continue;
            }
            for value in self.0.get_all(name) {
                headers.try_append(name, value.clone()).map_err(|_| BadRequest::TooManyHeaders)?;
            }
        }
        Ok(())
    }

    /// Whether they choose the codings of answers, or ask for parts of answers, so that answers are not decoded.
    #[cfg(feature = "_coding")]
    pub(super) fn choose_codings(&self) -> bool {
        self.0.contains_key(ACCEPT_ENCODING) || self.0.contains_key(RANGE)
    }
}

/// Shows the names only, because a value may be a secret.
impl fmt::Debug for DefaultHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A [default header](crate::HttpSetup::default_headers) that requests cannot have.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DefaultHeaderError {
    /// Its name, as it was given.
    pub name: Box<str>,
    /// What is wrong with it. The error does not hold the value, which may be a secret.
    pub fault: DefaultHeaderFault,
}

/// What is wrong with a default header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DefaultHeaderFault {
    /// The name or the value is not valid, or there are too many headers.
    Malformed(HeaderFault),
    /// `content-length` and `transfer-encoding` say how long a body is, and each request has a body of its own.
    OfOneBody,
    /// It asks for another use of the connection, or for something that this transport does not do.
    Refused(BadRequest),
}

impl fmt::Display for DefaultHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "default header {}: ", Shown(&self.name))?;
        match &self.fault {
            DefaultHeaderFault::Malformed(fault) => fault.fmt(f),
            DefaultHeaderFault::OfOneBody => {
                f.write_str("it says how long a body is, and each request has its own body")
            }
            DefaultHeaderFault::Refused(BadRequest::Header(name)) => f.write_str(super::error::wrong_with(name)),
            DefaultHeaderFault::Refused(error) => error.fmt(f),
        }
    }
}

impl Error for DefaultHeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_own_headers_come_first_and_a_name_may_have_several_values() {
        let mut defaults = DefaultHeaders::default();
        for (name, value) in
            [("x-a", "1"), ("x-b", "2"), ("X-A", "3"), ("content-type", "a/b"), ("content-type", "c/d")]
        {
            defaults.add(name, value).unwrap();
        }
        let mut headers = HeaderMap::from_iter([(HeaderName::from_static("x-b"), HeaderValue::from_static("own"))]);
        defaults.add_to(&mut headers).unwrap();
        let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-a"), all("x-b"), all("content-type")), (vec!["1", "3"], vec!["own"], vec!["c/d"]));
        assert_eq!(format!("{defaults:?}"), r#"{"x-a", "x-b", "content-type"}"#);
    }

    #[test]
    fn p1_what_no_request_may_have_is_no_default() {
        use DefaultHeaderFault::{Malformed, OfOneBody, Refused};

        for (name, value, fault) in [
            ("", "x", Malformed(HeaderFault::Name { at: None })),
            ("a b", "x", Malformed(HeaderFault::Name { at: Some(1) })),
            ("x-a", "b\r\nx-c: d", Malformed(HeaderFault::Value { at: 1 })),
            ("x-a", "b\nc", Malformed(HeaderFault::Value { at: 1 })),
            ("x-a", "bc\0", Malformed(HeaderFault::Value { at: 2 })),
            ("Content-Length", "3", OfOneBody),
            ("transfer-encoding", "chunked", OfOneBody),
            ("upgrade", "h2c", Refused(BadRequest::Header("upgrade"))),
            ("connection", "upgrade", Refused(BadRequest::Header("connection"))),
            ("te", "gzip", Refused(BadRequest::Header("te"))),
            ("host", "a b", Refused(BadRequest::Header("host"))),
        ] {
            let error = DefaultHeaders::default().add(name, value).unwrap_err();
            assert_eq!(error, DefaultHeaderError { name: name.into(), fault });
        }
        let mut twice = DefaultHeaders::default();
        twice.add("host", "a").unwrap();
        let error = twice.add("Host", "b").unwrap_err();
        assert_eq!(error.to_string(), "default header \"Host\": only one is allowed, in visible ascii");
        let error = DefaultHeaders::default().add("content-length", "1").unwrap_err();
        assert!(
            error.to_string().starts_with("default header \"content-length\": it says how long a body is"),
            "{error}"
        );
    }

    #[test]
    fn a_request_that_has_no_room_for_the_defaults_is_refused() {
        let mut defaults = DefaultHeaders::default();
        for index in 0..2_000 {
            defaults.add(&format!("x-default-{index}"), "1").unwrap();
        }
        let mut headers = HeaderMap::new();
        for index in 0..23_000 {
            headers.insert(HeaderName::try_from(format!("x-{index}")).unwrap(), HeaderValue::from_static("1"));
        }
        assert_eq!(defaults.add_to(&mut headers), Err(BadRequest::TooManyHeaders));
    }
}

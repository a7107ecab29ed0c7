//! Reads a reply over HTTP: its bytes, its text, its JSON, and whether its status is below 400.

use std::error::Error;
use std::fmt;
use std::str::Utf8Error;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;

use crate::reply::{AnsweredBy, Reply};
use hedge_fleet::Server;
use hedge_http_transport::Body;
use hedge_link::ConnectionInfo;

/// Methods that read a reply over HTTP. They do not wait: unless the call streams, it ends only when the whole body is
/// in memory. They only borrow the reply, so its server and its report can still be read afterwards.
impl Reply<Response<Body>> {
    /// The addresses of the connection that the reply came on, and what its TLS handshake agreed on
    /// ([W2](hedge_core::rules#W2)). `None` if an interceptor answered.
    ///
    /// ```
    /// # use hedge_net::{Channel, Runtime, http::Http};
    /// # async fn show<R: Runtime>(channel: &Channel<R, Http<R>>) -> Result<(), Box<dyn std::error::Error>> {
    /// let reply = channel.get("/").await?;
    /// if let Some(connection) = reply.connection() {
    ///     println!("from {} to {:?}", connection.remote, connection.local);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.body().connection()
    }

    /// The body. The bytes are shared, not copied.
    ///
    /// # Errors
    /// [`Unreadable::NotInMemory`].
    pub fn bytes(&self) -> Result<Bytes, ReplyError> {
        self.body().bytes().cloned().ok_or_else(|| self.unreadable(Unreadable::NotInMemory))
    }

    /// The body as text, which must be UTF-8. The text is a copy of the body, byte for byte: nothing is converted or
    /// replaced, and a byte order mark stays.
    ///
    /// # Errors
    /// [`Unreadable::Charset`] if the reply's `content-type` names a charset other than UTF-8 and US-ASCII,
    /// [`Unreadable::Utf8`] if the body is not UTF-8, [`Unreadable::NotInMemory`].
    pub fn text(&self) -> Result<String, ReplyError> {
        let bytes = self.bytes()?;
        if let Some(charset) = other_charset(self.headers()) {
            return Err(self.unreadable(Unreadable::Charset(charset.into())));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| self.unreadable(Unreadable::Utf8(error)))?;
        Ok(text.to_owned())
    }

    /// The value that the body holds as JSON. The `content-type` does not matter. A type that borrows from the body can
    /// be read from [`bytes`](Self::bytes) by `serde_json::from_slice`.
    ///
    /// # Errors
    /// [`Unreadable::Json`], with line and column; [`Unreadable::NotInMemory`].
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ReplyError> {
        serde_json::from_slice(&self.bytes()?).map_err(|error| self.unreadable(Unreadable::Json(error)))
    }

    /// The reply, if its status is below 400.
    ///
    /// # Errors
    /// A status of 400 or more, with the reply. By default a call whose reply has a status of 500 or more fails
    /// already, as [`CallError::Failed`](crate::CallError::Failed).
    ///
    /// ```
    /// # use hedge_net::{Channel, Runtime, http::Http};
    /// # async fn show<R: Runtime>(channel: &Channel<R, Http<R>>) -> Result<(), Box<dyn std::error::Error>> {
    /// // `status 404 Not Found from 10.0.0.1:8001`, for instance.
    /// let text = channel.get("/users/7").await?.error_for_status()?.text()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn error_for_status(self) -> Result<Self, BadStatus> {
        if self.status().as_u16() < 400 { Ok(self) } else { Err(BadStatus(Box::new(self))) }
    }

    fn unreadable(&self, fault: Unreadable) -> ReplyError {
        ReplyError { server: self.server().cloned(), status: self.status(), fault }
    }
}

/// The charset that a `content-type` names, unless it is UTF-8 or US-ASCII, which is a part of UTF-8.
fn other_charset(headers: &HeaderMap) -> Option<&str> {
    let parameters = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, charset) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    let charset = charset.trim().trim_matches('"');
    let is_utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    Some(charset).filter(|_| !is_utf8)
}

/// The body of a reply could not be read as the program asked.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReplyError {
    /// The server that the reply is from. `None`: an interceptor answered.
    pub server: Option<Server>,
    /// The status of the reply. The body of a 404 is seldom of the type that the body of a 200 has.
    pub status: StatusCode,
    /// What is wrong with the body.
    pub fault: Unreadable,
}

/// Why a body cannot be read as the program asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unreadable {
    /// The body streams, or has been read: [`Body::collect`] reads it.
    NotInMemory,
    /// The body is in this charset, which is not UTF-8.
    Charset(Box<str>),
    /// The body is not UTF-8.
    Utf8(Utf8Error),
    /// The body is not JSON, or not of the type that was asked for.
    #[cfg(feature = "json")]
    Json(serde_json::Error),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, status, fault } = self;
        write!(f, "reply from {} with status {}: ", AnsweredBy::new(server.as_ref()), status.as_u16())?;
        match fault {
            Unreadable::NotInMemory => f.write_str("the body is not in memory: it streams, or has been read"),
            Unreadable::Charset(charset) => write!(f, "the body is in charset {charset:?}, not in utf-8"),
            Unreadable::Utf8(error) => write!(f, "the body is not utf-8 at byte {}", error.valid_up_to()),
            #[cfg(feature = "json")]
            Unreadable::Json(error) => write!(f, "the body is not the expected json: {error}"),
        }
    }
}

impl Error for ReplyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            #[cfg(feature = "json")]
            Unreadable::Json(error) => error.source(),
            // The cause is part of the message already.
            Unreadable::NotInMemory | Unreadable::Charset(_) | Unreadable::Utf8(_) => None,
        }
    }
}

/// A reply whose status is 400 or more, for a program that treats such a status as an error.
#[derive(Debug)]
pub struct BadStatus(Box<Reply<Response<Body>>>);

impl BadStatus {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The reply.
    #[must_use]
    pub fn reply(&self) -> &Reply<Response<Body>> {
        &self.0
    }

    /// The reply, taken out.
    #[must_use]
    pub fn into_reply(self) -> Reply<Response<Body>> {
        *self.0
    }
}

impl fmt::Display for BadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} from {}", self.0.status(), self.0.answered_by())
    }
}

impl Error for BadStatus {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charset_is_read_as_it_is_written() {
        for (content_type, other) in [
            ("text/html", None),
            ("text/html; charset=utf-8", None),
            ("text/html;charset=\"UTF-8\"", None),
            ("text/plain; charset=us-ascii; format=flowed", None),
            ("text/html; boundary=x; Charset = ISO-8859-1", Some("ISO-8859-1")),
            ("text/html; charset=", Some("")),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(other_charset(&headers), other, "{content_type}");
        }
        assert_eq!(other_charset(&HeaderMap::new()), None);
    }
}

//! Writes requests as bytes: [`Request`].

use core::fmt;

use super::{is_text, is_token_byte};
use crate::write::{Writer, decimal};

/// A request that can be written as HTTP/1.1. It borrows all its parts.
///
/// ```
/// use hedge_wire::http1::{EncodeError, Request};
///
/// let request = Request { method: "PUT", target: "/led", host: "lamp:8080", body: b"on", ..Request::default() };
/// let mut out = [0; 128];
/// let length = request.encode(&mut out)?;
/// assert_eq!(&out[..length], b"PUT /led HTTP/1.1\r\nhost: lamp:8080\r\ncontent-length: 2\r\n\r\non");
/// assert_eq!(request.encode(&mut out[..10]), Err(EncodeError::TooLong { needs: length }));
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method: a token such as `GET`. `CONNECT` is refused, since the bytes after its response are not HTTP.
    pub method: &'a str,
    /// The target: usually a path with its query. It must be visible ASCII, so the caller percent-encodes other bytes.
    pub target: &'a str,
    /// The authority, such as `sensor` or `10.0.2.2:8080`. It may be empty if the target has no authority.
    pub host: &'a str,
    /// Further headers, in order. `host`, `content-length`, `transfer-encoding` and `connection` are refused: they are
    /// written from the other fields, and if they came twice, a server could read two requests. `upgrade`, `te` and
    /// `keep-alive` are refused too, since they ask for a response that this codec cannot read.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body. `content-length` is written if there is a body, and always with `POST`, `PUT` and `PATCH`.
    pub body: &'a [u8],
    /// Whether the connection shall be used again. If not, `connection: close` is sent.
    pub keep_alive: bool,
}

impl Default for Request<'_> {
    /// A request `GET /` with an empty host, without headers and body. The connection shall be used again.
    fn default() -> Self {
        Self { method: "GET", target: "/", host: "", headers: &[], body: &[], keep_alive: true }
    }
}

impl Request<'_> {
    /// Writes head and body to `out`, and returns how many bytes were written.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.write(self.body, out)
    }

    /// Writes the head alone, and returns how many bytes were written. The caller must then send the whole body, right
    /// after the head. So the body need not be copied.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode_head(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.write(&[], out)
    }

    /// Whether this is a `HEAD` request, whose response has no body, whatever the head of the response says. A
    /// [`Receiver`](super::Receiver) needs to know this.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    fn write(&self, body: &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let mut out = Writer::new(out);
        out.put(self.method.as_bytes());
        out.put(b" ");
        out.put(self.target.as_bytes());
        out.put(b" HTTP/1.1\r\n");
        header(&mut out, "host", self.host.as_bytes());
        for (name, value) in self.headers {
            header(&mut out, name, value);
        }
        if !self.keep_alive {
            header(&mut out, "connection", b"close");
        }
        if !self.body.is_empty() || matches!(self.method, "POST" | "PUT" | "PATCH") {
            let mut digits = [0; 20];
            header(
                &mut out,
                "content-length",
                decimal(u64::try_from(self.body.len()).unwrap_or(u64::MAX), &mut digits),
            );
        }
        out.put(b"\r\n");
        out.put(body);
        out.finish().map_err(|needs| EncodeError::TooLong { needs })
    }

    /// Checks that no part of the request can end a line early or begin another line.
    fn check(&self) -> Result<(), EncodeError> {
        if !is_token(self.method) || self.method == "CONNECT" {
            return Err(EncodeError::BadMethod);
        }
        if self.target.is_empty() || !self.target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EncodeError::BadTarget);
        }
        if !self.host.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EncodeError::BadHost);
        }
        let bad =
            |(name, value): &(&str, &[u8])| !is_token(name) || is_own(name) || !value.iter().copied().all(is_text);
        match self.headers.iter().position(bad) {
            Some(index) => Err(EncodeError::BadHeader { index }),
            None => Ok(()),
        }
    }
}

/// Why a request cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The request does not fit into the buffer.
    TooLong {
        /// How many bytes the request needs.
        needs: usize,
    },
    /// The method is not a token, or it is `CONNECT`.
    BadMethod,
    /// The target is empty, or contains a space, a control character or a byte outside ASCII.
    BadTarget,
    /// The host contains a space, a control character or a byte outside ASCII.
    BadHost,
    /// The name of a header is not a token or is refused (see [`Request::headers`]), or its value contains a control
    /// character.
    BadHeader {
        /// The index of the header, from 0.
        index: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { needs } => write!(f, "request: takes {needs} bytes, more than its buffer has"),
            Self::BadMethod => f.write_str("request: method must be a token, and not CONNECT"),
            Self::BadTarget => f.write_str("request: target must not be empty and must be visible ASCII"),
            Self::BadHost => f.write_str("request: host must be visible ASCII"),
            Self::BadHeader { index } => write!(f, "request: header {index} has an invalid name or value"),
        }
    }
}

impl core::error::Error for EncodeError {}

fn header(out: &mut Writer<'_>, name: &str, value: &[u8]) {
    out.put(name.as_bytes());
    out.put(b": ");
    out.put(value);
    out.put(b"\r\n");
}

fn is_own(name: &str) -> bool {
    let own = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "keep-alive"];
    own.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Whether a text is a token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

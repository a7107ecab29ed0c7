//! Requests to bytes: [`Request`].

use core::fmt;

use super::{is_text, is_token_byte};

/// A request, borrowed, to be written as HTTP/1.1.
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
    /// A token, as `GET`. `CONNECT` is refused: what follows its response is no HTTP.
    pub method: &'a str,
    /// The target: a path with its query as a rule. Visible ASCII, so anything else is percent-encoded by the caller.
    pub target: &'a str,
    /// The authority, as `sensor` or `10.0.2.2:8080`; may be empty if the target has none.
    pub host: &'a str,
    /// Further headers, in order. `host`, `content-length`, `transfer-encoding` and `connection` are refused: they are
    /// written from the other fields, and twice would mean two requests to some server. So are `upgrade`, `te` and
    /// `keep-alive`: they ask for what the response could not be read with.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body. `content-length` is written if there is one, and always with `POST`, `PUT` and `PATCH`.
    pub body: &'a [u8],
    /// Whether the connection is to be used again; otherwise `connection: close` is sent.
    pub keep_alive: bool,
}

impl Default for Request<'_> {
    /// `GET /` with an empty host, without headers and body, over a connection that is kept.
    fn default() -> Self {
        Self { method: "GET", target: "/", host: "", headers: &[], body: &[], keep_alive: true }
    }
}

impl Request<'_> {
    /// Writes head and body to `out`, and says how many bytes that took.
    ///
    /// # Errors
    /// [`EncodeError`]; what `out` holds then is of no use.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.write(self.body, out)
    }

    /// Writes the head alone, for a body that is sent from where it lies: right after it, and all of it.
    ///
    /// # Errors
    /// [`EncodeError`]; what `out` holds then is of no use.
    pub fn encode_head(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.write(&[], out)
    }

    /// Whether the response has no body whatever its head says: what a [`Receiver`](super::Receiver) is told.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    fn write(&self, body: &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let mut out = Writer { out, length: 0 };
        out.put(self.method.as_bytes());
        out.put(b" ");
        out.put(self.target.as_bytes());
        out.put(b" HTTP/1.1\r\n");
        out.header("host", self.host.as_bytes());
        for (name, value) in self.headers {
            out.header(name, value);
        }
        if !self.keep_alive {
            out.header("connection", b"close");
        }
        if !self.body.is_empty() || matches!(self.method, "POST" | "PUT" | "PATCH") {
            let mut digits = [0; 20];
            out.header("content-length", decimal(self.body.len(), &mut digits));
        }
        out.put(b"\r\n");
        out.put(body);
        if out.length > out.out.len() { Err(EncodeError::TooLong { needs: out.length }) } else { Ok(out.length) }
    }

    /// Nothing may end a line early or start another.
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
    /// It does not fit the buffer.
    TooLong {
        /// Bytes that it takes.
        needs: usize,
    },
    /// The method is no token, or `CONNECT`.
    BadMethod,
    /// The target is empty, or holds a space, a control character or a byte outside ASCII.
    BadTarget,
    /// The host holds a space, a control character or a byte outside ASCII.
    BadHost,
    /// A name is no token or one that the codec writes, or a value holds a control character.
    BadHeader {
        /// Which one.
        index: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { needs } => write!(f, "request: takes {needs} bytes, more than its buffer has"),
            Self::BadMethod => f.write_str("request: method is not one that can be sent"),
            Self::BadTarget => f.write_str("request: target is not visible ASCII"),
            Self::BadHost => f.write_str("request: host is not visible ASCII"),
            Self::BadHeader { index } => write!(f, "request: header {index} is not one that can be sent"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Writes what fits and counts all.
struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(to) = self.out.get_mut(self.length..).and_then(|rest| rest.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    fn header(&mut self, name: &str, value: &[u8]) {
        self.put(name.as_bytes());
        self.put(b": ");
        self.put(value);
        self.put(b"\r\n");
    }
}

/// The formatter would cost a microcontroller more than the rest of the request.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789".get(number % 10).copied().unwrap_or(b'0');
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(20_usize.saturating_sub(length)..).unwrap_or(&[])
}

fn is_own(name: &str) -> bool {
    let own = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "keep-alive"];
    own.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

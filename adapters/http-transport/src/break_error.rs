//! Why a connection or a stream ended early: [`BreakError`].

use std::error::Error;
use std::{fmt, io};

/// Why a connection, or a stream of HTTP/2, ended early. It shows the text of the HTTP library that noticed it.
#[derive(Debug)]
pub struct BreakError(Inner);

#[derive(Debug)]
enum Inner {
    Http1(hyper::Error),
    #[cfg(feature = "http2")]
    Http2(h2::Error),
}

impl BreakError {
    /// The operating system's or the stream's own error, if it is one of them.
    pub fn io(&self) -> Option<&io::Error> {
        match &self.0 {
            Inner::Http1(error) => causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()),
            #[cfg(feature = "http2")]
            Inner::Http2(error) => error.get_io(),
        }
    }

    /// HTTP/2's error code, such as 8 for `CANCEL`, if the server ended the stream or the connection with one. `None`
    /// over HTTP/1.1.
    pub fn http2_code(&self) -> Option<u32> {
        match &self.0 {
            Inner::Http1(_) => None,
            #[cfg(feature = "http2")]
            Inner::Http2(error) => error.reason().filter(|_| error.is_remote()).map(u32::from),
        }
    }

    /// Whether hyper takes this for a mistake of its user. Such an error is not a break.
    pub(super) fn is_user(&self) -> bool {
        match &self.0 {
            Inner::Http1(error) => error.is_user(),
            #[cfg(feature = "http2")]
            Inner::Http2(_) => false,
        }
    }
}

/// The causes of an error, the direct one first.
pub(super) fn causes(error: &hyper::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

impl From<hyper::Error> for BreakError {
    fn from(error: hyper::Error) -> Self {
        Self(Inner::Http1(error))
    }
}

#[cfg(feature = "http2")]
impl From<h2::Error> for BreakError {
    fn from(error: h2::Error) -> Self {
        Self(Inner::Http2(error))
    }
}

impl fmt::Display for BreakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Http1(error) => error.fmt(f),
            #[cfg(feature = "http2")]
            Inner::Http2(error) => error.fmt(f),
        }
    }
}

impl Error for BreakError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            // The message already includes the library's own text, but not the causes behind it.
            Inner::Http1(error) => error.source(),
            #[cfg(feature = "http2")]
            Inner::Http2(error) => error.get_io().and_then(Error::source),
        }
    }
}

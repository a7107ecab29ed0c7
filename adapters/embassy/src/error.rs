//! Why an attempt has no response: [`Error`].

use core::fmt;

use embedded_io_async::ErrorKind as Io;
use hedge_core::outcome::ErrorKind;
use hedge_core::policy::AttemptError;
use hedge_wire::http1::{DecodeError, EncodeError};

/// Why an attempt has no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent: it is not valid HTTP, or its head does not fit a buffer.
    BadRequest(EncodeError),
    /// No buffer became free in time, or the queue for buffers is full: as many attempts can wait as there are buffers.
    /// Nothing was sent, and the server is not blamed.
    NoBuffer,
    /// No connection could be made. Nothing was sent.
    Connect(Io),
    /// No connection was made in time. Nothing was sent.
    ConnectTimeout,
    /// The connection broke. The server may have received the request.
    Broken(Io),
    /// The server closed the connection before its response was complete.
    Closed,
    /// The response is larger than a buffer.
    TooLarge {
        /// The size of a buffer in bytes.
        capacity: usize,
    },
    /// The answer is not valid HTTP/1.1.
    Protocol(DecodeError),
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Closed | DecodeError::Truncated => Self::Closed,
            DecodeError::TooLarge { capacity } => Self::TooLarge { capacity },
            error => Self::Protocol(error),
        }
    }
}

impl AttemptError for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadRequest(_) => ErrorKind::BadRequest,
            Self::NoBuffer => ErrorKind::Local,
            Self::Connect(error) => connect_kind(*error),
            Self::ConnectTimeout => ErrorKind::ConnectTimeout,
            Self::Broken(Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe) => ErrorKind::Reset,
            Self::Broken(_) | Self::Closed => ErrorKind::Broken,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Protocol(_) => ErrorKind::Protocol,
        }
    }

    // An invalid request is found here, before it is sent, so no server is blamed for it.
    fn local(&self) -> bool {
        matches!(self.kind(), ErrorKind::Local | ErrorKind::BadRequest)
    }
}

/// The kind of a connect error. Stacks report little, so an error that is not clearly local is blamed on the server.
const fn connect_kind(error: Io) -> ErrorKind {
    match error {
        Io::OutOfMemory
        | Io::AddrInUse
        | Io::AddrNotAvailable
        | Io::InvalidInput
        | Io::PermissionDenied
        | Io::Unsupported => ErrorKind::Local,
        _ => ErrorKind::Refused,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(error) => error.fmt(f),
            Self::NoBuffer => f.write_str("no buffer became free in time"),
            Self::Connect(error) => write!(f, "cannot connect: {error:?}"),
            Self::ConnectTimeout => f.write_str("connect timeout"),
            Self::Broken(error) => write!(f, "connection broken: {error:?}"),
            Self::Closed => f.write_str("connection closed before the response was complete"),
            Self::TooLarge { capacity } => write!(f, "response larger than the buffer of {capacity} bytes"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_what_never_left_says_so() {
        for error in [Error::NoBuffer, Error::Connect(Io::ConnectionRefused), Error::ConnectTimeout] {
            assert!(error.never_left(), "{error}");
        }
        for error in [Error::Broken(Io::ConnectionReset), Error::Closed, Error::Protocol(DecodeError::BadHead)] {
            assert!(!error.never_left(), "{error}");
        }
    }

    #[test]
    fn h1_a_failure_of_this_client_is_not_blamed_on_the_server() {
        assert_eq!(Error::Connect(Io::ConnectionRefused).kind(), ErrorKind::Refused);
        assert_eq!(
            Error::Connect(Io::ConnectionReset).kind(),
            ErrorKind::Refused,
            "embassy-net's client reports nothing more precise"
        );
        assert_eq!(Error::Connect(Io::OutOfMemory).kind(), ErrorKind::Local);
        assert_eq!(Error::NoBuffer.kind(), ErrorKind::Local);
    }

    #[test]
    fn s7_a_local_failure_is_not_a_failure_of_the_server() {
        let here = [Error::NoBuffer, Error::Connect(Io::OutOfMemory), Error::BadRequest(EncodeError::BadMethod)];
        assert!(here.iter().all(AttemptError::local));
        let there = [Error::Connect(Io::ConnectionRefused), Error::ConnectTimeout, Error::Closed];
        assert!(!there.iter().any(AttemptError::local));
    }
}

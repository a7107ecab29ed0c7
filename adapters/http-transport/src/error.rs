//! The error of an attempt: [`HttpError`].

use std::error::Error;
use std::{fmt, io};

use hedge_core::outcome::{ErrorKind, Judgement, Verdict};
use hedge_core::policy::AttemptError;
use hedge_link::{ConnectError, Overcrowded};
use hedge_wire::http1::Fault;

use super::answer_filter::Wrong;
use super::break_error::{BreakError, causes};
#[cfg(feature = "_coding")]
use super::coding::CodingError;
use super::outgoing::{BodyProgress, RequestBodyError};

/// Why an attempt has no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The request cannot be sent to any server.
    BadRequest(BadRequest),
    /// No connection could be made, or not in time: the error says which step failed. The request never left.
    Connect(ConnectError),
    /// The request never left: a new connection closed before the request was written, or the server said that it has
    /// not processed the request (HTTP/2's `GOAWAY` and `REFUSED_STREAM`).
    Unsent(BreakError),
    /// The connection broke. The request may have left.
    Broken(BreakError),
    /// A connection that had been idle broke before a byte of the answer came ([C3](hedge_core::rules#C3)). This says
    /// nothing about the server. The request may have left, and it may not be sent twice.
    Stale(BreakError),
    /// The server reset the connection, or the stream of HTTP/2. The request may have left.
    Reset(BreakError),
    /// The answer is not HTTP, or contradicts itself. Its connection is closed. Over HTTP/2 its stream is reset, if that is
    /// enough.
    Protocol(ProtocolError),
    /// The body of the reply is longer than `max_body`.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request's own body failed while it was sent, or did not have the length that it announced.
    RequestBody(RequestBodyError),
    /// Every connection to the server has as many requests in flight as it takes, and none ended within the connect
    /// timeout. The request never left. HTTP/2 alone has this limit.
    NoRoom,
    /// Too much waits to be written on the connection ([C7](hedge_core::rules#C7)). The request never left.
    Overcrowded(Overcrowded),
    /// The body can be sent only once, and was sent already. The caller said that the call is idempotent, and it is
    /// not.
    BodyUsed,
}

impl HttpError {
    /// The error of a request that has left, or may have left.
    pub(super) fn sent(error: hyper::Error, body: Option<&BodyProgress>) -> Self {
        Received::of(error, body).into()
    }
}

impl From<Received> for HttpError {
    fn from(received: Received) -> Self {
        match received {
            Received::RequestBody(error) => Self::RequestBody(error),
            Received::Protocol(error) => Self::Protocol(error),
            Received::Reset(error) => Self::Reset(error),
            Received::Broken(error) => Self::Broken(error),
            #[cfg(feature = "_coding")]
            Received::TooLarge { limit } => Self::TooLarge { limit },
        }
    }
}

/// What an error of a connection means for the request on it.
pub(super) enum Received {
    RequestBody(RequestBodyError),
    Protocol(ProtocolError),
    Reset(BreakError),
    Broken(BreakError),
    /// The body is over its limit before it is decoded.
    #[cfg(feature = "_coding")]
    TooLarge {
        limit: usize,
    },
}

impl Received {
    /// A failure of the request's own body comes first: it ends the connection, so it is the cause of the other errors.
    pub(super) fn of(error: hyper::Error, body: Option<&BodyProgress>) -> Self {
        use io::ErrorKind as Io;

        if let Some(failure) = body.and_then(BodyProgress::take_failure) {
            return Self::RequestBody(failure);
        }
        let io_errors = causes(&error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        let (mut malformed, mut reset, mut fault) = (error.is_parse(), false, None);
        for io in io_errors {
            fault = fault.or_else(|| io.get_ref()?.downcast_ref::<Wrong>());
            malformed |= matches!(io.kind(), Io::InvalidData | Io::InvalidInput);
            reset |= matches!(io.kind(), Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe);
        }
        match fault {
            Some(Wrong(fault)) => Self::Protocol(ProtocolError::Wrong(*fault)),
            None if malformed => Self::Protocol(ProtocolError::Malformed(error.into())),
            None if reset => Self::Reset(error.into()),
            None => Self::Broken(error.into()),
        }
    }
}

/// What is wrong with an answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// What is wrong, and at which byte of the answer.
    Wrong(Fault),
    /// The parser of hyper or h2 refuses it.
    Malformed(BreakError),
    /// It has more header fields than [`max_headers`](crate::HttpSetup::max_headers), over HTTP/2.
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// The TLS handshake agreed on no version of HTTP that the channel speaks, or on another one each time. The request
    /// never left.
    NoVersion,
    /// Its body is not encoded as its `content-encoding` says.
    #[cfg(feature = "_coding")]
    Coding(CodingError),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(fault) => fault.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::TooManyHeaders { limit } => write!(f, "more than {limit} header fields"),
            Self::NoVersion => f.write_str("the tls handshake agreed on no version of http that the channel speaks"),
            #[cfg(feature = "_coding")]
            Self::Coding(error) => error.fmt(f),
        }
    }
}

impl Error for ProtocolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Wrong(_) | Self::TooManyHeaders { .. } | Self::NoVersion => None,
            Self::Malformed(error) => error.source(),
            #[cfg(feature = "_coding")]
            Self::Coding(_) => None,
        }
    }
}

impl AttemptError for HttpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadRequest(_) => ErrorKind::BadRequest,
            Self::Connect(error) => connect_kind(error),
            Self::Unsent(_) | Self::Broken(_) | Self::Stale(_) => ErrorKind::Broken,
            Self::Reset(_) => ErrorKind::Reset,
            Self::Protocol(_) => ErrorKind::Protocol,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::RequestBody(_) => ErrorKind::RequestBody,
            Self::NoRoom | Self::Overcrowded(_) => ErrorKind::Overcrowded,
            // `Fatal` would also end the attempt in flight that has the body.
            Self::BodyUsed => ErrorKind::Internal,
        }
    }

    fn never_left(&self) -> bool {
        match self {
            Self::Unsent(_) | Self::BadRequest(_) | Self::BodyUsed | Self::Protocol(ProtocolError::NoVersion) => true,
            _ => self.kind().never_left(),
        }
    }

    fn local(&self) -> bool {
        match self {
            Self::Stale(_) | Self::BadRequest(_) | Self::BodyUsed | Self::NoRoom | Self::Overcrowded(_) => true,
            // The server closed a new connection, so this is the server's failure.
            Self::Unsent(_) => false,
            _ => Judgement::new(Verdict::Wait, self.kind().into()).local,
        }
    }
}

/// `Refused` if the server, or the network on the way to it, prevented the connection. A TLS handshake that the server
/// fails is such a case too, since its checks include the handshake ([C6](hedge_core::rules#C6)).
fn connect_kind(error: &ConnectError) -> ErrorKind {
    match error {
        error if error.is_local() => ErrorKind::Local,
        ConnectError::Timeout(_) => ErrorKind::ConnectTimeout,
        _ => ErrorKind::Refused,
    }
}

impl From<BadRequest> for HttpError {
    fn from(reason: BadRequest) -> Self {
        Self::BadRequest(reason)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(reason) => write!(f, "bad request: {reason}"),
            Self::Connect(error) => error.fmt(f),
            Self::Unsent(error) => write!(f, "connection closed before the request was sent: {error}"),
            Self::Broken(error) => write!(f, "connection broken: {error}"),
            Self::Stale(error) => write!(f, "idle connection broken: {error}"),
            Self::Reset(error) => write!(f, "connection reset: {error}"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::TooLarge { limit } => write!(f, "body over the limit of {limit} bytes"),
            Self::RequestBody(error @ RequestBodyError::Failed(_)) => write!(f, "request body failed: {error}"),
            Self::RequestBody(error) => write!(f, "request body {error}"),
            Self::NoRoom => f.write_str("every connection has as many requests in flight as the server takes"),
            Self::Overcrowded(error) => error.fmt(f),
            Self::BodyUsed => f.write_str("the request's body can be sent only once, and was sent already"),
        }
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::BadRequest(_) | Self::TooLarge { .. } | Self::BodyUsed | Self::NoRoom | Self::Overcrowded(_) => None,
            Self::Unsent(error) | Self::Broken(error) | Self::Stale(error) | Self::Reset(error) => error.source(),
            Self::Protocol(error) => error.source(),
            Self::RequestBody(error) => error.source(),
        }
    }
}

/// Why a request cannot be sent to any server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadRequest {
    /// `CONNECT` asks for a tunnel, which this transport cannot make.
    Connect,
    /// The URI's scheme is not the channel's: `https` over TLS, else `http`.
    Scheme,
    /// The URI has no path.
    NoPath,
    /// The path is too long together with the path of the channel's URL.
    TooLong,
    /// The URI's authority is not valid as a `Host` header.
    Host,
    /// The request has too many headers, those of the channel included.
    TooManyHeaders,
    /// The header of this name does not agree with the body, or asks for something that this transport does not do.
    Header(&'static str),
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header(name) => return write!(f, "header {name}: {}", wrong_with(name)),
            Self::Connect => "method CONNECT asks for a tunnel, which this transport cannot make",
            Self::Scheme => "the uri's scheme is not the channel's, which is https over tls and else http",
            Self::NoPath => "the uri has no path",
            Self::TooLong => "the path is too long together with the path of the channel's url",
            Self::Host => "the uri's authority is not a valid host header",
            Self::TooManyHeaders => "too many headers, those of the channel included",
        })
    }
}

impl Error for BadRequest {}

pub(super) fn wrong_with(header: &str) -> &'static str {
    match header {
        "content-length" => "is not the length of the body",
        "transfer-encoding" => "only `chunked` can be sent, and only with a body of unknown length",
        "host" => "only one is allowed, in visible ascii",
        "connection" => "only `close`, `keep-alive` and `te` are allowed",
        "te" => "only `trailers` is allowed",
        _ => "asks for another use of the connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_link::{ConnectStep, Endpoint};

    #[test]
    fn h1_a_failure_of_this_client_is_not_the_servers() {
        let kind = |error: io::Error| {
            let to = Endpoint::Tcp(([10, 0, 0, 1], 80).into());
            HttpError::Connect(ConnectError::Dial { to, error }).kind()
        };
        assert_eq!(kind(io::ErrorKind::ConnectionRefused.into()), ErrorKind::Refused);
        assert_eq!(kind(io::ErrorKind::HostUnreachable.into()), ErrorKind::Refused);
        // No descriptor is free.
        assert_eq!(kind(io::Error::from_raw_os_error(24)), ErrorKind::Local);
        let host = "nowhere".into();
        let unknown = HttpError::Connect(ConnectError::Resolve { host, error: io::Error::other("no such name") });
        assert_eq!(unknown.kind(), ErrorKind::Local);
        assert!(unknown.local() && unknown.never_left(), "it may be retried all the same");
        let late = |step| HttpError::Connect(ConnectError::Timeout(step)).kind();
        assert_eq!(late(ConnectStep::Dial), ErrorKind::ConnectTimeout);
        assert_eq!(late(ConnectStep::Tls), ErrorKind::ConnectTimeout);
        assert_eq!(late(ConnectStep::Resolve), ErrorKind::Local, "the resolver's fault");
    }
}

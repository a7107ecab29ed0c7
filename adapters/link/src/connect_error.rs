//! The reason why a connection could not be made: [`ConnectError`].

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::{fmt, io};

use crate::endpoint::Endpoint;
use crate::io_error::duplicate;
#[cfg(feature = "_tls")]
use crate::tls::TlsError;

/// The reason why a connection could not be made. In this case, no part of a request has left this client.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the host could not be resolved.
    Resolve {
        /// The name.
        host: Arc<str>,
        /// The resolver's error.
        error: io::Error,
    },
    /// The name has no usable address: it has no address, or no address of the same family as the local address.
    NoAddress {
        /// The name.
        host: Arc<str>,
    },
    /// The socket could not be connected. If several addresses were tried, this is the last failure that is not
    /// [local](Self::is_local). If all failures are local, this is the first one.
    Dial {
        /// The address to which the socket should be connected.
        to: Endpoint,
        /// The operating system's error.
        error: io::Error,
    },
    /// The TLS handshake failed.
    #[cfg(feature = "_tls")]
    Tls {
        /// The address of the server.
        to: Endpoint,
        /// The reason of the failure.
        error: TlsError,
    },
    /// The time limit passed. The value is the step that was not finished.
    Timeout(ConnectStep),
}

/// A step of making a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectStep {
    /// The client connects the socket.
    Dial,
    /// The client resolves the name of the host.
    Resolve,
    /// Client and server do the TLS handshake.
    Tls,
}

/// The step that an attempt to connect has reached. Calls that wait for the connection can read it. All clones show the
/// same attempt.
#[derive(Clone, Debug, Default)]
pub struct ConnectProgress(Arc<AtomicU8>);

impl ConnectProgress {
    /// Makes the progress of an attempt that has reached no step yet. [`step`](Self::step) then returns
    /// [`Dial`](ConnectStep::Dial).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn reach(&self, step: ConnectStep) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    /// Returns the step that was reached last.
    #[must_use]
    pub fn step(&self) -> ConnectStep {
        match self.0.load(Ordering::Relaxed) {
            step if step == ConnectStep::Resolve as u8 => ConnectStep::Resolve,
            step if step == ConnectStep::Tls as u8 => ConnectStep::Tls,
            _ => ConnectStep::Dial,
        }
    }
}

impl ConnectError {
    /// Returns the step that failed.
    #[must_use]
    pub const fn step(&self) -> ConnectStep {
        match self {
            Self::Resolve { .. } | Self::NoAddress { .. } => ConnectStep::Resolve,
            Self::Dial { .. } => ConnectStep::Dial,
            #[cfg(feature = "_tls")]
            Self::Tls { .. } => ConnectStep::Tls,
            Self::Timeout(step) => *step,
        }
    }

    /// Returns whether the failure is local, so that it says nothing about the server ([H5](hedge_core::rules#H5)). For
    /// example, this client had no free file descriptor or buffer, the name does not exist, or the resolver did not
    /// answer.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::NoAddress { .. } => true,
            Self::Dial { to, error } => is_local(to, error),
            #[cfg(feature = "_tls")]
            Self::Tls { error, .. } => error.is_local(),
            Self::Timeout(step) => *step == ConnectStep::Resolve,
        }
    }

    /// Returns a copy of this error, for several callers that waited for one connection. An error of the operating
    /// system is copied unchanged. The copy of any other I/O error has only the kind and the text of that error.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Resolve { host, error } => Self::Resolve { host: Arc::clone(host), error: duplicate(error) },
            Self::NoAddress { host } => Self::NoAddress { host: Arc::clone(host) },
            Self::Dial { to, error } => Self::Dial { to: to.clone(), error: duplicate(error) },
            #[cfg(feature = "_tls")]
            Self::Tls { to, error } => Self::Tls { to: to.clone(), error: error.duplicate() },
            Self::Timeout(step) => Self::Timeout(*step),
        }
    }
}

/// Returns whether an error of connecting a socket is local. An error is not local if the server, or the network
/// between client and server, prevented the connection.
pub(crate) fn is_local(to: &Endpoint, error: &io::Error) -> bool {
    use io::ErrorKind as Io;

    match error.kind() {
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::TimedOut => false,
        // A server makes the file of its Unix socket when it starts. If the file is missing, the server does not run.
        Io::NotFound => !matches!(to, Endpoint::Unix(_)),
        _ => true,
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, error } => write!(f, "cannot resolve {host:?}: {error}"),
            Self::NoAddress { host } => write!(f, "cannot resolve {host:?}: no usable address"),
            Self::Dial { to, error } if error.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "connection refused by {to}")
            }
            Self::Dial { to, error } => write!(f, "cannot connect to {to}: {error}"),
            #[cfg(feature = "_tls")]
            Self::Tls { to, error } => write!(f, "tls handshake with {to}: {error}"),
            Self::Timeout(ConnectStep::Resolve) => f.write_str("connect timeout while the name was resolved"),
            Self::Timeout(ConnectStep::Dial) => f.write_str("connect timeout"),
            Self::Timeout(ConnectStep::Tls) => f.write_str("connect timeout in the tls handshake"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve { error, .. } | Self::Dial { error, .. } => error.source(),
            #[cfg(feature = "_tls")]
            Self::Tls { error, .. } => error.source(),
            Self::NoAddress { .. } | Self::Timeout(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn h1_a_failure_of_this_client_is_not_the_servers() {
        let tcp = Endpoint::Tcp(([127, 0, 0, 1], 1).into());
        let unix = Endpoint::Unix(Path::new("/run/app.sock").into());
        let dial = |to: &Endpoint, error| ConnectError::Dial { to: to.clone(), error }.is_local();
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable] {
            assert!(!dial(&tcp, kind.into()) && !dial(&unix, kind.into()));
        }
        // Error 24 means that no file descriptor is free.
        assert!(dial(&tcp, io::Error::from_raw_os_error(24)));
        assert!(!dial(&unix, io::ErrorKind::NotFound.into()), "the server is not there");
        let host = "nowhere".into();
        assert!(ConnectError::Resolve { host, error: io::Error::other("no such name") }.is_local());
        assert!(ConnectError::Timeout(ConnectStep::Resolve).is_local());
        assert!(!ConnectError::Timeout(ConnectStep::Dial).is_local());
    }
}

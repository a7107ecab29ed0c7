//! The reason why TLS failed: [`TlsError`].

use std::error::Error;
use std::{fmt, io};

use hedge_fleet::Address;
use rustls::CertificateError;

use crate::io_error::duplicate;

/// The reason why a TLS handshake failed, or why an encrypted connection broke later.
#[derive(Debug)]
pub struct TlsError {
    fault: TlsFault,
    error: io::Error,
}

/// The kind of a TLS failure: the check that failed, or the side that caused the failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TlsFault {
    /// The server's certificate does not lead to a trusted root.
    UnknownRoot,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is not valid for the name.
    WrongName,
    /// The server's certificate was revoked.
    Revoked,
    /// The server's certificate is not valid for another reason, or the server has not proved that it has the key.
    Certificate,
    /// The server's answer is not TLS.
    NotTls,
    /// The server refused with an alert, for example since it needs another version, or a certificate of the client.
    /// The text of the error contains the alert.
    Refused,
    /// Client and server have no version, cipher or protocol in common.
    Incompatible,
    /// The server violated the protocol TLS.
    Misbehaved,
    /// The connection was closed or broke.
    Broken,
    /// The host of the server cannot be the name in a certificate, and no other name was given.
    NoName,
    /// This client caused the failure.
    Local,
}

impl TlsError {
    pub(super) fn of(error: io::Error) -> Self {
        let fault = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => fault(error),
            None => TlsFault::Broken,
        };
        Self { fault, error }
    }

    pub(super) fn no_name(address: &Address) -> Self {
        Self { fault: TlsFault::NoName, error: io::Error::other(address.to_string()) }
    }

    /// Converts an I/O error that happened after the handshake. An error of TLS itself gets the kind
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted).
    pub(super) fn later(error: io::Error) -> io::Error {
        match error.get_ref() {
            Some(inner) if inner.is::<rustls::Error>() => {
                io::Error::new(io::ErrorKind::ConnectionAborted, Self::of(error))
            }
            _ => error,
        }
    }

    /// Returns a copy of this error. The copy contains the cause only as text, unless it is an error of the operating
    /// system.
    pub(crate) fn duplicate(&self) -> Self {
        Self { fault: self.fault, error: duplicate(&self.error) }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub const fn fault(&self) -> TlsFault {
        self.fault
    }

    /// Returns whether this client caused the failure, so that it says nothing about the server.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.fault, TlsFault::Local | TlsFault::NoName)
    }
}

fn fault(error: &rustls::Error) -> TlsFault {
    use rustls::Error as Tls;

    match error {
        Tls::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => TlsFault::UnknownRoot,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            CertificateError::Revoked => TlsFault::Revoked,
            _ => TlsFault::Certificate,
        },
        Tls::NoCertificatesPresented | Tls::UnsupportedNameType => TlsFault::Certificate,
        Tls::InvalidMessage(_) => TlsFault::NotTls,
        Tls::AlertReceived(_) => TlsFault::Refused,
        Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol => TlsFault::Incompatible,
        Tls::FailedToGetCurrentTime | Tls::FailedToGetRandomBytes | Tls::General(_) | Tls::HandshakeNotComplete => {
            TlsFault::Local
        }
        _ => TlsFault::Misbehaved,
    }
}

impl TlsFault {
    const fn text(self) -> &'static str {
        match self {
            Self::UnknownRoot => "the certificate leads to no trusted root",
            Self::Expired => "the certificate has expired",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::WrongName => "the certificate is for another name",
            Self::Revoked => "the certificate was revoked",
            Self::Certificate => "the certificate is not valid",
            Self::NotTls => "the server does not speak tls",
            Self::Refused => "the server refused",
            Self::Incompatible => "nothing in common with the server",
            Self::Misbehaved => "the server broke the rules of tls",
            Self::Broken => "the connection broke",
            Self::NoName => "the server has no name to check; set tls_name",
            Self::Local => "failed on this side",
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault.text(), self.error)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The message already includes the text of the error itself.
        self.error.source()
    }
}

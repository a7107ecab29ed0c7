//! Credentials of new connections ([C9](hedge_core::rules#C9)): [`Authenticator`].

use std::error::Error;
use std::fmt;

use hedge_fleet::Address;

/// Returns the credential for each new connection. The first request on the connection carries the credential. The
/// other requests wait until this request is written.
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the credential for a connection to this server. This method is called while the future of a call is
    /// polled, so it must not block. If a token must be fetched, fetch it in the background.
    ///
    /// # Errors
    /// Returns an error if there is no credential now. Then the call fails, and no part of its request has left this
    /// client. The next call asks again.
    fn credential(&self, to: &Address) -> Result<Credential, CredentialError>;
}

/// The reason why there is no credential.
pub type CredentialError = Box<dyn Error + Send + Sync>;

/// A secret that proves to a server who the client is, such as a token. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Box<str>);

impl Credential {
    /// Makes a credential. `text` is the credential in the form in which the protocol carries it.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text of the credential.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

/// The error of a call on a connection whose credential the server has refused. The transport closes the connection and
/// returns this error to the call. The transport does not send the call to the same server again, since the server
/// would refuse another connection too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CredentialRefused {
    /// The server that refused the credential.
    pub server: Address,
    /// The reason that the server gave.
    pub reason: Box<str>,
}

impl fmt::Display for CredentialRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {} refused the credential: {}", self.server, self.reason)
    }
}

impl Error for CredentialRefused {}

//! What the builder does with the HTTP transport when it makes the channel: [`Hooks`].

use std::fmt;

use ::http::uri::PathAndQuery;
use hedge_core::drive::SendTransport;
use hedge_fleet::Observers;
#[cfg(feature = "_tls")]
use hedge_link::TlsConfigError;
use hedge_link::{BoxResolve, Connector};

use crate::channel::Keep;
use crate::checks::CheckFn;
use crate::origin::{Origin, UrlError};
use crate::protocol_choice::ProtocolChoice;
use crate::stream::Attach;

/// What the builder does with the HTTP transport when it makes the channel. Other transports need none of this.
pub(crate) struct Hooks<R, T: SendTransport<Request: Sized>> {
    pub(crate) attach: Attach<T>,
    /// Applies how connections are made and which protocol they speak, once all settings are known. The server is that of
    /// a URL, if there is one.
    pub(crate) connect: Connect<R, T>,
    /// A check that asks for a path. It comes after `connect`.
    pub(crate) check: fn(&T, PathAndQuery) -> CheckFn,
    /// What resolves names.
    pub(crate) resolver: fn(&T) -> BoxResolve,
    /// Takes the observers of the channel.
    pub(crate) observe: fn(&T, &Observers),
    /// Restores the parts of a request that interceptors may not change.
    pub(crate) keep: Keep<T>,
}

type Connect<R, T> = fn(&mut T, Option<Origin>, ProtocolChoice) -> Result<Connector<R>, ConnectOptionError>;

/// Why connections cannot be made as a program asks.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ConnectOptionError {
    /// The URL of the server is not valid, or needs a feature.
    Url(UrlError),
    /// Settings of TLS that are not valid.
    #[cfg(feature = "_tls")]
    Tls(TlsConfigError),
    /// The name to check was set, and the channel does not use TLS.
    TlsNameAlone,
}

impl fmt::Display for ConnectOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "url of the server: {error}"),
            #[cfg(feature = "_tls")]
            Self::Tls(error) => write!(f, "tls: {error}"),
            Self::TlsNameAlone => f.write_str("tls_name without tls: add .tls(…), or name the server by https://"),
        }
    }
}

impl std::error::Error for ConnectOptionError {}

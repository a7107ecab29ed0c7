//! How a channel's connections are made: [`ConnectOptions`].

use std::fmt;
use std::sync::Arc;

use hedge_fleet::Address;
use hedge_link::{BoxResolve, Connector, Runtime, SocketOptions};
#[cfg(feature = "_tls")]
use hedge_link::{Tls, TlsConfigError, TlsName};

use super::error::BadRequest;
use super::place::Place;
#[cfg(feature = "_tls")]
use super::versions::HttpVersions;
use crate::origin::{Origin, UrlError};
use crate::protocol_choice::ProtocolChoice;

/// How the connections of a channel are made.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// What resolves the names of servers.
    pub resolver: BoxResolve,
    /// The options of sockets.
    pub socket: SocketOptions,
    /// Encrypts the connections. `None`: they are encrypted only if the server's URL begins with `https://`.
    #[cfg(feature = "_tls")]
    pub tls: Option<Tls>,
    /// The name that is checked and sent to every server. `None`: the host of the URL, else the server's own host.
    pub tls_name: Option<Box<str>>,
    /// The URL of the server, once the channel is made.
    pub(super) origin: Option<Origin>,
}

impl ConnectOptions {
    /// A connector with these options, to the server of a URL if there is one.
    pub(super) fn connector<R: Runtime>(
        &self,
        runtime: &R,
        origin: Option<&Origin>,
        choice: ProtocolChoice,
    ) -> Result<Connector<R>, ConnectOptionError> {
        let connector = Connector::new(runtime.clone()).resolver(self.resolver.clone());
        self.encrypted(connector.socket_options(self.socket.clone()), origin, choice)
    }

    #[cfg(feature = "_tls")]
    fn encrypted<R: Runtime>(
        &self,
        connector: Connector<R>,
        origin: Option<&Origin>,
        choice: ProtocolChoice,
    ) -> Result<Connector<R>, ConnectOptionError> {
        let tls = match (&self.tls, origin) {
            (Some(_), Some(origin)) if !origin.is_https => return Err(ConnectOptionError::Url(UrlError::Clear)),
            (Some(tls), _) => tls.clone(),
            (None, Some(origin)) if origin.is_https => Tls::system().map_err(ConnectOptionError::Tls)?,
            (None, _) if self.tls_name.is_some() => return Err(ConnectOptionError::TlsNameAlone),
            (None, _) => return Ok(connector),
        };
        let name = self.tls_name.as_deref().or(origin.map(|origin| &*origin.name));
        let name = name.map(TlsName::new).transpose().map_err(ConnectOptionError::Tls)?;
        Ok(connector.tls(&tls, name, HttpVersions::of(choice, true).alpn()))
    }

    #[cfg(not(feature = "_tls"))]
    fn encrypted<R: Runtime>(
        &self,
        connector: Connector<R>,
        origin: Option<&Origin>,
        _: ProtocolChoice,
    ) -> Result<Connector<R>, ConnectOptionError> {
        if origin.is_some_and(|origin| origin.is_https) {
            Err(ConnectOptionError::Url(UrlError::NoTls))
        } else {
            Ok(connector)
        }
    }

    /// What a server's place means for the head of a request.
    pub(super) fn place(&self, address: &Address, is_tls: bool) -> Result<Place, BadRequest> {
        match &self.origin {
            Some(origin) if self.tls_name.is_none() => {
                Ok(Place::with_host(origin.host.clone(), origin.base.as_deref().map(Arc::from), is_tls))
            }
            origin => {
                let place = Place::of(address, is_tls, self.tls_name.as_deref())?;
                let base = origin.as_ref().and_then(|origin| origin.base.as_deref()).map(Arc::from);
                Ok(Place { base, ..place })
            }
        }
    }
}

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

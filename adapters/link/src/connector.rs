//! Makes connections to servers: [`Connector`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hedge_core::time::Instant;
use hedge_fleet::Address;

use crate::connect_error::{ConnectError, ConnectProgress, ConnectStep};
use crate::connection_info::ConnectionInfo;
use crate::dial::Dialed;
use crate::endpoint::Endpoint;
use crate::key::{ConnectionKey, KeyPart};
use crate::race::{order, race};
use crate::resolve::{BoxResolve, Resolve};
use crate::runtime::{Runtime, before, refuse_self};
use crate::socket_options::SocketOptions;
use crate::stream::Stream;
#[cfg(feature = "_tls")]
use crate::tls::{Tls, TlsIdentity, TlsName};

/// Makes connections to servers. A connector resolves names, tries their addresses ([C5](hedge_core::rules#C5)), sets
/// the socket options ([C8](hedge_core::rules#C8)) and does the TLS handshake ([C6](hedge_core::rules#C6)). A clone has
/// the same settings.
///
/// # Cost
/// A connection to an IP address or a Unix socket allocates only what the runtime allocates for it. A connection to a
/// name allocates more: for example, once for each address that is tried. A TLS connection allocates some kilobytes for
/// its state.
#[derive(Clone, Debug)]
pub struct Connector<R> {
    runtime: R,
    resolver: BoxResolve,
    options: Arc<SocketOptions>,
    #[cfg(feature = "_tls")]
    tls: Option<TlsIdentity>,
}

/// A new connection.
#[derive(Debug)]
pub struct Connected<Io> {
    /// The connection.
    pub io: Stream<Io>,
    /// The addresses of the connection, and the result of the TLS handshake.
    pub info: ConnectionInfo,
}

impl<R: Runtime> Connector<R> {
    /// Makes a connector without TLS, with the resolver of the operating system and the default socket options.
    pub fn new(runtime: R) -> Self {
        Self {
            runtime,
            resolver: BoxResolve::default(),
            options: Arc::default(),
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }

    /// Returns this connector with another resolver.
    #[must_use]
    pub fn resolver(mut self, resolver: BoxResolve) -> Self {
        self.resolver = resolver;
        self
    }

    /// Returns this connector with other socket options.
    #[must_use]
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.options = Arc::new(options);
        self
    }

    /// Returns this connector with TLS. `name` is sent as SNI, and the server's certificate must be valid for it. If
    /// `name` is `None`, the host of the server's address is used, or `localhost` for a Unix socket. `alpn` is the list
    /// of protocols that the client supports, beginning with the preferred one.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls(mut self, tls: &Tls, name: Option<TlsName>, alpn: &[&[u8]]) -> Self {
        self.tls = Some(TlsIdentity::new(tls, name, alpn));
        self
    }

    /// Adds the settings of this connector to the key of a channel, and returns the key. A setting that has its default
    /// value is not added.
    #[must_use]
    pub fn add_to(&self, mut key: ConnectionKey) -> ConnectionKey {
        if *self.options != SocketOptions::new() {
            key = key.with("socket", KeyPart::Socket(Arc::clone(&self.options)));
        }
        if self.resolver != BoxResolve::default() {
            key = key.with("resolver", KeyPart::Resolver(self.resolver.clone()));
        }
        #[cfg(feature = "_tls")]
        if let Some(tls) = &self.tls {
            let (settings, name) = tls.compared();
            key = key.with("tls", KeyPart::Tls(settings, name));
        }
        key
    }

    /// Returns whether connections are encrypted.
    pub const fn is_tls(&self) -> bool {
        #[cfg(feature = "_tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "_tls"))]
        false
    }

    /// Makes a connection to a server. The connection and the TLS handshake must be finished at the instant `by`.
    /// `None` means that there is no time limit.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(&self, to: &Address, by: Option<Instant>) -> Result<Connected<R::Io>, ConnectError> {
        self.connect_with(to, by, &ConnectProgress::new()).await
    }

    /// Makes a connection like [`connect`](Self::connect). In addition, `progress` shows the step that was reached.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect_with(
        &self,
        to: &Address,
        by: Option<Instant>,
        progress: &ConnectProgress,
    ) -> Result<Connected<R::Io>, ConnectError> {
        progress.reach(if matches!(to, Address::Name { .. }) { ConnectStep::Resolve } else { ConnectStep::Dial });
        let (remote, Dialed { io, addresses }) = match to {
            Address::Socket(address) => self.dial_one(Endpoint::Tcp(*address), by).await?,
            Address::Unix(path) => self.dial_one(Endpoint::Unix(Arc::clone(path)), by).await?,
            // The future is boxed, so that it does not make the future of each call larger.
            Address::Name { host, port } => Box::pin(self.dial_name(host, *port, by, progress)).await?,
        };
        let info = ConnectionInfo { remote, local: addresses.map(|(local, _)| local), tls: None };
        #[cfg(feature = "_tls")]
        if let Some(tls) = &self.tls {
            progress.reach(ConnectStep::Tls);
            // The future is boxed, since it holds the whole state of TLS.
            let handshake = Box::pin(tls.shake_hands(to, io));
            return match in_time(&self.runtime, by, ConnectStep::Tls, handshake).await? {
                Ok((io, tls)) => Ok(Connected { io: Stream::tls(io), info: ConnectionInfo { tls: Some(tls), ..info } }),
                Err(error) => Err(ConnectError::Tls { to: info.remote, error }),
            };
        }
        Ok(Connected { io: Stream::plain(io), info })
    }

    async fn dial_one(&self, to: Endpoint, by: Option<Instant>) -> Result<(Endpoint, Dialed<R::Io>), ConnectError> {
        match in_time(&self.runtime, by, ConnectStep::Dial, self.dial(&to)).await? {
            Ok(dialed) => Ok((to, dialed)),
            Err(error) => Err(ConnectError::Dial { to, error }),
        }
    }

    async fn dial_name(
        &self,
        host: &Arc<str>,
        port: u16,
        by: Option<Instant>,
        progress: &ConnectProgress,
    ) -> Result<(Endpoint, Dialed<R::Io>), ConnectError> {
        let resolved = in_time(&self.runtime, by, ConnectStep::Resolve, self.resolver.resolve(host, port)).await?;
        let addresses = resolved.map_err(|error| ConnectError::Resolve { host: Arc::clone(host), error })?;
        progress.reach(ConnectStep::Dial);
        let addresses = order(&addresses, self.options.local_address);
        let dial = |to: Endpoint| async move { self.dial(&to).await };
        let raced = in_time(&self.runtime, by, ConnectStep::Dial, race(&self.runtime, addresses, dial)).await?;
        raced.map_err(|failure| match failure {
            Some((to, error)) => ConnectError::Dial { to, error },
            None => ConnectError::NoAddress { host: Arc::clone(host) },
        })
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Dialed<R::Io>> {
        let dialed = self.runtime.dial(to, &self.options).await?;
        let itself = |(local, remote): &(SocketAddr, SocketAddr)| refuse_self(*local, *remote);
        dialed.addresses.as_ref().map_or(Ok(()), itself)?;
        Ok(dialed)
    }
}

async fn in_time<R: Runtime, F: Future>(
    runtime: &R,
    by: Option<Instant>,
    step: ConnectStep,
    future: F,
) -> Result<F::Output, ConnectError> {
    before(runtime, by, future).await.ok_or(ConnectError::Timeout(step))
}

//! TLS with the crate rustls ([C6](hedge_core::rules#C6)): the settings, [`Tls`], and the handshake.

mod builder;
mod error;
mod io;
mod unverified;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use futures_rustls::TlsConnector;
use hedge_fleet::Address;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

use crate::connection_info::{TlsInfo, TlsVersion};

pub use builder::{TlsBuilder, TlsConfigError};
pub use error::{TlsError, TlsFault};
use io::FuturesIo;
pub(crate) use io::TlsStream;
pub use unverified::DangerousNoVerification;

/// The settings of TLS: which servers are trusted, and which certificate the client has ([C6](hedge_core::rules#C6)). A
/// clone has the same settings and resumes the same sessions. Two values are equal only if one is a clone of the other.
///
/// Versions 1.2 and 1.3 of TLS are used. Early data is never used.
///
/// ```
/// use hedge_link::{Tls, TlsConfigError};
///
/// fn client(root: &[u8], chain: &[u8], key: &[u8]) -> Result<Tls, TlsConfigError> {
///     Tls::builder().root_pem(root).client_certificate_pem(chain, key).build()
/// }
/// # assert!(client(b"", b"", b"").is_err());
/// ```
///
/// # Cost
/// The sessions of at most 256 servers are kept.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Returns settings that trust the roots of the operating system. The first successful call in a process reads the
    /// roots from files, which takes some milliseconds. All calls return the same settings. So channels with these
    /// settings can share sessions and connections.
    ///
    /// # Errors
    /// See [`TlsConfigError`].
    pub fn system() -> Result<Self, TlsConfigError> {
        static SYSTEM: OnceLock<Tls> = OnceLock::new();

        match SYSTEM.get() {
            Some(tls) => Ok(tls.clone()),
            None => Self::builder().build().map(|tls| SYSTEM.get_or_init(|| tls).clone()),
        }
    }

    /// Makes a builder for other settings.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::new()
    }

    /// Makes settings from a configuration of rustls, for options that the builder does not have. The ALPN protocols
    /// are replaced by those of the channel, and early data is switched off.
    #[must_use]
    pub const fn from_config(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

impl Hash for Tls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// The name that is sent to a server (SNI) and that its certificate must have: a host name or an IP address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TlsName(ServerName<'static>);

impl TlsName {
    /// Parses a name.
    ///
    /// # Errors
    /// Returns [`TlsConfigError::Name`] if the text is neither a host name nor an IP address.
    pub fn new(name: &str) -> Result<Self, TlsConfigError> {
        let parsed = ServerName::try_from(name).map_err(|_| TlsConfigError::Name { name: name.into() })?;
        Ok(Self(parsed.to_owned()))
    }

    /// Returns the host of a server, or `localhost` for a Unix socket. Returns `None` if a certificate cannot have this
    /// name.
    fn of(address: &Address) -> Option<Self> {
        match address {
            Address::Socket(address) => Some(Self(address.ip().into())),
            Address::Name { host, .. } => DnsName::try_from(&**host).ok().map(|name| Self(name.to_owned().into())),
            Address::Unix(_) => DnsName::try_from("localhost").ok().map(|name| Self(name.into())),
        }
    }
}

/// The TLS settings of a [`Connector`](crate::Connector), with the name and the protocols that are sent to the server.
#[derive(Clone)]
pub(crate) struct TlsIdentity {
    /// The settings that the program gave.
    tls: Tls,
    connector: TlsConnector,
    name: Option<TlsName>,
}

impl TlsIdentity {
    pub(crate) fn new(tls: &Tls, name: Option<TlsName>, alpn: &[&[u8]]) -> Self {
        // The copy and the original share their sessions.
        let mut config = ClientConfig::clone(&tls.0);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.enable_early_data = false;
        Self { tls: tls.clone(), connector: TlsConnector::from(Arc::new(config)), name }
    }

    /// Returns the values by which these settings are compared with others ([C4](hedge_core::rules#C4)).
    pub(crate) fn compared(&self) -> (Tls, Option<TlsName>) {
        (self.tls.clone(), self.name.clone())
    }

    /// Does the TLS handshake on a connection to this server. Returns the encrypted connection.
    pub(crate) async fn shake_hands<Io>(&self, to: &Address, io: Io) -> Result<(TlsStream<Io>, TlsInfo), TlsError>
    where
        Io: hyper::rt::Read + hyper::rt::Write + Unpin,
    {
        let TlsName(name) = self.name.clone().or_else(|| TlsName::of(to)).ok_or_else(|| TlsError::no_name(to))?;
        let stream = self.connector.connect(name, FuturesIo::new(io)).await.map_err(TlsError::of)?;
        let info = agreed(stream.get_ref().1);
        Ok((TlsStream::new(stream), info))
    }
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Returns the result of a handshake.
fn agreed(session: &rustls::ClientConnection) -> TlsInfo {
    TlsInfo {
        // The settings allow only the versions 1.2 and 1.3.
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        alpn: session.alpn_protocol().map(Arc::from),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

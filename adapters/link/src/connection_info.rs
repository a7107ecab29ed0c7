//! Facts about a connection: [`ConnectionInfo`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::endpoint::Endpoint;

/// Facts about a connection ([W2](hedge_core::rules#W2)): its addresses, and the result of the TLS handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The remote address. If the server's address is a name, this is the IP address that the connection was made to.
    pub remote: Endpoint,
    /// The local address. A Unix socket has none.
    pub local: Option<SocketAddr>,
    /// The result of the TLS handshake. `None` if the connection is not encrypted.
    pub tls: Option<TlsInfo>,
}

impl ConnectionInfo {
    /// Returns whether client and server agreed on HTTP/2 in the TLS handshake.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.tls.as_ref().and_then(|tls| tls.alpn.as_deref()) == Some(b"h2")
    }
}

/// The result of a TLS handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of TLS.
    pub version: TlsVersion,
    /// The protocol that the server chose by ALPN, such as `http/1.1`. `None` if the server chose no protocol.
    pub alpn: Option<Arc<[u8]>>,
    /// Whether the handshake resumed an earlier session. A resumed session needs no exchange of certificates.
    pub resumed: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "tls 1.2",
            Self::V1_3 => "tls 1.3",
        })
    }
}

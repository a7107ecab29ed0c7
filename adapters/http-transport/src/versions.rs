//! Which versions of HTTP a transport speaks: [`HttpVersions`].

#[cfg(feature = "http2")]
use hedge_fleet::Protocol;
use hedge_link::ConnectionKey;

use crate::protocol_choice::ProtocolChoice;

/// Which versions of HTTP a transport speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HttpVersions {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone: by prior knowledge in clear, by ALPN over TLS.
    #[cfg(feature = "http2")]
    Http2,
    /// The server chooses by ALPN, over TLS.
    #[cfg(feature = "http2")]
    Negotiated,
}

impl HttpVersions {
    /// The versions for a choice. The connection types `pooled` and `short` are HTTP/1.1's, so to name one of them
    /// excludes HTTP/2.
    #[cfg(feature = "http2")]
    pub(super) fn of(choice: ProtocolChoice, is_tls: bool) -> Self {
        if choice.protocol == Protocol::H2 {
            Self::Http2
        } else if is_tls && !choice.is_type_named {
            Self::Negotiated
        } else {
            Self::Http1
        }
    }

    #[cfg(not(feature = "http2"))]
    pub(super) const fn of(_: ProtocolChoice, _: bool) -> Self {
        Self::Http1
    }

    /// Adds the versions to what channels that share connections have in common. HTTP/1.1 alone adds nothing.
    pub(super) fn add_to(self, key: ConnectionKey) -> ConnectionKey {
        match self {
            Self::Http1 => key,
            #[cfg(feature = "http2")]
            Self::Http2 => key.with("versions", "h2"),
            #[cfg(feature = "http2")]
            Self::Negotiated => key.with("versions", "h2 http/1.1"),
        }
    }

    /// The names for ALPN, the preferred one first.
    #[cfg(feature = "_tls")]
    pub(super) const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[b"http/1.1"],
            #[cfg(feature = "http2")]
            Self::Http2 => &[b"h2"],
            #[cfg(feature = "http2")]
            Self::Negotiated => &[b"h2", b"http/1.1"],
        }
    }
}

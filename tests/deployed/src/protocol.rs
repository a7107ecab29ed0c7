//! What a run speaks, and the three servers that it speaks with: [`Protocol`].

use clap::ValueEnum;
use http::Version;

use crate::server::Kind;

/// What a run speaks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Protocol {
    /// HTTP/1.1 in clear text.
    Http1,
    /// HTTP/1.1 over TLS.
    Http1Tls,
    /// HTTP/2 in clear text, by prior knowledge.
    Http2,
    /// HTTP/2 over TLS, by ALPN.
    Http2Tls,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::Http2, Self::Http2Tls];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http1Tls => "http/1.1 tls",
            Self::Http2 => "http/2",
            Self::Http2Tls => "http/2 tls",
        }
    }

    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }

    pub(crate) const fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    /// The version that every answer must have.
    pub(crate) const fn version(self) -> Version {
        if self.is_http2() { Version::HTTP_2 } else { Version::HTTP_11 }
    }

    /// The three servers. Only HTTP/1.1 in clear text has the one that misbehaves.
    pub(crate) const fn servers(self) -> [Kind; 3] {
        match self {
            Self::Http1 => [Kind::Nginx, Kind::Haproxy, Kind::Misbehaving],
            Self::Http1Tls => [Kind::Nginx, Kind::Haproxy, Kind::Nginx],
            Self::Http2 | Self::Http2Tls => [Kind::Nginx, Kind::Haproxy, Kind::Nghttpd],
        }
    }
}

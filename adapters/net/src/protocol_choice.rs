//! The protocol that a program has chosen: [`ProtocolChoice`].

use hedge_fleet::{ConnectionType, Protocol};

/// The protocol of a channel, and how its calls share connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtocolChoice {
    #[cfg_attr(not(feature = "http2"), allow(dead_code, reason = "there is one protocol"))]
    pub(crate) protocol: Protocol,
    pub(crate) connection_type: ConnectionType,
    /// The connection type was named, and is not a default.
    #[cfg_attr(not(feature = "http2"), allow(dead_code, reason = "there is one protocol"))]
    pub(crate) is_type_named: bool,
}

impl ProtocolChoice {
    /// The protocols of the HTTP transport.
    #[cfg(feature = "http2")]
    pub(crate) const ALL: &'static [Protocol] = &[Protocol::HTTP, Protocol::H2];
    /// The protocols of the HTTP transport.
    #[cfg(not(feature = "http2"))]
    pub(crate) const ALL: &'static [Protocol] = &[Protocol::HTTP];
}

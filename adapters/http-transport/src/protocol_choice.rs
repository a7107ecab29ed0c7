//! The protocol that a program has chosen: [`ProtocolChoice`].

use hedge_fleet::{ConnectionType, Protocol};

/// The protocol of a channel, and how its calls share connections.
#[derive(Clone, Copy, Debug)]
pub struct ProtocolChoice {
    /// The protocol.
    pub protocol: Protocol,
    /// How calls share connections.
    pub connection_type: ConnectionType,
    /// Whether the program named the connection type, so that it is not a default.
    pub is_type_named: bool,
}

impl ProtocolChoice {
    /// The protocols of the HTTP transport.
    #[cfg(feature = "http2")]
    pub const ALL: &'static [Protocol] = &[Protocol::HTTP, Protocol::H2];
    /// The protocols of the HTTP transport.
    #[cfg(not(feature = "http2"))]
    pub const ALL: &'static [Protocol] = &[Protocol::HTTP];
}

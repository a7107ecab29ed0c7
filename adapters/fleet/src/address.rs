//! The address of a server: [`Address`], and the grammar of `host:port`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// The address of a server. "Another server" means another address.
///
/// The order is the canonical one ([S7](hedge_core::rules#S7)): first IPv4 sockets, then IPv6 sockets, then names;
/// within each, by host, then by port. The text forms are `127.0.0.1:80`, `[::1]:80` and `name:80`. Parsing ignores
/// blanks around the host and the port, and makes names lower case.
///
/// The runtime resolves a name each time a connection is made, and uses the first of its addresses that connects. So a
/// name counts as one server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Address {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A host name and a port.
    Name {
        /// The name, in lower case.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

/// The longest name that DNS can carry.
const MAX_NAME: usize = 253;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains([',', ';']) {
            return Err(AddressError::Several);
        }
        let (host, port) = text.trim().rsplit_once(':').ok_or(AddressError::NoPort)?;
        let (host, port) = (host.trim(), port.trim());
        if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let ip: Ipv6Addr = v6.parse().map_err(|_| AddressError::Ipv6)?;
            return Ok(Self::Socket(SocketAddr::new(ip.into(), parse_port(port)?)));
        }
        if host.contains(['[', ']', ':']) {
            return Err(AddressError::Ipv6);
        }
        let port = parse_port(port)?;
        // As in a URL, a host whose last label is a number means an IPv4 address. So a mistyped IPv4 address is never
        // looked up as a name.
        let last = host.rsplit('.').next().unwrap_or(host);
        if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
            let ip: Ipv4Addr = host.parse().map_err(|_| AddressError::Ipv4)?;
            return Ok(Self::Socket(SocketAddr::new(ip.into(), port)));
        }
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if host.is_empty() || host.len() > MAX_NAME || host.starts_with('.') || !host.bytes().all(valid) {
            return Err(AddressError::Host);
        }
        Ok(Self::Name { host: host.to_ascii_lowercase().into(), port })
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    if text.is_empty() {
        return Err(AddressError::NoPort);
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    if negative { Err(AddressError::PortRange) } else { digits.parse().map_err(|_| AddressError::PortRange) }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// What is wrong with an [`Address`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no port.
    NoPort,
    /// The port is not a number.
    Port,
    /// The port is not in 0 to 65535.
    PortRange,
    /// It looks like an IPv4 address but is not one.
    Ipv4,
    /// It looks like an IPv6 address but is not one, or has no brackets.
    Ipv6,
    /// The host name is empty, too long, begins with a dot, or has a character that names may not have.
    Host,
    /// It has a comma or a semicolon, so it seems to be several addresses.
    Several,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "port missing; write host:port",
            Self::Port => "port is not a number; it must be in [0, 65535]",
            Self::PortRange => "port out of range; it must be in [0, 65535]",
            Self::Ipv4 => "not an ipv4 address; write one such as 127.0.0.1:80",
            Self::Ipv6 => "not an ipv6 address in brackets; write one such as [::1]:80",
            Self::Host => "not a host name; write letters, digits, '-', '_' and '.', as in example.com:80",
            Self::Several => "more than one address; write list://host:port,host:port",
        })
    }
}

impl std::error::Error for AddressError {}

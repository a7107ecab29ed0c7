//! The address of a server: [`Address`], and the grammar of `host:port`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// The address of a server. In the docs, "another server" means a server at another address.
///
/// Addresses have a canonical order ([S7](hedge_core::rules#S7)): first IPv4 sockets, then IPv6 sockets, then names,
/// then Unix sockets. Each of these groups is sorted by host or path, and then by port. The text forms are
/// `127.0.0.1:80`, `[::1]:80`, `name:80` and `unix:/run/app.sock`. Parsing ignores blanks around the host and the port,
/// and converts names to lower case.
///
/// A name is resolved each time a connection is made. The first of its IP addresses that accepts the connection is
/// used. So a name counts as one server, even if it has several IP addresses.
///
/// In text, `unix:` begins the path of a Unix socket, never a host name. The URL form `unix:///run/app.sock` means the
/// same as `unix:/run/app.sock`. A path with a comma, a semicolon or a blank cannot be written in a list. For such a
/// path, make an [`Address::Unix`] from it in code.
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
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

/// The longest path of a Unix socket on Linux, in bytes. On other systems the limit is a little lower.
const MAX_PATH: usize = 107;

/// The length of the longest name that DNS can transport, in bytes.
const MAX_NAME: usize = 253;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains([',', ';']) {
            return Err(AddressError::Several);
        }
        if let Some(path) = text.trim().strip_prefix("unix:") {
            return parse_path(path);
        }
        if text.contains("://") {
            return Err(AddressError::Url);
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
        // As in a URL, a host must be an IPv4 address if its last label is a number. So a mistyped IPv4 address is
        // never looked up as a name.
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

/// Parses the path of a Unix socket. `text` is the part after `unix:`.
fn parse_path(text: &str) -> Result<Address, AddressError> {
    let path = match text.strip_prefix("//") {
        // A URL has an authority between `//` and the path. Only an empty authority makes sense here.
        Some(path) if !path.starts_with('/') => return Err(AddressError::Path),
        Some(path) => path,
        None => text,
    };
    let valid = |byte: u8| byte != 0 && !byte.is_ascii_whitespace();
    if path.is_empty() || path.len() > MAX_PATH || !path.bytes().all(valid) {
        return Err(AddressError::Path);
    }
    Ok(Address::Unix(Path::new(path).into()))
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
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The reason why a text is not an [`Address`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// The text has no port.
    NoPort,
    /// The port is not a number.
    Port,
    /// The port is not in the range 0 to 65535.
    PortRange,
    /// The last label of the host is a number, so the host should be an IPv4 address, but it is not one.
    Ipv4,
    /// The host has brackets or colons like an IPv6 address, but it is not an IPv6 address in brackets.
    Ipv6,
    /// The host name is empty or longer than 253 bytes, begins with a dot, or has a character that names may not have.
    Host,
    /// The path of a Unix socket is empty, too long, or has a blank or a NUL.
    Path,
    /// The text has a comma or a semicolon, so it probably contains several addresses.
    Several,
    /// The text is a URL.
    Url,
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
            Self::Path => "not the path of a unix socket of at most 107 bytes; write one such as unix:/run/app.sock",
            Self::Url => "a URL is not the address of a server; write host:port",
            Self::Several => "more than one address; write list://host:port,host:port",
        })
    }
}

impl std::error::Error for AddressError {}

//! Lists of servers as text: [`Server`] and [`parse_servers`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::address::{Address, AddressError};

/// A server: its address, and a tag that distinguishes it from other servers at the same address.
///
/// Its text form is `address tag`, or `address` alone if the tag is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Server {
    /// Its address.
    pub address: Address,
    /// Its tag, which may be empty. Servers that differ only in the tag have statistics of their own, but "another
    /// server" means another address.
    pub tag: Arc<str>,
}

impl Server {
    /// A server with a tag.
    pub fn new(address: impl Into<Address>, tag: impl Into<Arc<str>>) -> Self {
        Self { address: address.into(), tag: tag.into() }
    }
}

impl<A: Into<Address>> From<A> for Server {
    /// Without a tag.
    fn from(address: A) -> Self {
        Self::new(address, "")
    }
}

impl FromStr for Server {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (address, tag) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Ok(Self::new(address.parse::<Address>()?, tag.trim()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.tag.is_empty() { Ok(()) } else { write!(f, " {}", self.tag) }
    }
}

/// The servers of `list://a:1,b:2 tag`, or of one `host:port`.
///
/// A list begins with `list://`; several servers without it are an error that says so. Commas separate the entries. An
/// entry is an address, and perhaps a tag. Blank entries are ignored, and so is everything from a `#` to the end of its
/// entry. A server that is named twice is returned once. The list may be empty.
///
/// # Errors
/// A naming scheme other than `list`, several servers without a scheme, or the first entry that is not a server, with
/// its position from 1.
///
/// ```
/// let servers = hedge_fleet::parse_servers("list://127.0.0.1:8001,127.0.0.1:8002 canary")?;
/// assert_eq!(servers[1].to_string(), "127.0.0.1:8002 canary");
///
/// let error = hedge_fleet::parse_servers("list://127.0.0.1:8001,127.0.0.1:99999").unwrap_err();
/// assert_eq!(error.to_string(), "server 2 \"127.0.0.1:99999\": port out of range; it must be in [0, 65535]");
/// # Ok::<(), hedge_fleet::NameError>(())
/// ```
pub fn parse_servers(text: &str) -> Result<Vec<Server>, NameError> {
    ParsedServers::parse(text).map(|named| named.servers)
}

/// The servers of a name, and whether the name was a naming URL, which needs a balancer (N4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsedServers {
    /// The servers, each once.
    pub servers: Vec<Server>,
    /// Whether the name was a naming URL.
    pub is_url: bool,
}

impl ParsedServers {
    /// Reads a name as [`parse_servers`] does.
    ///
    /// # Errors
    /// See [`parse_servers`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let (is_url, list) = match text.split_once("://") {
            Some(("list", list)) => (true, list),
            Some((scheme, _)) => return Err(NameError::UnknownScheme { scheme: scheme.into() }),
            None => (false, text),
        };
        if !is_url && names_several(list) {
            return Err(NameError::NoScheme { servers: list.into() });
        }
        if !is_url {
            return Ok(Self { servers: vec![parse_entry(1, list)?], is_url });
        }
        let mut servers = Vec::new();
        for (entry, position) in list.split(',').zip(1..) {
            let entry = entry.split('#').next().unwrap_or_default().trim();
            if !entry.is_empty() {
                let server = parse_entry(position, entry)?;
                if !servers.contains(&server) {
                    servers.push(server);
                }
            }
        }
        Ok(Self { servers, is_url })
    }
}

/// Whether text without a scheme means several servers: it has commas or semicolons, or an address where the tag would
/// be.
fn names_several(text: &str) -> bool {
    let tag = text.split_once(char::is_whitespace).map(|(_, tag)| tag);
    text.contains([',', ';'])
        || tag.is_some_and(|tag| tag.split_whitespace().any(|word| word.parse::<Address>().is_ok()))
}

fn parse_entry(position: usize, entry: &str) -> Result<Server, NameError> {
    entry.parse().map_err(|error| NameError::Server { position, entry: entry.into(), error })
}

/// Why a text is not a list of servers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// The naming scheme is unknown.
    UnknownScheme {
        /// The text before `://`.
        scheme: Box<str>,
    },
    /// The text names several servers and does not begin with `list://`.
    NoScheme {
        /// The text.
        servers: Box<str>,
    },
    /// An entry of the list is not a server.
    Server {
        /// Its place in the list, from 1.
        position: usize,
        /// The entry.
        entry: Box<str>,
        /// What is wrong with it.
        error: AddressError,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScheme { scheme } => write!(f, "unknown naming scheme {scheme:?}; known is list://"),
            Self::NoScheme { servers } => {
                write!(f, "{servers:?}: several servers need a scheme; write \"list://")?;
                let servers = servers.strip_prefix("list:").unwrap_or(servers).trim_start_matches('/');
                let several = servers.split([',', ';']).flat_map(|entry| entry.split_whitespace());
                for (index, word) in several.enumerate() {
                    // A word that is not an address is the tag of the address before it.
                    let before = match index {
                        0 => "",
                        _ if word.parse::<Address>().is_ok() => ",",
                        _ => " ",
                    };
                    write!(f, "{before}{}", word.escape_debug())?;
                }
                f.write_str("\"")
            }
            Self::Server { position, entry, error } => write!(f, "server {position} {entry:?}: {error}"),
        }
    }
}

impl std::error::Error for NameError {}

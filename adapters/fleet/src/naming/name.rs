//! What a text names: [`Named`], and the grammar of lists, [`parse_servers`].

use std::fmt;

use super::{BoxNaming, NamingError};
use crate::address::{Address, AddressError};
use crate::server::Server;

/// What a text names.
#[derive(Debug)]
pub enum Named {
    /// One server.
    One(Server),
    /// A list that does not change.
    List(Vec<Server>),
    /// A source that says the list, and its changes.
    Followed(BoxNaming),
}

impl Named {
    /// The servers, if they are known without a source.
    #[must_use]
    pub fn into_servers(self) -> Option<Vec<Server>> {
        match self {
            Self::One(server) => Some(vec![server]),
            Self::List(servers) => Some(servers),
            Self::Followed(_) => None,
        }
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
    let text = text.trim();
    match text.split_once("://") {
        Some(("list", list)) => parse_list(list),
        Some((scheme, _)) => Err(NameError::UnknownScheme { scheme: scheme.into(), known: vec!["list".into()] }),
        None => parse_one(text).map(|server| vec![server]),
    }
}

/// The server of a text without a scheme.
pub(super) fn parse_one(text: &str) -> Result<Server, NameError> {
    if names_several(text) { Err(NameError::NoScheme { servers: text.into() }) } else { parse_entry(1, text) }
}

/// The servers of a `list://` URL, each once.
pub(super) fn parse_list(list: &str) -> Result<Vec<Server>, NameError> {
    parse_lines(list.split(','))
}

/// The servers of these lines, each once. A line is an address, and perhaps a tag. Blank lines and comments are ignored.
///
/// # Errors
/// The first line that is not a server, with its position from 1.
pub fn parse_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<Server>, NameError> {
    let mut servers = Vec::new();
    for (entry, position) in lines.into_iter().zip(1..) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            let server = parse_entry(position, entry)?;
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    Ok(servers)
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

/// Why a text does not name servers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// The naming scheme is unknown.
    UnknownScheme {
        /// The text before `://`.
        scheme: Box<str>,
        /// The schemes that there are, in alphabetical order.
        known: Vec<Box<str>>,
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
    /// The URL has a user or a password.
    Credentials {
        /// The scheme of the URL. The rest is not kept, so that it reaches no log.
        scheme: Box<str>,
    },
    /// The source of the URL's scheme says that the URL is not valid.
    Source(NamingError),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScheme { scheme, known } => {
                let are = if known.len() == 1 { "is" } else { "are" };
                write!(f, "unknown naming scheme {scheme:?}; known {are} ")?;
                for (index, scheme) in known.iter().enumerate() {
                    write!(f, "{}{scheme}://", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
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
            Self::Credentials { scheme } => {
                write!(f, "{scheme}:// URL: has a user or a password before '@'; give them as options")
            }
            Self::Source(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => error.source(),
            _ => None,
        }
    }
}

//! A parsed name, [`ParsedName`], and the grammar of lists, [`parse_servers`].

use std::collections::HashSet;
use std::fmt;

use super::{BoxNaming, NamingError};
use crate::address::{Address, AddressError};
use crate::server::{MAX_SERVERS, Server};

/// A parsed name. [`Schemes::open`](super::Schemes::open) makes it from a text such as `127.0.0.1:80`, `list://a:1,b:2`
/// or the URL of a source.
#[derive(Debug)]
pub enum ParsedName {
    /// The name is one server.
    One(Server),
    /// The name is a list that does not change.
    List(Vec<Server>),
    /// The name is a source that gives a list and its changes.
    Followed(BoxNaming),
}

impl ParsedName {
    /// Returns the servers that the name contains. Returns `None` if the name is the URL of a source, since only the
    /// source knows its servers.
    #[must_use]
    pub fn into_servers(self) -> Option<Vec<Server>> {
        match self {
            Self::One(server) => Some(vec![server]),
            Self::List(servers) => Some(servers),
            Self::Followed(_) => None,
        }
    }
}

/// Parses the servers of a text. The text is `list://a:1,b:2 tag`, one `host:port`, or one `unix:/path`.
///
/// A list begins with `list://`. Several servers without `list://` are an error, and the text of the error shows the
/// right form. Commas separate the entries. An entry is an address, or an address, a blank and a tag. The tag is all that
/// follows the blank, as in brpc: `list://a:1 b:2` is one server with the tag `b:2`. Blank entries are
/// ignored, and so is everything from a `#` to the end of the entry. If a server occurs twice, it is returned once. The
/// list may be empty.
///
/// # Errors
/// Returns an error if the naming scheme is not `list`, or if the text names several servers without a scheme. Also
/// returns an error for the first entry that is not a server; this error contains the entry's position, counted from 1.
/// A list of more than [`MAX_SERVERS`] servers is an error too.
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
    match split_scheme(text) {
        Some(("list", list)) => parse_list(list),
        Some((scheme, _)) => Err(NameError::UnknownScheme { scheme: scheme.into(), known: vec!["list".into()] }),
        None => parse_one(text).map(|server| vec![server]),
    }
}

/// Splits a naming URL into its scheme and the rest. Returns `None` for the address of one server, even if it is a Unix
/// socket in URL form.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|_| !text.starts_with("unix:"))
}

/// Parses the server of a text without a scheme.
pub(super) fn parse_one(text: &str) -> Result<Server, NameError> {
    if names_several(text) { Err(NameError::NoScheme { servers: shown(text).into() }) } else { parse_entry(1, text) }
}

/// Parses the servers of a `list://` URL, and returns each server once.
pub(super) fn parse_list(list: &str) -> Result<Vec<Server>, NameError> {
    parse_lines(list.split(','))
}

/// Parses one server per line, and returns each server once. A line is an address, or an address, a blank and a tag.
/// Blank lines are ignored, and so is everything from a `#` to the end of the line.
///
/// # Errors
/// Returns an error for the first line that is not a server. The error contains the line's position, counted from 1.
/// Returns [`NameError::TooMany`] at the first server after [`MAX_SERVERS`]; the lines after it are not read.
pub fn parse_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<Server>, NameError> {
    let (mut servers, mut known) = (Vec::new(), HashSet::new());
    for (entry, position) in lines.into_iter().zip(1..) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let server: Server = parse_entry(position, entry)?;
        if known.contains(&server) {
            continue;
        }
        if servers.len() >= usize::from(MAX_SERVERS) {
            return Err(NameError::TooMany);
        }
        known.insert(server.clone());
        servers.push(server);
    }
    Ok(servers)
}

/// Returns whether a text without a scheme seems to name several servers. This is so if the text contains a comma or a
/// semicolon, or if a word after the first address is an address too.
fn names_several(text: &str) -> bool {
    let tag = text.split_once(char::is_whitespace).map(|(_, tag)| tag);
    text.contains([',', ';'])
        || tag.is_some_and(|tag| tag.split_whitespace().any(|word| word.parse::<Address>().is_ok()))
}

fn parse_entry(position: usize, entry: &str) -> Result<Server, NameError> {
    entry.parse().map_err(|error| NameError::Server { position, entry: shown(entry).into(), error })
}

/// Returns a text that names servers, for errors. A text with an `@` is hidden, since it may have a password before the `@`.
#[doc(hidden)]
pub fn shown(text: &str) -> &str {
    if text.contains('@') { "(hidden, since it has an '@')" } else { text }
}

/// The reason why a text does not name servers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// The naming scheme is unknown.
    UnknownScheme {
        /// The text before `://`.
        scheme: Box<str>,
        /// The known schemes, in alphabetical order.
        known: Vec<Box<str>>,
    },
    /// The naming scheme is known, but its feature is off in this build.
    NoFeature {
        /// The text before `://`.
        scheme: Box<str>,
        /// The name of the feature that is off.
        feature: &'static str,
    },
    /// The text names several servers and does not begin with `list://`.
    NoScheme {
        /// The text, which has no scheme. A text with an `@` is not stored, so that a password cannot get into a log.
        servers: Box<str>,
    },
    /// An entry of the list is not a server.
    Server {
        /// The position of the entry in the list, counted from 1.
        position: usize,
        /// The text of the entry. A text with an `@` is not stored, so that a password cannot get into a log.
        entry: Box<str>,
        /// The reason why the entry is not a server.
        error: AddressError,
    },
    /// The list has more than [`MAX_SERVERS`] servers.
    TooMany,
    /// The URL has a user or a password.
    Credentials {
        /// The scheme of the URL. The rest of the URL is not stored, so that the password cannot get into a log.
        scheme: Box<str>,
    },
    /// The scheme is known, but the source of this scheme says that the rest of the URL is not valid.
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
            Self::NoFeature { scheme, feature } => {
                write!(f, "naming scheme {scheme:?} needs the feature {feature:?}, which is off")
            }
            Self::NoScheme { servers } if servers.contains('@') => {
                let servers = shown(servers);
                write!(f, "{servers}: several servers need a scheme; write \"list://host:port,host:port\"")
            }
            Self::NoScheme { servers } => {
                write!(f, "{servers:?}: several servers need a scheme; write \"list://")?;
                let servers = servers.strip_prefix("list:").unwrap_or(servers).trim_start_matches('/');
                let several = servers.split([',', ';']).flat_map(|entry| entry.split_whitespace());
                for (index, word) in several.enumerate() {
                    // If a word is not an address, it is the tag of the address before it.
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
            Self::TooMany => write!(f, "too many servers: a list holds at most {MAX_SERVERS}"),
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn n1_an_error_shows_no_password() {
        for (text, expected) in [
            ("list://a:1,user:secret@h:1", "server 2 \"(hidden, since it has an '@')\": not an ipv6"),
            ("user:secret@h:1", "server 1 \"(hidden, since it has an '@')\": not an ipv6"),
            (
                "a:1,user:secret@h:1",
                "(hidden, since it has an '@'): several servers need a scheme; write \"list://host",
            ),
        ] {
            let error = parse_servers(text).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn n1_a_list_that_is_too_long_is_read_to_the_first_server_that_is_too_many() {
        let lines: Vec<String> =
            (0..1_000_000).map(|number: u32| format!("{}:1", std::net::Ipv4Addr::from(number))).collect();
        let most = usize::from(MAX_SERVERS);
        let read = Cell::new(0);
        let counted = lines.iter().map(|line| {
            read.set(read.get() + 1);
            line.as_str()
        });
        assert_eq!(parse_lines(counted), Err(NameError::TooMany));
        assert_eq!(read.get(), most + 1);
        assert_eq!(parse_list(&lines.join(",")), Err(NameError::TooMany));
        assert_eq!(NameError::TooMany.to_string(), "too many servers: a list holds at most 32768");
        let twice = lines.iter().take(most).chain(lines.iter().take(most)).map(String::as_str);
        assert_eq!(parse_lines(twice).map(|servers| servers.len()), Ok(most), "a server counts once");
    }
}

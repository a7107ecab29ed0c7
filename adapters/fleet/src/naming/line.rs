//! The error for one line of a list: [`LineError`].

use std::fmt;

use super::name::shown;
use crate::address::AddressError;
use crate::server::Server;

/// How many characters of a bad line an error contains.
const KEPT: usize = 80;

/// The reason why a line of a list cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LineError {
    /// The line does not describe a server.
    Server {
        /// The first 80 characters of the line, without its comment. A line with an `@` is not stored, so that a password
        /// cannot get into a log.
        line: Box<str>,
        /// What is wrong with the line.
        error: AddressError,
    },
    /// The line is not valid UTF-8.
    Encoding {
        /// The first 80 characters of the line, without its comment. Bytes that are not valid UTF-8 are replaced by
        /// U+FFFD.
        line: Box<str>,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { line, error } => write!(f, "{line:?}: {error}"),
            Self::Encoding { line } => write!(f, "{line:?}: not valid UTF-8"),
        }
    }
}

impl std::error::Error for LineError {}

/// Parses the server of a line. Returns `None` if the line is blank or contains only a comment.
pub(super) fn parse(line: &[u8]) -> Option<Result<Server, LineError>> {
    let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    let Ok(line) = str::from_utf8(line) else {
        return Some(Err(LineError::Encoding { line: kept(String::from_utf8_lossy(line).trim()) }));
    };
    let line = line.trim();
    (!line.is_empty()).then(|| line.parse().map_err(|error| LineError::Server { line: kept(line), error }))
}

fn kept(line: &str) -> Box<str> {
    shown(line).chars().take(KEPT).collect()
}

//! One line of a list, and what may be wrong with it: [`LineError`].

use std::fmt;

use crate::address::AddressError;
use crate::server::Server;

/// How much of a bad line an error keeps, in characters.
const KEPT: usize = 80;

/// What is wrong with a line of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LineError {
    /// The line is not a server.
    Server {
        /// The line, without comment; its first 80 characters.
        line: Box<str>,
        /// What is wrong with it.
        error: AddressError,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { line, error } => write!(f, "{line:?}: {error}"),
        }
    }
}

impl std::error::Error for LineError {}

/// The server of a line; `None` if the line is blank or only a comment.
pub(super) fn parse(line: &str) -> Option<Result<Server, LineError>> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let error = |error| LineError::Server { line: line.chars().take(KEPT).collect::<String>().into(), error };
    (!line.is_empty()).then(|| line.parse().map_err(error))
}

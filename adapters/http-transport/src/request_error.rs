//! What is wrong with a request that could not be built: [`RequestError`].

use std::error::Error;
use std::fmt;

use ::http::uri::InvalidUri;

/// What is wrong with a request that could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The path, or its query, is not valid.
    Path {
        /// The text.
        path: Box<str>,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// The value of a query parameter cannot be written as text.
    Query {
        /// The parameter.
        name: Box<str>,
    },
    /// A header cannot be sent.
    Header {
        /// Its name.
        name: Box<str>,
        /// What is wrong with it. The error does not hold the value, which may be a secret.
        fault: HeaderFault,
    },
    /// The body cannot be written as JSON.
    #[cfg(feature = "json")]
    Json {
        /// The type of the value.
        of: &'static str,
        /// What is wrong with the value.
        error: serde_json::Error,
    },
}

/// What is wrong with a path.
#[derive(Debug)]
#[non_exhaustive]
pub enum PathFault {
    /// It does not begin with `/`, and it is neither an absolute URI nor `*`.
    NoSlash,
    /// It is not a URI.
    Invalid {
        /// What is wrong with it.
        error: InvalidUri,
        /// The first byte that is wrong, counted from 0. `None` for an absolute URI.
        at: Option<usize>,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeaderFault {
    /// The name is empty, or it holds a byte that a name cannot hold.
    Name {
        /// The position of that byte, counted from 0. `None` if the name is empty.
        at: Option<usize>,
    },
    /// The value holds a control character.
    Value {
        /// The position of that byte, counted from 0.
        at: usize,
    },
    /// The request holds as many headers as it can: more than 24,000.
    TooMany,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { at: None } => f.write_str("the name is empty"),
            Self::Name { at: Some(at) } => write!(f, "byte {at} of the name is not allowed in a header name"),
            Self::Value { at } => write!(f, "byte {at} of the value is a control character"),
            Self::TooMany => f.write_str("too many headers"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, fault } => {
                write!(f, "path {}: ", Shown(path))?;
                match fault {
                    PathFault::NoSlash => f.write_str("must begin with /"),
                    PathFault::Invalid { error, at: None } => error.fmt(f),
                    PathFault::Invalid { error, at: Some(at) } => write!(f, "{error} at byte {at}"),
                }
            }
            Self::Query { name } => write!(f, "query parameter {}: its value cannot be written as text", Shown(name)),
            Self::Header { name, fault } => {
                write!(f, "header {}: {fault}", Shown(name))
            }
            #[cfg(feature = "json")]
            Self::Json { of, error } => write!(f, "the body of type {of} cannot be json: {error}"),
        }
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            #[cfg(feature = "json")]
            Self::Json { error, .. } => error.source(),
            // The cause is part of the message already.
            Self::Path { .. } | Self::Query { .. } | Self::Header { .. } => None,
        }
    }
}

/// A text in quotes, cut if it is long.
pub(super) struct Shown<'a>(pub(super) &'a str);

/// How many characters of a text are shown.
const SHOWN: usize = 80;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN).and_then(|(end, _)| self.0.get(..end)) {
            Some(start) => write!(f, "{:?}", format_args!("{start}…").to_string()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// Returns the position of the first byte that makes an invalid text invalid. Every start of the text that includes
/// this byte must be invalid, and every shorter start must be valid. `is_valid` is never called with an empty start.
/// `None` for an empty text.
pub(super) fn first_invalid(text: &[u8], is_valid: impl Fn(&[u8]) -> bool) -> Option<usize> {
    // The longest valid start, by bisection.
    let (mut valid, mut invalid) = (0, text.len());
    while invalid.saturating_sub(valid) > 1 {
        let middle = valid.midpoint(invalid);
        if text.get(..middle).is_some_and(&is_valid) {
            valid = middle;
        } else {
            invalid = middle;
        }
    }
    invalid.checked_sub(1)
}

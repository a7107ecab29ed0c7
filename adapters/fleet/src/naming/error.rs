//! The error of a source of servers: [`NamingError`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The reason why a source could not give a new list of servers. The error contains the name of the source, the kind of
/// failure, the place and the cause. The last list stays in use.
///
/// The text of the error is one line, such as `file:///etc/servers: no valid line, at line 1: "10.0.0.1": port missing;
/// write host:port`. A source must not put credentials into this text, since the text is logged.
#[derive(Clone)]
pub struct NamingError {
    source: Arc<str>,
    kind: NamingErrorKind,
    place: Option<Arc<str>>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of failure of a source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NamingErrorKind {
    /// The source cannot be reached or read.
    Unreachable,
    /// The source does not know the name.
    NotFound,
    /// The source refuses access.
    Denied,
    /// The source took too long.
    TimedOut,
    /// The source's answer, or the name itself, is not valid.
    Invalid,
    /// The list has lines, but none of them describes a server.
    NoValidLine,
    /// The channel has refused the list, for instance because its filter panicked.
    Refused,
    /// The source's code panicked.
    Panicked,
}

impl NamingError {
    /// Makes an error of a source. `source` is the name of the source, usually its URL.
    pub fn new(source: impl Into<Arc<str>>, kind: NamingErrorKind) -> Self {
        Self { source: source.into(), kind, place: None, cause: None }
    }

    /// Adds the place of the failure. This is, for example, `line 3` of a file, or the address `10.0.0.1:2379` of the
    /// server that was asked.
    #[must_use]
    pub fn at(self, place: impl Into<Arc<str>>) -> Self {
        Self { place: Some(place.into()), ..self }
    }

    /// Adds the cause: an error that has led to this error.
    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(Arc::from(cause.into())), ..self }
    }

    /// Returns the name of the source, usually its URL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source
    }

    /// Returns the kind of failure.
    #[must_use]
    pub const fn kind(&self) -> NamingErrorKind {
        self.kind
    }

    /// Returns the place of the failure, such as `line 3`.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

/// Two errors are equal if their kinds and their texts are equal. The causes themselves cannot be compared.
impl PartialEq for NamingError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.to_string() == other.to_string()
    }
}

impl Eq for NamingError {}

impl fmt::Display for NamingErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "cannot be reached",
            Self::NotFound => "not found",
            Self::Denied => "access denied",
            Self::TimedOut => "timed out",
            Self::Invalid => "not valid",
            Self::NoValidLine => "no valid line",
            Self::Refused => "the list was refused",
            Self::Panicked => "the source panicked",
        })
    }
}

impl fmt::Display for NamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.kind)?;
        if let Some(place) = &self.place {
            write!(f, ", at {place}")?;
        }
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for NamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamingError").field("kind", &self.kind).field("text", &self.to_string()).finish()
    }
}

impl Error for NamingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The message already includes the cause, but not the causes of the cause.
        self.cause.as_ref()?.source()
    }
}

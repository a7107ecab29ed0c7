//! Why a source has no new list: [`NamingError`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a source has no new list: which source, what went wrong, where, and why. The last list stays.
///
/// Its text is one line: `file:///etc/servers: no valid line, at line 1: "10.0.0.1": port missing; write host:port`.
/// Sources must keep credentials out of it.
#[derive(Clone)]
pub struct NamingError {
    source: Arc<str>,
    kind: NamingErrorKind,
    place: Option<Arc<str>>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What went wrong at a source.
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
    /// The list has lines, and none of them is a server.
    NoValidLine,
    /// The channel cannot take the list in.
    Refused,
    /// The source's code panicked.
    Panicked,
}

impl NamingError {
    /// An error of a source, which should be named by its URL.
    pub fn new(source: impl Into<Arc<str>>, kind: NamingErrorKind) -> Self {
        Self { source: source.into(), kind, place: None, cause: None }
    }

    /// The same, with the place of what is wrong, such as `line 3` or `10.0.0.1:2379`.
    #[must_use]
    pub fn at(self, place: impl Into<Arc<str>>) -> Self {
        Self { place: Some(place.into()), ..self }
    }

    /// The same, with the error that it follows from.
    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(Arc::from(cause.into())), ..self }
    }

    /// The source, by its URL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> NamingErrorKind {
        self.kind
    }

    /// The place of what is wrong, such as `line 3`.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

/// Errors are equal if their texts are.
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

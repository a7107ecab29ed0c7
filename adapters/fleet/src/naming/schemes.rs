//! The table of naming schemes: [`Schemes`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::name::{self, NameError, Named};
use super::{BoxNaming, NamingError};
use crate::server::Server;

/// Opens the source that the rest of a URL names, the part after `://`.
type Open = dyn Fn(&str) -> Result<BoxNaming, NamingError> + Send + Sync;

/// The schemes of naming URLs, each with what opens its sources. `list` is built in; a program adds its own.
///
/// ```
/// use hedge_fleet::{BoxNaming, Naming, NamingError, Schemes, Update};
///
/// /// Takes a list of servers, separated by blanks, from an environment variable.
/// struct Variable(Option<Box<str>>);
///
/// impl Naming for Variable {
///     async fn next(&mut self) -> Result<Update, NamingError> {
///         let Some(name) = self.0.take() else { return std::future::pending().await };
///         Ok(Update::from_lines(&std::env::var(&*name).unwrap_or_default().replace(' ', "\n")))
///     }
/// }
///
/// let schemes = Schemes::new().with("env", |name| Ok(BoxNaming::new(Variable(Some(name.into())))))?;
/// assert!(schemes.open("env://SERVERS").is_ok());
/// let error = schemes.open("file:///etc/servers").unwrap_err();
/// assert_eq!(error.to_string(), "unknown naming scheme \"file\"; known are env://, list://");
/// # Ok::<(), hedge_fleet::SchemeError>(())
/// ```
#[derive(Clone)]
pub struct Schemes(BTreeMap<Box<str>, Scheme>);

#[derive(Clone)]
enum Scheme {
    /// The servers are in the URL itself, so there is nothing to follow.
    List,
    Program(Arc<Open>),
}

impl Schemes {
    /// The table with `list` alone.
    #[must_use]
    pub fn new() -> Self {
        Self(BTreeMap::from([("list".into(), Scheme::List)]))
    }

    /// The table with one more scheme. `open` is given the part of a URL after `://`. It should only check that text, and
    /// leave all I/O to [`Naming::next`](super::Naming::next), since a channel can be built where no runtime runs.
    ///
    /// # Errors
    /// The name is taken, or is not the name of a scheme.
    pub fn with(
        mut self,
        scheme: &str,
        open: impl Fn(&str) -> Result<BoxNaming, NamingError> + Send + Sync + 'static,
    ) -> Result<Self, SchemeError> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(valid) {
            return Err(SchemeError::Name { scheme: scheme.into() });
        }
        if self.0.contains_key(scheme) {
            return Err(SchemeError::Taken { scheme: scheme.into() });
        }
        self.0.insert(scheme.into(), Scheme::Program(Arc::new(open)));
        Ok(self)
    }

    /// What a text names: one `host:port`, the servers of `list://…`, or a source to follow.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn open(&self, text: &str) -> Result<Named, NameError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else { return name::parse_one(text).map(Named::One) };
        match self.0.get(scheme) {
            None => Err(NameError::UnknownScheme { scheme: scheme.into(), known: self.0.keys().cloned().collect() }),
            Some(Scheme::List) => name::parse_list(rest).map(Named::List),
            Some(Scheme::Program(_)) if has_credentials(rest) => Err(NameError::Credentials { scheme: scheme.into() }),
            Some(Scheme::Program(open)) => open(rest).map(Named::Followed).map_err(NameError::Source),
        }
    }

    /// The servers of a text that names them itself. `None` if a source would have to say them, or if it is not valid.
    #[must_use]
    pub fn known(&self, text: &str) -> Option<Vec<Server>> {
        let is_source = |(scheme, _)| !matches!(self.0.get(scheme), Some(Scheme::List));
        if text.trim().split_once("://").is_some_and(is_source) {
            return None;
        }
        self.open(text).ok()?.into_servers()
    }
}

/// Whether the authority of a URL has a user or a password. They would end up in logs, so they are options of a source.
fn has_credentials(rest: &str) -> bool {
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

impl Default for Schemes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Why a scheme cannot be added.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SchemeError {
    /// The text is not the name of a scheme.
    Name {
        /// The text.
        scheme: Box<str>,
    },
    /// There is a scheme of this name already.
    Taken {
        /// The name.
        scheme: Box<str>,
    },
}

impl fmt::Display for SchemeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { scheme } => write!(
                f,
                "naming scheme {scheme:?}: must be a lowercase letter, then lowercase letters, digits, '+', '-' and '.'"
            ),
            Self::Taken { scheme } => write!(f, "naming scheme {scheme:?}: taken already"),
        }
    }
}

impl std::error::Error for SchemeError {}

#[cfg(test)]
mod tests {
    use super::super::{Naming, NamingErrorKind, Update};
    use super::*;

    struct Silent;

    impl Naming for Silent {
        async fn next(&mut self) -> Result<Update, NamingError> {
            std::future::pending().await
        }
    }

    fn schemes() -> Schemes {
        let open = |rest: &str| match rest {
            "" => Err(NamingError::new("mine://", NamingErrorKind::Invalid).because("write a name after mine://")),
            _ => Ok(BoxNaming::new(Silent)),
        };
        Schemes::new().with("mine", open).unwrap()
    }

    #[test]
    fn n1_a_url_is_opened_by_its_scheme() {
        let schemes = schemes();
        assert!(matches!(schemes.open(" mine://users "), Ok(Named::Followed(_))));
        assert!(matches!(schemes.open("list://10.0.0.1:1"), Ok(Named::List(list)) if list.len() == 1));
        assert!(matches!(schemes.open("10.0.0.1:1 tag"), Ok(Named::One(_))));
        assert_eq!(schemes.known("list://10.0.0.1:1,10.0.0.2:1").map(|servers| servers.len()), Some(2));
        assert_eq!(schemes.known("10.0.0.1:1").map(|servers| servers.len()), Some(1));
        for unknown in ["mine://users", "mine://", "no://", "list://x", "x"] {
            assert_eq!(schemes.known(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn n1_an_error_names_the_schemes_that_there_are() {
        for (text, expected) in [
            ("dns://a:1", "unknown naming scheme \"dns\"; known are list://, mine://"),
            ("Mine://a:1", "unknown naming scheme \"Mine\"; known are list://, mine://"),
            ("mine://", "mine://: not valid: write a name after mine://"),
            ("list://a", "server 1 \"a\": port missing; write host:port"),
        ] {
            assert_eq!(schemes().open(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn n1_credentials_are_refused_and_never_shown() {
        for text in ["mine://user:secret@host:1/x", "mine://secret@host"] {
            let error = schemes().open(text).unwrap_err();
            assert_eq!(error.to_string(), "mine:// URL: has a user or a password before '@'; give them as options");
            assert!(!format!("{error:?}").contains("secret"));
        }
        assert!(schemes().open("mine://host/a@b").is_ok(), "a path may have one");
    }

    #[test]
    fn n1_a_name_that_no_url_could_have_is_refused_and_so_is_a_taken_one() {
        let add = |scheme: &str| schemes().with(scheme, |_| Ok(BoxNaming::new(Silent))).unwrap_err();
        for scheme in ["", "Mine", "1a", "a b", "a:"] {
            assert_eq!(add(scheme), SchemeError::Name { scheme: scheme.into() });
        }
        assert_eq!(add("list").to_string(), "naming scheme \"list\": taken already");
        assert_eq!(format!("{:?}", schemes()), "[\"list\", \"mine\"]");
    }
}

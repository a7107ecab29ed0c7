//! The table of naming schemes: [`Schemes`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::name::{self, NameError, ParsedName};
use super::{BoxNaming, NamingError};
use crate::server::Server;

/// A function that opens a source. Its argument is the part of a URL after `://`.
type Open = dyn Fn(&str) -> Result<BoxNaming, NamingError> + Send + Sync;

/// The table of naming schemes. For each scheme of a URL, it holds the function that opens a source. The scheme `list`
/// is built in, and a program can add other schemes.
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
    /// The servers are contained in the URL itself, so there is no source to follow.
    List,
    Program(Arc<Open>),
    /// The scheme needs this feature, which is off.
    Off(&'static str),
}

impl Schemes {
    /// Makes a table that contains only the scheme `list`.
    #[must_use]
    pub fn new() -> Self {
        Self(BTreeMap::from([("list".into(), Scheme::List)]))
    }

    /// Adds a scheme to the table. `open` gets the part of a URL after `://` and returns a source. `open` should only
    /// check this text, and leave all I/O to [`Naming::next`](super::Naming::next), since a channel can be built
    /// outside of a runtime.
    ///
    /// # Errors
    /// Returns a [`SchemeError`] if the table already has a scheme of this name, or if the name is not valid.
    pub fn with(
        mut self,
        scheme: &str,
        open: impl Fn(&str) -> Result<BoxNaming, NamingError> + Send + Sync + 'static,
    ) -> Result<Self, SchemeError> {
        check(scheme)?;
        if self.contains(scheme) {
            return Err(SchemeError::Taken { scheme: scheme.into() });
        }
        self.0.insert(scheme.into(), Scheme::Program(Arc::new(open)));
        Ok(self)
    }

    /// Adds a scheme that is known, and that this build cannot open since a feature is off. The error of
    /// [`open`](Self::open) names the feature. [`with`](Self::with) may still add the scheme.
    ///
    /// # Errors
    /// Returns a [`SchemeError`] if the table already has a scheme of this name, or if the name is not valid.
    pub fn without(mut self, scheme: &str, feature: &'static str) -> Result<Self, SchemeError> {
        check(scheme)?;
        if self.contains(scheme) {
            return Err(SchemeError::Taken { scheme: scheme.into() });
        }
        self.0.insert(scheme.into(), Scheme::Off(feature));
        Ok(self)
    }

    /// Adds the schemes of another table that this table does not have.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (scheme, entry) in &other.0 {
            if !self.contains(scheme) {
                self.0.insert(scheme.clone(), entry.clone());
            }
        }
        self
    }

    /// Returns whether the table can open this scheme. The result is false for a scheme whose feature is off.
    #[must_use]
    pub fn contains(&self, scheme: &str) -> bool {
        self.0.get(scheme).is_some_and(|entry| !matches!(entry, Scheme::Off(_)))
    }

    /// Parses a name. The name is one `host:port` or `unix:/path`, a `list://…` with its servers, or the URL of a
    /// source to follow.
    ///
    /// # Errors
    /// Returns a [`NameError`] if the text does not name servers.
    pub fn open(&self, text: &str) -> Result<ParsedName, NameError> {
        let text = text.trim();
        let Some((scheme, rest)) = name::split_scheme(text) else { return name::parse_one(text).map(ParsedName::One) };
        match self.0.get(scheme) {
            None => {
                Err(NameError::UnknownScheme { scheme: scheme.into(), known: self.names().map(Into::into).collect() })
            }
            Some(Scheme::Off(feature)) => Err(NameError::NoFeature { scheme: scheme.into(), feature }),
            Some(Scheme::List) => name::parse_list(rest).map(ParsedName::List),
            Some(Scheme::Program(_)) if has_credentials(rest) => Err(NameError::Credentials { scheme: scheme.into() }),
            Some(Scheme::Program(open)) => open(rest).map(ParsedName::Followed).map_err(NameError::Source),
        }
    }

    /// Returns the names of the schemes that can be opened, in alphabetical order.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|scheme| &**scheme).filter(|scheme| self.contains(scheme))
    }

    /// Parses the servers that a text contains: one `host:port`, or `list://…`. Returns `None` if the text is not
    /// valid, or if it is the URL of a source, since only the source knows its servers.
    #[must_use]
    pub fn known(&self, text: &str) -> Option<Vec<Server>> {
        let is_source = |(scheme, _)| !matches!(self.0.get(scheme), Some(Scheme::List));
        if name::split_scheme(text.trim()).is_some_and(is_source) {
            return None;
        }
        self.open(text).ok()?.into_servers()
    }
}

/// Checks the name of a scheme.
fn check(scheme: &str) -> Result<(), SchemeError> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(valid) {
        return Err(SchemeError::Name { scheme: scheme.into() });
    }
    Ok(())
}

/// Returns whether a URL has a user or a password. Such a URL is refused, since URLs are written to logs. Instead, a
/// source gets credentials by its options.
///
/// The authority ends at the first `/`, `?` or `#`. A password should not contain these characters, but it may. In that
/// case the `@` comes after the authority. So such an `@` counts too, if a host of the authority has a colon and the
/// text after the colon is not a port.
fn has_credentials(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_no_port = |host: &str| {
        let after_ip = host.rsplit(']').next().unwrap_or_default();
        after_ip.split_once(':').is_some_and(|(_, port)| !port.is_empty() && port.parse::<u16>().is_err())
    };
    authority.contains('@') || rest.contains('@') && authority.split(',').any(has_no_port)
}

impl Default for Schemes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The reason why a scheme cannot be added.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SchemeError {
    /// The text is not valid as the name of a scheme.
    Name {
        /// The text that was given.
        scheme: Box<str>,
    },
    /// The table already has a scheme of this name.
    Taken {
        /// The name of the scheme.
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
        assert!(matches!(schemes.open(" mine://users "), Ok(ParsedName::Followed(_))));
        assert!(matches!(schemes.open("list://10.0.0.1:1"), Ok(ParsedName::List(list)) if list.len() == 1));
        for one in ["10.0.0.1:1 tag", "unix:/run/app.sock tag", "unix:///run/app.sock"] {
            assert!(matches!(schemes.open(one), Ok(ParsedName::One(_))), "{one}");
        }
        assert!(schemes.contains("mine") && !schemes.contains("unix"));
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
    fn n1_a_scheme_whose_feature_is_off_is_an_error_that_names_it() {
        let table = schemes().without("dns", "naming-dns").unwrap();
        let error = |url: &str| table.open(url).unwrap_err().to_string();
        assert_eq!(error("dns://a:1"), "naming scheme \"dns\" needs the feature \"naming-dns\", which is off");
        assert_eq!(error("no://a:1"), "unknown naming scheme \"no\"; known are list://, mine://");
        assert!(!table.contains("dns") && table.known("dns://a:1").is_none());
        assert_eq!(
            table.clone().without("list", "x").unwrap_err().to_string(),
            "naming scheme \"list\": taken already"
        );
        let table = table.with("dns", |_| Ok(BoxNaming::new(Silent))).unwrap();
        assert!(table.contains("dns"), "a program may bring its own");
    }

    #[test]
    fn n1_a_table_is_filled_up_from_another_one() {
        let other = Schemes::new().with("other", |_| Ok(BoxNaming::new(Silent))).unwrap();
        let other = other.with("mine", |_| panic!("taken from the wrong table")).unwrap();
        let table = schemes().or(&other);
        assert_eq!(format!("{table:?}"), "[\"list\", \"mine\", \"other\"]");
        assert!(table.open("mine://users").is_ok());
    }

    #[test]
    fn n1_credentials_are_refused_and_never_shown() {
        let in_two = ["mine://u:secret/x@host", "mine://u:secret?x@host:1", "mine://a:1,u:70000#secret@host"];
        for text in ["mine://user:secret@host:1/x", "mine://secret@host"].into_iter().chain(in_two) {
            let error = schemes().open(text).unwrap_err();
            assert_eq!(error.to_string(), "mine:// URL: has a user or a password before '@'; give them as options");
            assert!(!format!("{error:?}").contains("secret"));
        }
        for allowed in
            ["mine://host/a@b", "mine://host:80/a@b", "mine://[::1]:80/a@b", "mine://[::1]/a@b", "mine://a:1,b:2/a@b"]
        {
            assert!(schemes().open(allowed).is_ok(), "{allowed}: a path may have one");
        }
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

//! Servers from etcd: [`Etcd`].

mod api;
mod entry;
mod keys;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{BoxNaming, NamingError};
use hedge_link::{Credential, Runtime};
#[cfg(feature = "serde")]
use hedge_link::{EtcdSourceConfig, SourcesConfigError};

use crate::client::{HttpOptions, parse_places};
use crate::common::{Common, common_setters, invalid};
use crate::given::Given;
use session::EtcdSession;

/// The scheme `etcd`: the servers below a prefix of keys, by the JSON gateway of etcd's API version 3.
///
/// The URL is `etcd://host:port,host:port/prefix`. The servers are the keys that begin with the prefix and a slash, so
/// `etcd://10.0.0.5:2379/services/users` reads `services/users/1`, but not `services/users2/1`. A value is one of:
///
/// - a line such as `10.0.0.1:80 zone=a`;
/// - JSON `{"Addr": "10.0.0.1:80", "Metadata": …}`, as the package `naming/endpoints` of etcd writes it. Metadata that
///   is a text or a number is the tag. If it is an object, its texts, numbers and booleans become words such as
///   `zone=a`;
/// - nothing: then the last segment of the key is the address.
///
/// The list is read, and then a watch follows its changes. If the watch breaks, or if etcd has deleted (compacted) the
/// old revisions that the watch needs, the list is read anew. etcd says nothing on a watch without changes. So the
/// source asks for the newest revision of the prefix every 30 s, on another connection. If the watch has missed it, or
/// if the answer does not come, the watch is given up.
///
/// ```
/// # fn open<R: hedge_link::Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
/// use hedge_fleet::Schemes;
/// use hedge_naming::Etcd;
///
/// let etcd = Etcd::new(runtime);
/// let schemes = Schemes::new().with("etcd", move |rest| etcd.open(rest))?;
/// let name = schemes.open("etcd://10.0.0.5:2379,10.0.0.6:2379/services/users")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Etcd<R> {
    pub(crate) common: Common<R>,
    user: Option<(Arc<str>, Given<Credential>)>,
    check_every: Duration,
}

/// What a URL and the options say.
#[derive(Debug)]
struct Settings {
    prefix: String,
    user: Option<(Arc<str>, Given<Credential>)>,
    check_every: Duration,
}

impl<R: Runtime> Etcd<R> {
    /// The defaults: no user, and a check of the watch every 30 s.
    pub fn new(runtime: R) -> Self {
        Self { common: Common::new(runtime), user: None, check_every: Duration::from_secs(30) }
    }

    common_setters!("Times, limits and TLS.", "pauses");

    /// The user, for an etcd that asks for one.
    #[must_use]
    pub fn user(mut self, name: impl Into<Arc<str>>, password: Credential) -> Self {
        self.user = Some((name.into(), Given::Value(password)));
        self
    }

    /// The user, and the file of its password. A thread reads the file again for each login.
    #[must_use]
    pub fn user_with_file(mut self, name: impl Into<Arc<str>>, password: impl Into<PathBuf>) -> Self {
        self.user = Some((name.into(), Given::File(password.into().into())));
        self
    }

    /// How long a watch may be silent before the source asks whether it has missed something. Each wait is this long,
    /// or up to a fifth longer. A time below 50 ms counts as 50 ms.
    #[must_use]
    pub const fn check_every(mut self, time: Duration) -> Self {
        self.check_every = time;
        self
    }

    /// Applies the options of a file.
    #[cfg(feature = "serde")]
    pub(crate) fn apply(&mut self, config: &EtcdSourceConfig) -> Result<(), SourcesConfigError> {
        const FIELDS: [&str; 2] = ["sources.etcd.user", "sources.etcd.password_file"];
        let [user, file] = FIELDS;
        match (&config.user, &config.password_file) {
            (Some(user), Some(file)) => {
                self.user = Some((user.as_ref().into(), Given::File(file.as_ref().into())));
            }
            (None, None) => {}
            (Some(_), None) => return Err(SourcesConfigError::Alone { there: user, missing: file }),
            (None, Some(_)) => return Err(SourcesConfigError::Alone { there: file, missing: user }),
        }
        if let Some(time) = config.check_every {
            self.check_every = time.get();
        }
        Ok(())
    }

    /// Opens a source. `rest` is the URL behind `etcd://`. This does no I/O.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`](hedge_fleet::NamingErrorKind::Invalid) if the URL is not valid, or a time of the
    /// [`HttpOptions`] is 0.
    pub fn open(&self, rest: &str) -> Result<BoxNaming, NamingError> {
        let invalid = invalid("etcd");
        self.common.http.check().map_err(&invalid)?;
        let (places, prefix) = parse_places(rest).map_err(&invalid)?;
        if prefix.is_empty() {
            return Err(invalid("has no prefix; write etcd://host:port/prefix".into()));
        }
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        let settings = Arc::new(Settings {
            prefix: format!("{prefix}{slash}"),
            user: self.user.clone(),
            check_every: self.check_every.max(Duration::from_millis(50)),
        });
        let session = move |client, pace| EtcdSession::new(client, pace, Arc::clone(&settings));
        Ok(self.common.open(format!("etcd://{rest}").into(), places, session))
    }
}

impl<R> fmt::Debug for Etcd<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Etcd");
        fields.field("http", &self.common.http).field("user", &self.user).field("check_every", &self.check_every);
        fields.finish_non_exhaustive()
    }
}

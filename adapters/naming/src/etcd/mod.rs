//! Servers from etcd: [`Etcd`].

mod api;
mod entry;
mod keys;
mod session;

use std::fmt;
use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{BoxNaming, NamingError, NamingErrorKind};
use hedge_link::{Credential, Runtime};

use crate::client::{HttpOptions, parse_places};
use crate::session::Resumed;
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
    runtime: R,
    http: HttpOptions,
    user: Option<(Arc<str>, Credential)>,
    check_every: Duration,
    seed: Option<u64>,
}

/// What a URL and the options say.
#[derive(Debug)]
struct Settings {
    name: Arc<str>,
    prefix: String,
    user: Option<(Arc<str>, Credential)>,
    check_every: Duration,
    seed: Option<u64>,
}

impl<R: Runtime> Etcd<R> {
    /// The defaults: no user, and a check of the watch every 30 s.
    pub fn new(runtime: R) -> Self {
        Self { runtime, http: HttpOptions::new(), user: None, check_every: Duration::from_secs(30), seed: None }
    }

    /// Times, limits and TLS.
    #[must_use]
    pub fn http(mut self, options: HttpOptions) -> Self {
        self.http = options;
        self
    }

    /// The user, for an etcd that asks for one.
    #[must_use]
    pub fn user(mut self, name: impl Into<Arc<str>>, password: Credential) -> Self {
        self.user = Some((name.into(), password));
        self
    }

    /// How long a watch may be silent before the source asks whether it has missed something. Each wait is this long,
    /// or up to a fifth longer. A time below 50 ms counts as 50 ms.
    #[must_use]
    pub const fn check_every(mut self, time: Duration) -> Self {
        self.check_every = time;
        self
    }

    /// Determines the random pauses. By default they differ from source to source.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens a source. `rest` is the URL behind `etcd://`. This does no I/O.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`] if the URL is not valid, or a time of the [`HttpOptions`] is 0.
    pub fn open(&self, rest: &str) -> Result<BoxNaming, NamingError> {
        let name: Arc<str> = format!("etcd://{rest}").into();
        let invalid = |why: String| {
            // The rest of the URL could hold a password.
            NamingError::new("etcd:// URL", NamingErrorKind::Invalid).because(why)
        };
        self.http.check().map_err(invalid)?;
        let (places, prefix) = parse_places(rest).map_err(invalid)?;
        if prefix.is_empty() {
            return Err(invalid("has no prefix; write etcd://host:port/prefix".into()));
        }
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        let settings = Arc::new(Settings {
            name,
            prefix: format!("{prefix}{slash}"),
            user: self.user.clone(),
            check_every: self.check_every.max(Duration::from_millis(50)),
            seed: self.seed,
        });
        let (runtime, http) = (self.runtime.clone(), self.http.clone());
        let make = move || EtcdSession::new(runtime.clone(), http.clone(), Arc::clone(&places), Arc::clone(&settings));
        Ok(BoxNaming::new(Resumed::new(self.runtime.clone(), make)))
    }
}

impl<R> fmt::Debug for Etcd<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("http", &self.http).field("user", &self.user).finish_non_exhaustive()
    }
}

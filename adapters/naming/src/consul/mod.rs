//! Servers from consul: [`Consul`].

mod api;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{BoxNaming, NamingError};
use hedge_link::{Credential, Runtime};

use crate::client::{HttpOptions, parse_places, percent_encoded};
use crate::common::{Common, common_setters, invalid};
use crate::given::Given;
use session::ConsulSession;

/// The scheme `consul`: the instances of a service whose health checks pass.
///
/// The URL is `consul://host:port,host:port/service`. The address of a server is the address of the service, or if that is
/// empty, the address of the node. Its tag has these words, sorted:
///
/// - `weight=N`, if consul's weight for passing instances is not 1;
/// - consul's tags of the instance. Tags with blanks are left out, and a tag `weight=N` takes the place of the weight.
///
/// Changes come by blocking queries: consul answers when something has changed, or when the wait is over. If consul answers
/// at once again and again, the source asks only once a second.
///
/// ```
/// # fn open<R: hedge_link::Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
/// use hedge_fleet::Schemes;
/// use hedge_naming::Consul;
///
/// let consul = Consul::new(runtime).datacenter("eu");
/// let schemes = Schemes::new().with("consul", move |rest| consul.open(rest))?;
/// let name = schemes.open("consul://127.0.0.1:8500/users")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Consul<R> {
    pub(crate) common: Common<R>,
    token: Option<Given<Credential>>,
    datacenter: Option<Arc<str>>,
    wait: Duration,
}

/// What a URL and the options say.
#[derive(Debug)]
struct Settings {
    /// The path, and the part of the query that is always the same.
    path: String,
    token: Option<Given<Credential>>,
    wait: Duration,
}

impl<R: Runtime> Consul<R> {
    /// The defaults: no token, the agent's own datacenter, and queries that wait for 60 s.
    pub fn new(runtime: R) -> Self {
        Self { common: Common::new(runtime), token: None, datacenter: None, wait: Duration::from_secs(60) }
    }

    common_setters!("Times, limits and TLS.", "pauses");

    /// The token, which is sent as `X-Consul-Token`.
    #[must_use]
    pub fn token(mut self, token: Credential) -> Self {
        self.token = Some(Given::Value(token));
        self
    }

    /// The file of the token. A thread reads it again for each request.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(Given::File(path.into().into()));
        self
    }

    /// The datacenter, instead of the agent's own.
    #[must_use]
    pub fn datacenter(mut self, name: impl Into<Arc<str>>) -> Self {
        self.datacenter = Some(name.into());
        self
    }

    /// How long consul waits for a change before it answers. The time is rounded up to whole seconds, and is at most 10
    /// minutes. consul adds up to a sixteenth of it.
    #[must_use]
    pub const fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Applies the options of a file.
    #[cfg(feature = "serde")]
    pub(crate) fn apply(&mut self, config: &hedge_link::ConsulSourceConfig) {
        if let Some(file) = &config.token_file {
            self.token = Some(Given::File(file.as_ref().into()));
        }
        if let Some(name) = &config.datacenter {
            self.datacenter = Some(name.as_ref().into());
        }
        if let Some(time) = config.wait {
            self.wait = time.get();
        }
    }

    /// Opens a source. `rest` is the URL behind `consul://`. This does no I/O.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`](hedge_fleet::NamingErrorKind::Invalid) if the URL is not valid, or a time of the
    /// [`HttpOptions`] is 0.
    pub fn open(&self, rest: &str) -> Result<BoxNaming, NamingError> {
        let invalid = invalid("consul");
        self.common.http.check().map_err(&invalid)?;
        let (places, service) = parse_places(rest).map_err(&invalid)?;
        if service.is_empty() || service.contains(['/', '?', '#']) {
            return Err(invalid(
                "the service is empty or has '/', '?' or '#'; write consul://host:port/service".into(),
            ));
        }
        let mut path = format!("/v1/health/service/{}?passing=1", percent_encoded(service));
        if let Some(datacenter) = &self.datacenter {
            path = format!("{path}&dc={}", percent_encoded(datacenter));
        }
        let wait = self.wait.clamp(Duration::from_secs(1), Duration::from_secs(600));
        let settings = Arc::new(Settings { path, token: self.token.clone(), wait });
        let session = move |client, pace| ConsulSession::new(client, pace, Arc::clone(&settings));
        Ok(self.common.open(format!("consul://{rest}").into(), places, session))
    }
}

impl<R> fmt::Debug for Consul<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Consul");
        fields.field("http", &self.common.http).field("token", &self.token).field("datacenter", &self.datacenter);
        fields.field("wait", &self.wait);
        fields.finish_non_exhaustive()
    }
}

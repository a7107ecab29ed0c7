//! Servers from a file on a web server: [`RemoteFile`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hedge_core::time::{Duration, Instant};
use hedge_fleet::{BoxNaming, NamingError, Update};
use hedge_link::{Credential, Runtime};
use http::header::{AUTHORIZATION, DATE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::client::{Answer, Ask, Client, Fault, HttpOptions, parse_places};
use crate::common::{Common, common_setters, invalid};
use crate::given::Given;
use crate::lines::Lines;
use crate::pace::{Pace, sleep};
use crate::session::Session;

/// The scheme `remotefile`: a list of servers that a web server has, asked for every 5 s.
///
/// The URL is `remotefile://host:port,host:port/path`. It has no query. The list has one server in each line, as
/// [`Update::from_bytes`] reads it. Its content type does not matter.
///
/// The source keeps its connection. If the web server gives an `ETag` or a `Last-Modified`, the source sends it back, and the
/// web server can answer 304 instead of the list. Redirects are not followed.
///
/// ```
/// # fn open<R: hedge_link::Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
/// use hedge_fleet::Schemes;
/// use hedge_naming::RemoteFile;
///
/// let file = RemoteFile::new(runtime);
/// let schemes = Schemes::new().with("remotefile", move |rest| file.open(rest))?;
/// let name = schemes.open("remotefile://10.0.0.5:8080/lists/users")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteFile<R> {
    pub(crate) common: Common<R>,
    authorization: Option<Given<Credential>>,
    every: Duration,
}

/// What a URL and the options say.
struct Settings {
    path: String,
    authorization: Option<Given<Credential>>,
    every: Duration,
}

impl<R: Runtime> RemoteFile<R> {
    /// The defaults: no credential, and one request every 5 s.
    pub fn new(runtime: R) -> Self {
        Self { common: Common::new(runtime), authorization: None, every: Duration::from_secs(5) }
    }

    common_setters!("Times, limits and TLS.", "waits");

    /// The value of the header `authorization`, such as `Bearer TOKEN`.
    #[must_use]
    pub fn authorization(mut self, value: Credential) -> Self {
        self.authorization = Some(Given::Value(value));
        self
    }

    /// The file of the value of the header `authorization`. A thread reads it again for each request.
    #[must_use]
    pub fn authorization_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorization = Some(Given::File(path.into().into()));
        self
    }

    /// How long to wait before the next request. Each wait is random, between 0.8 and 1.2 times this time. A time below
    /// 0.1 s counts as 0.1 s.
    #[must_use]
    pub const fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Applies the options of a file.
    #[cfg(feature = "serde")]
    pub(crate) fn apply(&mut self, config: &hedge_link::RemoteFileSourceConfig) {
        if let Some(file) = &config.authorization_file {
            self.authorization = Some(Given::File(file.as_ref().into()));
        }
        if let Some(time) = config.every {
            self.every = time.get();
        }
    }

    /// Opens a source. `rest` is the URL behind `remotefile://`. This does no I/O.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`](hedge_fleet::NamingErrorKind::Invalid) if the URL is not valid, or a time of the
    /// [`HttpOptions`] is 0.
    pub fn open(&self, rest: &str) -> Result<BoxNaming, NamingError> {
        let invalid = invalid("remotefile");
        if rest.contains('?') {
            // It may be a secret, so it is not shown here either.
            let why = "has a query, which errors and pages would show; give a secret by RemoteFile::authorization";
            return Err(invalid(why.into()));
        }
        self.common.http.check().map_err(&invalid)?;
        let (places, path) = parse_places(rest).map_err(&invalid)?;
        let path = format!("/{}", path.split('#').next().unwrap_or_default());
        if path.parse::<http::uri::PathAndQuery>().is_err() {
            return Err(invalid("the path has characters that a URL cannot have; encode them by '%'".into()));
        }
        let settings = Arc::new(Settings {
            path,
            authorization: self.authorization.clone(),
            every: self.every.max(Duration::from_millis(100)),
        });
        let session = move |client, pace| FileSession::new(client, pace, Arc::clone(&settings));
        Ok(self.common.open(format!("remotefile://{rest}").into(), places, session))
    }
}

impl<R> fmt::Debug for RemoteFile<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("RemoteFile");
        fields.field("http", &self.common.http).field("authorization", &self.authorization);
        fields.field("every", &self.every).finish_non_exhaustive()
    }
}

struct FileSession<R: Runtime> {
    client: Client<R>,
    settings: Arc<Settings>,
    pace: Pace,
    /// When the file is asked for again. `None`: at once.
    ask_at: Option<Instant>,
    /// The header by which the web server can tell whether the list has changed.
    known: Option<(HeaderName, HeaderValue)>,
    /// The list that was given last.
    given: Option<Update>,
}

impl<R: Runtime> Session for FileSession<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let update = self.step().await;
        if update.is_err() {
            // The next list is given even if it is the same: it says that the error is over.
            (self.known, self.given, self.ask_at) = (None, None, None);
            self.client.turn();
        }
        update
    }
}

impl<R: Runtime> FileSession<R> {
    const fn new(client: Client<R>, pace: Pace, settings: Arc<Settings>) -> Self {
        Self { client, settings, pace, ask_at: None, known: None, given: None }
    }

    async fn step(&mut self) -> Result<Update, NamingError> {
        loop {
            if let Some(at) = self.ask_at.take() {
                sleep(self.client.runtime(), at).await;
            }
            let authorization = self.client.credential(self.settings.authorization.as_ref()).await?;
            let mut ask = Ask::get(self.settings.path.clone()).credential(AUTHORIZATION, authorization);
            if let Some((name, value)) = &self.known {
                ask = ask.header(name.clone(), value.clone());
            }
            let answer = self.client.fetch(&ask, Duration::ZERO).await?;
            let list = self.read(&answer).map_err(|fault| self.client.fault(&answer.place, fault))?;
            let every = self.settings.every;
            self.ask_at = Some(self.client.runtime().now() + self.pace.between(every * 4 / 5, every * 6 / 5));
            if let Some(list) = list.filter(|list| self.given.as_ref() != Some(list)) {
                self.given = Some(list.clone());
                return Ok(list);
            }
        }
    }

    /// The list of an answer. `None`: it has not changed.
    fn read(&mut self, answer: &Answer) -> Result<Option<Update>, Fault> {
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if self.known.is_some() => return Ok(None),
            status if status.is_redirection() => {
                return Err(Fault::Content(format!("status {status}: redirects are not followed")));
            }
            status => return Err(Fault::status(status, &answer.body)),
        }
        let list = Lines::read(&answer.body, self.client.secrets())?.into_update();
        self.known = known(&answer.headers);
        Ok(Some(list))
    }
}

/// The header to send back, so that the web server can tell whether its list has changed.
fn known(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    let tag = headers.get(ETAG).map(|tag| (IF_NONE_MATCH, tag));
    let date = || headers.get(LAST_MODIFIED).filter(|modified| is_past(modified, headers.get(DATE)));
    let known = tag.or_else(|| date().map(|date| (IF_MODIFIED_SINCE, date)));
    known.map(|(name, value)| (name, value.clone()))
}

/// Returns whether each later change of the list also changes its date `modified`. The dates of HTTP have steps of 1 s.
/// So a list that was written in the second of the answer, or just before it, may be written again under the same date.
fn is_past(modified: &HeaderValue, now: Option<&HeaderValue>) -> bool {
    let time = |date: &HeaderValue| -> Option<SystemTime> { httpdate::parse_http_date(date.to_str().ok()?).ok() };
    let age = || time(now?)?.duration_since(time(modified)?).ok();
    age().is_some_and(|age| age >= Duration::from_secs(2))
}

//! A small client of HTTP/1.1 for sources of servers: [`Client`]. It asks several endpoints in turn, keeps one connection,
//! and bounds heads, bodies and times.

mod ask;
mod endpoints;
mod fault;
mod live;
mod messages;
mod options;
mod secrets;
mod yielding;

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{NamingError, NamingErrorKind};
use hedge_link::{Connector, Credential, Runtime, before};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;

pub(crate) use ask::Ask;
pub(crate) use endpoints::{Place, parse_places, percent_encoded};
pub(crate) use fault::Fault;
use live::Live;
pub(crate) use messages::{Messages, Next};
pub use options::HttpOptions;
pub(crate) use secrets::Secrets;

use crate::given::{Given, Unreadable};

/// A client of the endpoints of one source. It keeps one connection to the endpoint that has answered last.
pub(crate) struct Client<R: Runtime> {
    runtime: R,
    connector: Connector<R>,
    options: HttpOptions,
    /// The name of the source in errors.
    name: Arc<str>,
    places: Arc<[Place]>,
    /// Which endpoint is asked first.
    at: usize,
    kept: Option<Live<R>>,
    secrets: Secrets,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Who has answered.
    pub(crate) place: Arc<str>,
}

/// The result of a request for an answer that does not end.
pub(crate) enum Opened<R: Runtime> {
    Messages(Messages<R>),
    /// A whole answer with an error status. There are no messages.
    Answer(Answer),
}

impl<R: Runtime> Client<R> {
    /// Makes a client. It connects when it is first used.
    pub(crate) fn new(runtime: R, options: HttpOptions, name: Arc<str>, places: Arc<[Place]>) -> Self {
        let connector = options.connector(runtime.clone());
        Self { runtime, connector, options, name, places, at: 0, kept: None, secrets: Secrets::default() }
    }

    pub(crate) const fn runtime(&self) -> &R {
        &self.runtime
    }

    /// What no error and no bad line may show.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(crate) const fn options(&self) -> &HttpOptions {
        &self.options
    }

    /// Encrypts the connections from now on with these settings.
    #[cfg(feature = "_tls")]
    pub(crate) fn set_tls(&mut self, tls: hedge_link::Tls, name: Option<hedge_link::TlsName>) {
        self.options = self.options.clone().tls(tls, name);
        self.connector = self.options.connector(self.runtime.clone());
        self.kept = None;
    }

    /// Asks the next endpoint first from now on.
    pub(crate) fn turn(&mut self) {
        self.kept = None;
        self.at = (self.at + 1) % self.places.len().max(1);
    }

    /// Asks, and reads the whole answer. If an endpoint fails or answers with a status of 500 or more, the next endpoint
    /// is asked, and each endpoint is asked once. An answer may take `wait` longer than usual.
    pub(crate) async fn fetch(&mut self, ask: &Ask, wait: Duration) -> Result<Answer, NamingError> {
        self.secrets.remember(ask.secrets());
        let mut last = None;
        for _ in 0..self.places.len() {
            let Some(place) = self.places.get(self.at).cloned() else { break };
            let fault = match self.fetch_at(&place, ask, wait).await {
                Ok(answer) if !answer.status.is_server_error() => return Ok(answer),
                Ok(answer) => Fault::status(answer.status, &answer.body),
                Err(fault) => fault,
            };
            last = Some(fault.into_error(&self.name, &place.text, &self.secrets));
            self.turn();
        }
        Err(last.unwrap_or_else(|| self.error(NamingErrorKind::Invalid, "no endpoint")))
    }

    /// Asks for an answer that does not end, on a connection of its own. Only the endpoint that has answered last is
    /// asked.
    pub(crate) async fn watch(&mut self, ask: &Ask) -> Result<Opened<R>, NamingError> {
        self.secrets.remember(ask.secrets());
        let place = self.places.get(self.at).cloned();
        let place = place.ok_or_else(|| self.error(NamingErrorKind::Invalid, "no endpoint"))?;
        self.watch_at(&place, ask).await.map_err(|fault| fault.into_error(&self.name, &place.text, &self.secrets))
    }

    async fn watch_at(&mut self, place: &Place, ask: &Ask) -> Result<Opened<R>, Fault> {
        let mut live = self.connect(place).await?;
        let by = self.runtime.now() + self.options.answer_timeout;
        let head = in_time(&self.runtime, by, live.ask(place, ask, &self.options)).await??;
        let (head, mut body) = head.into_parts();
        let place = Arc::clone(&place.text);
        if head.status.is_success() {
            return Ok(Opened::Messages(Messages::new(live, body, self.options.max_answer, place)));
        }
        let body = self.body(&mut live, &mut body, by).await?;
        Ok(Opened::Answer(Answer { status: head.status, headers: head.headers, body, place }))
    }

    /// Asks one endpoint. A kept connection that breaks before it has answered says nothing about the endpoint, so a
    /// new one is made then.
    async fn fetch_at(&mut self, place: &Place, ask: &Ask, wait: Duration) -> Result<Answer, Fault> {
        if let Some(live) = self.kept.take().filter(|live| live.is_usable(&self.runtime)) {
            match self.exchange(live, place, ask, wait).await {
                Err(Fault::Broken(_)) => {}
                other => return other,
            }
        }
        let live = self.connect(place).await?;
        self.exchange(live, place, ask, wait).await
    }

    async fn exchange(&mut self, mut live: Live<R>, place: &Place, ask: &Ask, wait: Duration) -> Result<Answer, Fault> {
        let by = self.runtime.now() + self.options.answer_timeout + wait;
        let head = in_time(&self.runtime, by, live.ask(place, ask, &self.options)).await??;
        let (head, mut body) = head.into_parts();
        let body = self.body(&mut live, &mut body, by).await?;
        self.kept = Some(live);
        Ok(Answer { status: head.status, headers: head.headers, body, place: Arc::clone(&place.text) })
    }

    async fn body(&mut self, live: &mut Live<R>, body: &mut Incoming, by: Instant) -> Result<Bytes, Fault> {
        in_time(&self.runtime, by, live.whole(body, self.options.max_answer)).await?
    }

    async fn connect(&mut self, place: &Place) -> Result<Live<R>, Fault> {
        let by = self.runtime.now() + self.options.connect_timeout;
        Live::open(&self.runtime, &self.connector, place, by).await
    }

    /// The present credential.
    pub(crate) async fn credential(
        &mut self,
        given: Option<&Given<Credential>>,
    ) -> Result<Option<Credential>, NamingError> {
        let Some(given) = given else { return Ok(None) };
        self.in_files("the credential", given.read()).await.map(Some)
    }

    /// Waits for the content of files, at most for `answer_timeout`. `what` names the content in the error.
    pub(crate) async fn in_files<T>(
        &mut self,
        what: &str,
        read: impl Future<Output = Result<T, Unreadable>>,
    ) -> Result<T, NamingError> {
        let by = self.runtime.now() + self.options.answer_timeout;
        match before(&self.runtime, Some(by), read).await {
            Some(Ok(read)) => Ok(read),
            Some(Err(Unreadable { path, error })) => {
                Err(self.error(NamingErrorKind::Unreachable, error).at(path.display().to_string()))
            }
            None => Err(self.error(NamingErrorKind::TimedOut, format!("{what} could not be read in time"))),
        }
    }

    /// An error of the source.
    pub(crate) fn error(&self, kind: NamingErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> NamingError {
        NamingError::new(Arc::clone(&self.name), kind).because(cause)
    }

    /// An error of the source, for what an endpoint has answered.
    pub(crate) fn fault(&self, place: &Arc<str>, fault: Fault) -> NamingError {
        fault.into_error(&self.name, place, &self.secrets)
    }
}

/// Waits for a part of an answer.
async fn in_time<R: Runtime, F: Future>(runtime: &R, by: Instant, future: F) -> Result<F::Output, Fault> {
    before(runtime, Some(by), future).await.ok_or(Fault::Late("the answer"))
}

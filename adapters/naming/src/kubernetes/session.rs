//! Lists the slices of a service and watches them: [`KubernetesSession`].

use std::sync::Arc;

use bytes::Bytes;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{NamingError, NamingErrorKind, Update};
use hedge_link::{Credential, Runtime, Tls};
use http::StatusCode;
use http::header::AUTHORIZATION;

use super::Settings;
use super::api::{Event, PAGE, SliceList};
use super::slices::Slices;
use crate::client::{Ask, Client, Fault, Messages, Next, Opened, percent_encoded};
use crate::given::read_both;
use crate::pace::Pace;
use crate::session::Session;

/// The most pages of a list.
const MOST_PAGES: usize = 1_000;

pub(super) struct KubernetesSession<R: Runtime> {
    client: Client<R>,
    settings: Arc<Settings>,
    pace: Pace,
    /// The roots that the client trusts. `None`: it has no TLS yet, and may not be used.
    roots: Option<Arc<[u8]>>,
    slices: Slices,
    phase: Phase<R>,
}

/// How far the session is.
enum Phase<R: Runtime> {
    /// The slices must be listed.
    Unlisted,
    /// The slices are known as of this version.
    Known {
        version: String,
        /// Whether the source has returned an error. If so, the list is given again once a watch has begun, which says
        /// that the error is over.
        after_error: bool,
    },
    Watching(Watch<R>),
}

struct Watch<R: Runtime> {
    messages: Messages<R>,
    version: String,
    /// When the watch is given up. The server should end it before that.
    until: Instant,
}

/// What a message of a watch has brought.
enum Brought {
    Changes,
    Nothing,
    /// The watch has ended, or its connection has broken. The next watch goes on where it was.
    End,
    /// The slices must be listed anew.
    Loss,
}

impl<R: Runtime> Session for KubernetesSession<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let update = self.step().await;
        if update.is_err() {
            if !matches!(self.phase, Phase::Known { after_error: true, .. }) {
                self.phase = Phase::Unlisted;
            }
            self.client.turn();
        }
        update
    }
}

impl<R: Runtime> KubernetesSession<R> {
    pub(super) fn new(client: Client<R>, pace: Pace, settings: Arc<Settings>) -> Self {
        Self { client, settings, pace, roots: None, slices: Slices::default(), phase: Phase::Unlisted }
    }

    async fn step(&mut self) -> Result<Update, NamingError> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Unlisted) {
                Phase::Unlisted => {
                    self.pace.turn(self.client.runtime()).await;
                    let Some((version, place)) = self.list().await? else { continue };
                    self.phase = Phase::Known { version, after_error: false };
                    return self.update(&place);
                }
                Phase::Known { version, after_error } => {
                    self.pace.turn(self.client.runtime()).await;
                    let watch = self.watch(version.clone()).await.inspect_err(|error| {
                        // While the API server restarts, what is known stays known. So not all clients list anew.
                        if matches!(error.kind(), NamingErrorKind::Unreachable | NamingErrorKind::TimedOut) {
                            self.phase = Phase::Known { version, after_error: true };
                        }
                    })?;
                    let Some(watch) = watch else { continue };
                    let place = Arc::clone(&watch.messages.place);
                    self.phase = Phase::Watching(watch);
                    if after_error {
                        return self.update(&place);
                    }
                }
                Phase::Watching(mut watch) => match self.follow(&mut watch).await? {
                    Brought::Changes => {
                        let place = Arc::clone(&watch.messages.place);
                        self.phase = Phase::Watching(watch);
                        return self.update(&place);
                    }
                    Brought::Nothing => self.phase = Phase::Watching(watch),
                    Brought::End => self.phase = Phase::Known { version: watch.version, after_error: false },
                    Brought::Loss => {}
                },
            }
        }
    }

    fn update(&self, place: &Arc<str>) -> Result<Update, NamingError> {
        self.slices.update(&self.settings.port, self.client.secrets()).map_err(|fault| self.client.fault(place, fault))
    }

    /// Lists all slices, page by page. `None`: the server no longer accepts the token for the next page (410).
    async fn list(&mut self) -> Result<Option<(String, Arc<str>)>, NamingError> {
        self.slices = Slices::default();
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let page = format!("{}&limit={PAGE}{next}", self.settings.path);
            let ask = self.ask(page).await?;
            let answer = self.client.fetch(&ask, Duration::ZERO).await?;
            if answer.status == StatusCode::GONE && !next.is_empty() {
                return Ok(None);
            }
            let fault = |fault| self.client.fault(&answer.place, fault);
            if !answer.status.is_success() {
                return Err(fault(Fault::status(answer.status, &answer.body)));
            }
            let list: SliceList = serde_json::from_slice(&answer.body).map_err(|error| fault(Fault::json(&error)))?;
            for slice in list.items.0 {
                self.slices.put(slice, &self.settings.port, self.client.secrets()).map_err(fault)?;
            }
            match list.metadata.next.filter(|next| !next.is_empty()) {
                // A watch without a version would begin anywhere.
                None if list.metadata.resource_version.is_empty() => {
                    return Err(fault(Fault::Content("the list has no resourceVersion".into())));
                }
                None => return Ok(Some((list.metadata.resource_version, answer.place))),
                Some(token) => next = format!("&continue={}", percent_encoded(&token)),
            }
        }
        Err(self.client.error(NamingErrorKind::Invalid, format!("the list has more than {MOST_PAGES} pages")))
    }

    /// Begins to watch. `None`: the server does not know this version any more.
    async fn watch(&mut self, version: String) -> Result<Option<Watch<R>>, NamingError> {
        let time = self.settings.watch_for;
        let time = self.pace.between(time, time.saturating_add(time / 4)).as_secs().max(1);
        let path = format!(
            "{}&watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={time}",
            self.settings.path,
            percent_encoded(&version),
        );
        let ask = self.ask(path).await?;
        match self.client.watch(&ask).await? {
            Opened::Messages(messages) => {
                let late = self.client.options().late();
                let until = self.client.runtime().now() + Duration::from_secs(time).saturating_add(late);
                Ok(Some(Watch { messages, version, until }))
            }
            Opened::Answer(answer) if answer.status == StatusCode::GONE => Ok(None),
            Opened::Answer(answer) => Err(self.client.fault(&answer.place, Fault::status(answer.status, &answer.body))),
        }
    }

    /// Waits for one message.
    async fn follow(&mut self, watch: &mut Watch<R>) -> Result<Brought, NamingError> {
        let next = watch.messages.next(self.client.runtime(), watch.until).await;
        let brought = match next {
            Ok(Next::Message(message)) => self.take_in(&message, &mut watch.version),
            Ok(Next::End) | Err(Fault::Broken(_)) => Ok(Brought::End),
            Ok(Next::Nothing) => Err(Fault::Late("the end of the watch")),
            Err(fault) => Err(fault),
        };
        brought.map_err(|fault| self.client.fault(&watch.messages.place, fault))
    }

    fn take_in(&mut self, message: &Bytes, version: &mut String) -> Result<Brought, Fault> {
        let Event { kind, object } = serde_json::from_slice(message).map_err(|error| Fault::json(&error))?;
        if kind == "ERROR" {
            let said = object.message.unwrap_or_default();
            return match object.code.map(StatusCode::from_u16) {
                Some(Ok(StatusCode::GONE)) => Ok(Brought::Loss),
                Some(Ok(status)) => Err(Fault::Status(status, said)),
                _ => Err(Fault::Content(format!("the watch has failed: {said}"))),
            };
        }
        if !object.metadata.resource_version.is_empty() {
            version.clone_from(&object.metadata.resource_version);
        }
        match &*kind {
            "BOOKMARK" => return Ok(Brought::Nothing),
            "ADDED" | "MODIFIED" => self.slices.put(object, &self.settings.port, self.client.secrets())?,
            "DELETED" => self.slices.delete(&object.metadata.name),
            other => return Err(Fault::Content(format!("unknown type of event {other:?}"))),
        }
        Ok(Brought::Changes)
    }

    /// A request with the token of this moment, over TLS with the roots of this moment.
    async fn ask(&mut self, path: String) -> Result<Ask, NamingError> {
        let both = read_both(&self.settings.token, &self.settings.roots);
        let (token, roots) = self.client.in_files("the token and the root certificates", both).await?;
        if self.roots.as_ref() != Some(&roots) {
            let tls = Tls::builder().root_pem(&roots).build();
            let tls = tls.map_err(|error| self.client.error(NamingErrorKind::Invalid, error))?;
            self.client.set_tls(tls, self.settings.tls_name.clone());
            self.roots = Some(roots);
        }
        let token = Credential::new(format!("Bearer {}", token.as_str()));
        Ok(Ask::get(path).credential(AUTHORIZATION, Some(token)))
    }
}

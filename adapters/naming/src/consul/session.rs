//! Asks consul for the instances of a service, and for their changes: [`ConsulSession`].

use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{NamingError, Update};
use hedge_link::Runtime;
use http::HeaderName;

use super::Settings;
use super::api::{Instances, update};
use crate::client::{Answer, Ask, Client, Fault};
use crate::pace::Pace;
use crate::session::Session;

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");

pub(super) struct ConsulSession<R: Runtime> {
    client: Client<R>,
    settings: Arc<Settings>,
    pace: Pace,
    /// The index (`X-Consul-Index`) of the last answer. If it is 0, consul answers the next query at once.
    index: u64,
    /// The list that was given last.
    given: Option<Update>,
}

impl<R: Runtime> Session for ConsulSession<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let update = self.step().await;
        if update.is_err() {
            // The next answer comes at once, and is given even if nothing has changed: it says that the error is over.
            (self.index, self.given) = (0, None);
            self.client.turn();
        }
        update
    }
}

impl<R: Runtime> ConsulSession<R> {
    pub(super) const fn new(client: Client<R>, pace: Pace, settings: Arc<Settings>) -> Self {
        Self { client, settings, pace, index: 0, given: None }
    }

    async fn step(&mut self) -> Result<Update, NamingError> {
        loop {
            self.pace.turn(self.client.runtime()).await;
            let (path, wait) = self.query();
            let token = self.client.credential(self.settings.token.as_ref()).await?;
            let ask = Ask::get(path).credential(TOKEN, token);
            let answer = self.client.fetch(&ask, wait).await?;
            let list = self.read(&answer).map_err(|fault| self.client.fault(&answer.place, fault))?;
            if self.given.as_ref() != Some(&list) {
                self.given = Some(list.clone());
                return Ok(list);
            }
        }
    }

    /// The path of the next query, and how long consul may wait before it answers.
    fn query(&self) -> (String, Duration) {
        let path = &self.settings.path;
        if self.index == 0 {
            return (path.clone(), Duration::ZERO);
        }
        let seconds = self.settings.wait.as_millis().div_ceil(1_000);
        // consul waits for up to a sixteenth longer, so that not all clients ask again at once.
        (format!("{path}&index={}&wait={seconds}s", self.index), self.settings.wait + self.settings.wait / 16)
    }

    fn read(&mut self, answer: &Answer) -> Result<Update, Fault> {
        if !answer.status.is_success() {
            return Err(Fault::status(answer.status, &answer.body));
        }
        let index = answer.headers.get(INDEX).and_then(|index| index.to_str().ok()?.parse::<u64>().ok());
        let index = index.ok_or_else(|| Fault::Content("the answer has no X-Consul-Index; is this consul?".into()))?;
        let instances: Instances = serde_json::from_slice(&answer.body).map_err(|error| Fault::json(&error))?;
        // After consul was restored its index may go back, and must then not be used. An index of 0 would not wait.
        self.index = if index < self.index { 0 } else { index.max(1) };
        update(&instances, self.client.secrets())
    }
}

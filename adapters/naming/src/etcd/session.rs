//! Reads a prefix of etcd and watches it: [`EtcdSession`].

use std::sync::Arc;

use bytes::Bytes;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{NamingError, Update};
use hedge_link::{Credential, Runtime};
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Settings;
use super::api::{Authenticated, Message, Number, PAGE, Range, Watched, behind, encode};
use super::keys::Keys;
use crate::client::{Answer, Ask, Client, Fault, Messages, Next, Opened};
use crate::pace::Pace;
use crate::session::Session;

pub(super) struct EtcdSession<R: Runtime> {
    client: Client<R>,
    settings: Arc<Settings>,
    pace: Pace,
    /// What etcd gave for the user's password.
    token: Option<Credential>,
    keys: Keys,
    phase: Phase<R>,
}

/// How far the session is.
enum Phase<R: Runtime> {
    /// The keys must be read.
    Unread,
    /// The keys were read at this revision.
    Read(Number),
    Watching(Watch<R>),
}

struct Watch<R: Runtime> {
    messages: Messages<R>,
    /// The newest revision that is known from reading the keys or from the watch.
    seen: Number,
    /// When etcd is asked whether the watch has missed something.
    check_at: Instant,
}

/// What a message of a watch has brought.
enum Brought {
    Changes,
    Nothing,
    /// The keys must be read anew.
    Loss,
}

impl<R: Runtime> Session for EtcdSession<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        let update = self.step().await;
        if update.is_err() {
            self.phase = Phase::Unread;
            self.client.turn();
        }
        update
    }
}

impl<R: Runtime> EtcdSession<R> {
    pub(super) fn new(client: Client<R>, pace: Pace, settings: Arc<Settings>) -> Self {
        let keys = Keys::new(client.options().max_list());
        Self { client, settings, pace, token: None, keys, phase: Phase::Unread }
    }

    async fn step(&mut self) -> Result<Update, NamingError> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Unread) {
                Phase::Unread => {
                    self.pace.turn(self.client.runtime()).await;
                    let Some((revision, place)) = self.read().await? else { continue };
                    self.phase = Phase::Read(revision);
                    return self.keys.update(self.client.secrets()).map_err(|what| self.client.fault(&place, what));
                }
                Phase::Read(revision) => self.phase = Phase::Watching(self.watch(revision).await?),
                Phase::Watching(mut watch) => match self.follow(&mut watch).await? {
                    Brought::Changes => {
                        let update = self.keys.update(self.client.secrets());
                        let update = update.map_err(|what| self.client.fault(&watch.messages.place, what));
                        self.phase = Phase::Watching(watch);
                        return update;
                    }
                    Brought::Nothing => self.phase = Phase::Watching(watch),
                    Brought::Loss => {}
                },
            }
        }
    }

    /// Reads all keys, page by page, at one revision. `None`: that revision was compacted meanwhile.
    async fn read(&mut self) -> Result<Option<(Number, Arc<str>)>, NamingError> {
        self.keys.clear();
        let end = behind(self.settings.prefix.as_bytes());
        let mut from = self.settings.prefix.clone().into_bytes();
        let mut revision = Number(0);
        loop {
            let page = json!({
                "key": encode(&from), "range_end": encode(&end), "limit": PAGE, "revision": revision.0.to_string(),
            });
            let answer = self.ask("/v3/kv/range", &page).await?;
            if answer.status == StatusCode::BAD_REQUEST && revision.0 > 0 && says(&answer.body, "compacted") {
                return Ok(None);
            }
            let range: Range = self.parse(&answer)?;
            if revision.0 == 0 {
                revision = range.header.revision;
            }
            let last = range.kvs.0.last().map(|pair| pair.key.0.clone());
            for pair in range.kvs.0 {
                let put = self.keys.put(pair.key.0, pair.value.0);
                put.map_err(|fault| self.client.fault(&answer.place, fault))?;
            }
            match last {
                // A server that goes in a circle would be read for ever.
                Some(last) if range.more && last >= from => {
                    from = last;
                    from.push(0);
                }
                _ => return Ok(Some((revision, answer.place))),
            }
        }
    }

    async fn watch(&mut self, revision: Number) -> Result<Watch<R>, NamingError> {
        let prefix = self.settings.prefix.as_bytes();
        let start = revision.0.saturating_add(1);
        let request = json!({ "create_request": {
            "key": encode(prefix), "range_end": encode(&behind(prefix)), "start_revision": start.to_string(),
            "progress_notify": true,
        }});
        let ask = Ask::post("/v3/watch", &request).credential(AUTHORIZATION, self.token.clone());
        let messages = match self.client.watch(&ask).await? {
            Opened::Messages(messages) => messages,
            Opened::Answer(answer) => {
                self.token = None;
                return Err(self.client.fault(&answer.place, Fault::status(answer.status, &answer.body)));
            }
        };
        Ok(Watch { messages, seen: revision, check_at: self.next_check() })
    }

    fn next_check(&mut self) -> Instant {
        let every = self.settings.check_every;
        self.client.runtime().now() + self.pace.between(every, every.saturating_add(every / 5))
    }

    /// Waits for one message.
    async fn follow(&mut self, watch: &mut Watch<R>) -> Result<Brought, NamingError> {
        let next = watch.messages.next(self.client.runtime(), watch.check_at).await;
        let fault = |client: &Client<R>, fault| client.fault(&watch.messages.place, fault);
        let message = match next.map_err(|cause| fault(&self.client, cause))? {
            Next::Message(message) => message,
            Next::End => return Err(fault(&self.client, Fault::Ended)),
            Next::Nothing => {
                let has_missed = self.has_missed(watch).await?;
                watch.check_at = self.next_check();
                return Ok(if has_missed { Brought::Loss } else { Brought::Nothing });
            }
        };
        watch.check_at = self.next_check();
        let message = read_message(&message).inspect_err(|cause| {
            if matches!(cause, Fault::Refused(_)) {
                self.token = None;
            }
        });
        let message = message.map_err(|cause| fault(&self.client, cause))?;
        self.take_in(message, &mut watch.seen).map_err(|cause| fault(&self.client, cause))
    }

    fn take_in(&mut self, message: Watched, seen: &mut Number) -> Result<Brought, Fault> {
        if message.canceled && message.compact_revision.0 > 0 {
            return Ok(Brought::Loss);
        }
        if message.canceled {
            // A token that etcd does not accept any more is a reason too.
            self.token = None;
            return Err(cancelled(message.cancel_reason));
        }
        if message.created && message.events.0.is_empty() {
            // Its revision is the newest of etcd, and the changes up to there are still to come.
            return Ok(Brought::Nothing);
        }
        if message.events.0.is_empty() {
            // Progress: the watch has told all up to here.
            *seen = (*seen).max(message.header.revision);
            return Ok(Brought::Nothing);
        }
        for event in message.events.0 {
            *seen = (*seen).max(event.kv.mod_revision);
            match &*event.kind {
                "" | "PUT" => self.keys.put(event.kv.key.0, event.kv.value.0)?,
                "DELETE" => self.keys.delete(&event.kv.key.0),
                other => return Err(Fault::Content(format!("unknown type of event {other:?}"))),
            }
        }
        Ok(Brought::Changes)
    }

    /// Returns whether the prefix has a newer revision, or another number of keys, than the watch has reported. If
    /// another endpoint answers, the result is true, since the watched endpoint no longer answers.
    async fn has_missed(&mut self, watch: &mut Watch<R>) -> Result<bool, NamingError> {
        let prefix = self.settings.prefix.as_bytes();
        let newest = json!({
            "key": encode(prefix), "range_end": encode(&behind(prefix)), "limit": 1, "keys_only": true,
            "sort_order": "DESCEND", "sort_target": "MOD",
        });
        let answer = self.ask("/v3/kv/range", &newest).await?;
        let range: Range = self.parse(&answer)?;
        let is_newer = range.kvs.0.iter().any(|pair| pair.mod_revision > watch.seen);
        let is_other = answer.place != watch.messages.place;
        Ok(is_newer || is_other || usize::try_from(range.count.0) != Ok(self.keys.len()))
    }

    /// Posts a request with the user's token. A token that is not accepted is replaced once.
    async fn ask(&mut self, path: &str, body: &Value) -> Result<Answer, NamingError> {
        self.log_in().await?;
        let answer = self.post(path, body).await?;
        let is_refused = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST);
        if !is_refused || self.token.take().is_none() || !says(&answer.body, "auth") {
            return Ok(answer);
        }
        self.log_in().await?;
        self.post(path, body).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Answer, NamingError> {
        let ask = Ask::post(path, body).credential(AUTHORIZATION, self.token.clone());
        self.client.fetch(&ask, Duration::ZERO).await
    }

    async fn log_in(&mut self) -> Result<(), NamingError> {
        let Some((name, password)) = self.settings.user.as_ref().filter(|_| self.token.is_none()) else {
            return Ok(());
        };
        let password = self.client.in_files("the password", password.read()).await?;
        let body = json!({ "name": &**name, "password": password.as_str() });
        let ask = Ask::post("/v3/auth/authenticate", &body).secret(password);
        let answer = self.client.fetch(&ask, Duration::ZERO).await?;
        // As etcd's own client does: where no user is needed, none is used.
        if answer.status.is_client_error() && says(&answer.body, "authentication is not enabled") {
            return Ok(());
        }
        if !answer.status.is_success() {
            // What is wrong with a user is a 400 too.
            let denied = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
            let fault = Fault::status(answer.status, &answer.body);
            let fault = if denied { Fault::Refused(format!("the user {name:?} is not accepted")) } else { fault };
            return Err(self.client.fault(&answer.place, fault));
        }
        // The text of an error of JSON could show the token.
        let token = serde_json::from_slice::<Authenticated>(&answer.body).ok().map(|answer| answer.token);
        let token = token.filter(|token| !token.is_empty());
        let none = || Fault::Content("the answer to the user and the password has no token".into());
        self.token =
            Some(Credential::new(token.ok_or_else(none).map_err(|fault| self.client.fault(&answer.place, fault))?));
        Ok(())
    }

    fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, NamingError> {
        let parsed = if answer.status.is_success() {
            serde_json::from_slice(&answer.body).map_err(|error| Fault::json(&error))
        } else {
            Err(Fault::status(answer.status, &answer.body))
        };
        parsed.map_err(|fault| self.client.fault(&answer.place, fault))
    }
}

fn read_message(message: &Bytes) -> Result<Watched, Fault> {
    let message: Message = serde_json::from_slice(message).map_err(|error| Fault::json(&error))?;
    match message {
        Message { error: Some(error), .. } if error.is_denied() => Err(Fault::Refused(error.message)),
        Message { error: Some(error), .. } => Err(Fault::Stopped(error.message)),
        Message { result: Some(result), .. } => Ok(result),
        Message { .. } => Err(Fault::Content("a message of the watch has no result".into())),
    }
}

/// The fault of a watch that etcd has ended for this reason. The reason is a text alone: etcd gives no code.
fn cancelled(reason: String) -> Fault {
    let denied = ["PermissionDenied", "Unauthenticated", "permission denied", "auth token"];
    if denied.iter().any(|words| reason.contains(words)) { Fault::Refused(reason) } else { Fault::Stopped(reason) }
}

/// Whether an error of etcd has this word.
fn says(body: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(body).contains(word)
}

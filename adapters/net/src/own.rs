//! What a call keeps beside what every host's calls keep: [`Own`], its own servers and its haste.

use std::sync::Arc;

use hedge_core::id::{AddressKey, ServerId};
use hedge_core::outcome::{Code, ErrorKind, Feedback, Finished};
use hedge_core::policy::{CallOptions, ChannelOptions};
use hedge_core::time::{Instant, Timeout};
use hedge_fleet::{MAX_SERVERS, Server, Servers};

use crate::outage::{Node, Outage};

/// What a call keeps for itself.
#[derive(Default)]
pub(crate) struct Own {
    deadline: Instant,
    /// The call gives connections less time than its channel does.
    hurries: bool,
    /// Those of its own servers (S8) that are not in the list.
    servers: Vec<Arc<Node>>,
    /// All of its own servers, in its order.
    ids: Option<Vec<ServerId>>,
}

impl Own {
    /// What a call keeps that names `servers` itself; those in the list are the list's.
    pub(crate) fn with_servers(list: &Servers<Server, Outage>, servers: &[Server]) -> Self {
        let now = list.load();
        let mut own: Vec<Arc<Node>> = Vec::new();
        let mut ids = Vec::with_capacity(servers.len());
        // A call makes a few attempts, so it never comes to servers beyond the ids there are.
        for (server, slot) in servers.iter().zip(MAX_SERVERS..=u16::MAX) {
            if let Some(node) = now.list().named(server).or_else(|| own.iter().find(|node| node.key() == server)) {
                ids.push(node.id());
                continue;
            }
            let same_address = |node: &&Arc<Node>| node.key().address == server.address;
            let own_key = || own.iter().find(same_address).map(|node| node.address_key());
            let key = now.list().key_of(&server.address).or_else(own_key);
            let (id, key) = (ServerId::new(slot, 0), key.unwrap_or_else(|| AddressKey::of(&server.address)));
            own.push(Node::of_a_call(server.clone(), Outage::from(key), id));
            ids.push(id);
        }
        Self { servers: own, ids: Some(ids), ..Self::default() }
    }

    pub(crate) fn servers(&self) -> &[Arc<Node>] {
        &self.servers
    }

    pub(crate) fn ids(&self) -> Option<&[ServerId]> {
        self.ids.as_deref()
    }

    /// The call starts.
    pub(crate) fn begin(&mut self, options: &CallOptions<'_>, of_the_channel: &ChannelOptions, now: Instant) {
        self.deadline = match options.timeout.unwrap_or(of_the_channel.timeout) {
            Timeout::After(timeout) => now + timeout,
            Timeout::Never => Instant::NEVER,
        };
        self.hurries = match (options.connect_timeout, of_the_channel.connect_timeout) {
            (Some(Timeout::After(own)), Timeout::After(of_the_channel)) => own < of_the_channel,
            (Some(Timeout::After(_)), Timeout::Never) => true,
            (Some(Timeout::Never) | None, _) => false,
        };
    }

    /// Whether an attempt's end says that its server cannot be connected to. Where the call had no time left for that, it
    /// says nothing.
    pub(crate) fn found_broken(&self, attempt: &Finished) -> bool {
        let code = attempt.code;
        code == ErrorKind::Refused.into()
            || (code == Code::from(ErrorKind::ConnectTimeout) && attempt.now < self.deadline)
    }

    /// What an attempt says of its server. A connection that had less time than the channel gives says nothing: a call's
    /// own haste is no fault that others should hear of (H1).
    pub(crate) fn heard(&self, attempt: &Finished) -> Finished {
        let hasty = self.hurries && attempt.code == ErrorKind::ConnectTimeout.into();
        let (age, code) = (attempt.feedback.elapsed(), ErrorKind::Local.into());
        if hasty { Finished { feedback: Feedback::Local { age }, code, ..*attempt } } else { *attempt }
    }
}

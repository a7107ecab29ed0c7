//! What each call of a channel keeps for itself: [`CallState`] holds the servers that the call named, and whether its connect
//! timeout is shorter than the channel's.

use std::sync::Arc;

use hedge_core::id::{AddressKey, ServerId};
use hedge_core::outcome::{Code, ErrorKind, Feedback, Finished};
use hedge_core::policy::{CallOptions, ChannelOptions};
use hedge_core::time::Instant;
use hedge_fleet::{MAX_SERVERS, Server, Servers};

use crate::check_state::{CheckState, Node};

/// What a call keeps for itself.
#[derive(Default)]
pub(crate) struct CallState {
    deadline: Instant,
    /// The call's connect timeout is shorter than the channel's.
    hurries: bool,
    /// The servers that the call named ([S8](hedge_core::rules#S8)) and that are not in the list.
    servers: Vec<Arc<Node>>,
    /// The ids of all servers that the call named, in its order. `None`: it named none.
    ids: Option<Vec<ServerId>>,
}

impl CallState {
    /// For a call that names `servers` itself. For those that are in the list, the list's nodes are used.
    pub(crate) fn with_servers(list: &Servers<Server, CheckState>, servers: &[Server]) -> Self {
        let now = list.load();
        let mut own: Vec<Arc<Node>> = Vec::new();
        let mut ids = Vec::with_capacity(servers.len());
        // There may be more servers than ids. A call makes at most a few attempts, so it never needs the servers that
        // are left out here.
        for (server, slot) in servers.iter().zip(MAX_SERVERS..=u16::MAX) {
            if let Some(node) = now.list().named(server).or_else(|| own.iter().find(|node| node.key() == server)) {
                ids.push(node.id());
                continue;
            }
            let same_address = |node: &&Arc<Node>| node.key().address == server.address;
            let own_key = || own.iter().find(same_address).map(|node| node.address_key());
            let key = now.list().key_of(&server.address).or_else(own_key);
            let (id, key) = (ServerId::new(slot, 0), key.unwrap_or_else(|| AddressKey::of(&server.address)));
            own.push(Node::of_a_call(server.clone(), CheckState::from(key), id));
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

    /// Records the call's deadline and whether its connect timeout is shorter than the channel's.
    pub(crate) fn prepare(&mut self, options: &CallOptions<'_>, of_the_channel: &ChannelOptions, now: Instant) {
        self.deadline = options.timeout.unwrap_or(of_the_channel.timeout).ends(now);
        self.hurries = options.connect_timeout.is_some_and(|own| own < of_the_channel.connect_timeout);
    }

    /// Whether the end of an attempt shows that its server cannot be connected to. If the connect timeout was cut short
    /// by the call's deadline, it does not.
    pub(crate) fn found_broken(&self, attempt: &Finished) -> bool {
        let code = attempt.code;
        code == ErrorKind::Refused.into()
            || (code == Code::from(ErrorKind::ConnectTimeout) && attempt.now < self.deadline)
    }

    /// The result of an attempt, adjusted for balancer and breaker. If the call's connect timeout is shorter than the
    /// channel's, running into it says nothing about the server, so it is reported as a local failure
    /// ([H1](hedge_core::rules#H1)).
    pub(crate) fn adjusted(&self, attempt: &Finished) -> Finished {
        let hasty = self.hurries && attempt.code == ErrorKind::ConnectTimeout.into();
        let (age, code) = (attempt.feedback.elapsed(), ErrorKind::Local.into());
        if hasty { Finished { feedback: Feedback::Local { age }, code, ..*attempt } } else { *attempt }
    }
}

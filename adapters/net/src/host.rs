//! What a call asks of its channel: [`Shared`], which all calls share, and [`CallHost`], one call's view of it.

use std::sync::{Arc, OnceLock};

use hedge_core::balance::{AnyBalancer, Balancer, Candidate, Seeds, ServerList, select};
use hedge_core::call::{AddressKey, Feedback, Host, NoServer, Pick, Selection, ServerId};
use hedge_core::drive::Addresses;
use hedge_core::limit::{Counted, Limits};
use hedge_core::policy::{self, BackupDelay, BackupPolicy, ChannelOptions, Denial, Ended};
use hedge_core::time::Instant;

use crate::address::Address;
use crate::naming::Server;
use crate::node::{MAX_SERVERS, Node, Servers, Snapshot};

/// How many attempts a call holds, the first included: `max_retry` is at most one less.
pub const MAX_ATTEMPTS: usize = 8;

/// The channel's limits, whose refusals are counted, and the user's own policy.
pub(crate) type Policy = Counted<(Limits, Option<policy::Shared<Arc<dyn BackupPolicy + Send + Sync>>>)>;

/// Everything that a channel's calls share.
pub(crate) struct Shared {
    pub(crate) servers: Servers,
    pub(crate) balancer: AnyBalancer,
    pub(crate) options: ChannelOptions,
    pub(crate) policy: Policy,
    pub(crate) seeds: Seeds,
}

/// The servers that a call went to: kept for its report, and for settling with them even after the list has changed.
pub(crate) type Tried = [OnceLock<Arc<Node>>; MAX_ATTEMPTS];

/// The server among those that were tried.
pub(crate) fn find(tried: &Tried, id: ServerId) -> Option<&Arc<Node>> {
    tried.iter().map_while(OnceLock::get).find(|node| node.id == id)
}

/// One call's host: the channel, the servers that the call named itself (S8), and those it has gone to.
pub(crate) struct CallHost<'c> {
    shared: &'c Shared,
    own: Vec<Arc<Node>>,
    tried: Tried,
}

impl<'c> CallHost<'c> {
    pub(crate) fn new(shared: &'c Shared) -> Self {
        Self { shared, own: Vec::new(), tried: Tried::default() }
    }

    /// A host that knows `servers` too; answers their ids in that order. Those in the channel's list are the channel's.
    pub(crate) fn with_servers(shared: &'c Shared, servers: &[Server]) -> (Self, Vec<ServerId>) {
        let now = shared.servers.load();
        let mut host = Self::new(shared);
        let mut ids = Vec::with_capacity(servers.len());
        // A call makes a few attempts, so it never comes to servers beyond the ids there are.
        for (server, slot) in servers.iter().zip(MAX_SERVERS..=u16::MAX) {
            if let Some(node) = now.named(server).or_else(|| host.own.iter().find(|node| node.server == *server)) {
                ids.push(node.id);
                continue;
            }
            let same_address = |node: &&Arc<Node>| node.server.address == server.address;
            let own_key = host.own.iter().find(same_address).map(|node| node.address_key);
            let key = now.key_of(&server.address).or(own_key).unwrap_or_else(|| AddressKey::of(&server.address));
            let id = ServerId::new(slot, 0);
            host.own.push(Node::new(server.clone(), id, key));
            ids.push(id);
        }
        (host, ids)
    }

    pub(crate) fn into_tried(self) -> Tried {
        self.tried
    }

    fn own(&self, id: ServerId) -> Option<&Arc<Node>> {
        self.own.iter().find(|node| node.id == id)
    }
}

/// The channel's list and the call's own servers, for finding by id.
struct Both<'a>(&'a Snapshot, &'a CallHost<'a>);

impl ServerList for Both<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.0.at(position)
    }

    fn find(&self, server: ServerId) -> Option<Candidate> {
        self.0.find(server).or_else(|| self.1.own(server).map(|node| node.candidate()))
    }
}

impl Host for CallHost<'_> {
    fn options(&self) -> &ChannelOptions {
        &self.shared.options
    }

    fn seeds(&self) -> &Seeds {
        &self.shared.seeds
    }

    fn addresses(&self) -> usize {
        self.shared.servers.load().addresses()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick, NoServer> {
        select(&Both(&self.shared.servers.load(), self), &self.shared.balancer, selection, random)
    }

    fn commit(&self, pick: &Pick, insist: bool) -> bool {
        let taken = pick.ticket.is_none_or(|ticket| self.shared.balancer.commit(ticket, insist));
        if taken {
            let now = self.shared.servers.load();
            let known = now.node(pick.server).or_else(|| self.own(pick.server));
            if let Some(node) = known.or_else(|| find(&self.tried, pick.server)) {
                node.started();
                if find(&self.tried, node.id).is_none()
                    && let Some(place) = self.tried.iter().find(|place| place.get().is_none())
                {
                    place.get_or_init(|| Arc::clone(node));
                }
            }
        }
        taken
    }

    fn finished(&self, server: ServerId, _: Feedback) {
        // The node of a server that has left the list is nobody's but this call's: what it is told is dropped (L20).
        if let Some(node) = find(&self.tried, server) {
            node.finished();
        }
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        let own = self.shared.policy.delay(now);
        own.unwrap_or(self.shared.options.backup)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.shared.policy.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.shared.policy.may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.shared.policy.ended(call);
    }
}

impl Addresses for CallHost<'_> {
    type Address = Address;

    fn address_of(&self, server: ServerId) -> Option<Address> {
        find(&self.tried, server).map(|node| node.server.address.clone())
    }
}

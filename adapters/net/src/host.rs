//! What a call asks of its channel: [`Shared`], which all calls share, and [`CallHost`], one call's view of it.

use std::sync::{Arc, OnceLock};

use hedge_core::balance::{AnyTicket, Balancer as _, NoServer, Pick, Selection, select};
use hedge_core::call::Host;
use hedge_core::drive::Addresses;
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::limit::{Counted, Limits};
use hedge_core::outcome::{Code, Denial, ErrorKind, Feedback, Finished};
use hedge_core::policy::{BackupDelay, BackupPolicy, CallLatencies, ChannelOptions, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

use crate::address::Address;
use crate::caught::Guarded;
use crate::fleet::Fleet;
use crate::list::{MAX_SERVERS, View};
use crate::naming::Server;
use crate::node::Node;

/// How many attempts a call holds, the first included: `max_retry` is at most one less.
pub const MAX_ATTEMPTS: usize = 8;

/// How many attempts of a call may be in flight at once, gRPC's maximum: `max_backups` is at most one less.
pub(crate) const MAX_IN_FLIGHT: usize = 5;

/// The channel's limits, whose refusals are counted, and the user's own policy.
pub(crate) type Policy = Counted<(Limits, Option<Guarded<Arc<dyn BackupPolicy + Send + Sync>>>)>;

/// Everything that a channel's calls share.
pub(crate) struct Shared {
    pub(crate) fleet: Arc<Fleet>,
    /// The balancer's word, which no list changes.
    pub(crate) needs_request_code: bool,
    pub(crate) options: ChannelOptions,
    pub(crate) policy: Policy,
    pub(crate) latencies: CallLatencies,
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
    /// The call's.
    deadline: Instant,
    /// The call gives connections less time than its channel does.
    hurries: bool,
    own: Vec<Arc<Node>>,
    tried: Tried,
}

impl<'c> CallHost<'c> {
    pub(crate) fn new(shared: &'c Shared, deadline: Instant) -> Self {
        Self { shared, deadline, hurries: false, own: Vec::new(), tried: Tried::default() }
    }

    /// The same, of a call with a connect timeout of its own.
    pub(crate) fn connecting_within(self, own: Option<Timeout>) -> Self {
        let hurries = match (own, self.shared.options.connect_timeout) {
            (Some(Timeout::After(own)), Timeout::After(of_the_channel)) => own < of_the_channel,
            (Some(Timeout::After(_)), Timeout::Never) => true,
            (Some(Timeout::Never) | None, _) => false,
        };
        Self { hurries, ..self }
    }

    /// A host that knows `servers` too; answers their ids in that order. Those in the channel's list are the channel's.
    pub(crate) fn with_servers(shared: &'c Shared, deadline: Instant, servers: &[Server]) -> (Self, Vec<ServerId>) {
        let now = shared.fleet.load();
        let mut host = Self::new(shared, deadline);
        let mut ids = Vec::with_capacity(servers.len());
        // A call makes a few attempts, so it never comes to servers beyond the ids there are.
        for (server, slot) in servers.iter().zip(MAX_SERVERS..=u16::MAX) {
            if let Some(node) = now.nodes.named(server).or_else(|| host.own.iter().find(|node| node.server == *server))
            {
                ids.push(node.id);
                continue;
            }
            let same_address = |node: &&Arc<Node>| node.server.address == server.address;
            let own_key = host.own.iter().find(same_address).map(|node| node.address_key);
            let key = now.nodes.key_of(&server.address).or(own_key);
            let id = ServerId::new(slot, 0);
            let key = key.unwrap_or_else(|| AddressKey::of(&server.address));
            host.own.push(Node::of_a_call(server.clone(), id, key));
            ids.push(id);
        }
        (host, ids)
    }

    pub(crate) fn into_tried(self) -> Tried {
        self.tried
    }

    /// A server that is not in the list: the call's own, or one that has gone while the call is at it.
    fn elsewhere(&self, id: ServerId) -> Option<&Arc<Node>> {
        self.own.iter().find(|node| node.id == id).or_else(|| find(&self.tried, id))
    }

    /// An attempt is sent to a server.
    fn started(&self, node: &Arc<Node>) {
        node.started();
        if find(&self.tried, node.id).is_none()
            && let Some(place) = self.tried.iter().find(|place| place.get().is_none())
        {
            place.get_or_init(|| Arc::clone(node));
        }
    }

    /// Whether an attempt's end says that its server cannot be connected to. Where the call had no time left for that, it
    /// says nothing.
    fn found_broken(&self, attempt: &Finished) -> bool {
        let code = attempt.code;
        code == ErrorKind::Refused.into()
            || (code == Code::from(ErrorKind::ConnectTimeout) && attempt.now < self.deadline)
    }

    /// What an attempt says of its server. A connection that had less time than the channel gives says nothing: a call's
    /// own haste is no fault that others should hear of (H1).
    fn heard(&self, attempt: &Finished) -> Finished {
        let hasty = self.hurries && attempt.code == ErrorKind::ConnectTimeout.into();
        let (age, code) = (attempt.feedback.took(), ErrorKind::Local.into());
        if hasty { Finished { feedback: Feedback::Local { age }, code, ..*attempt } } else { *attempt }
    }
}

impl Host for CallHost<'_> {
    type Ticket = AnyTicket;

    fn options(&self) -> &ChannelOptions {
        &self.shared.options
    }

    fn seeds(&self) -> &Seeds {
        &self.shared.seeds
    }

    fn addresses(&self) -> usize {
        self.shared.fleet.load().nodes.addresses()
    }

    fn needs_request_code(&self) -> bool {
        self.shared.needs_request_code
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<AnyTicket>, NoServer> {
        let fleet = &self.shared.fleet;
        let list = fleet.load();
        let view = View { nodes: &list.nodes, health: &fleet.health, own: &self.own, now: selection.now };
        let recovers = fleet.health.recovers() && selection.by_balancer();
        if recovers && !fleet.health.admit(selection.now, || view.usable(), &mut *random) {
            return fleet.last_resort(&list.nodes, selection);
        }
        match select(&view, &list.balancer, selection, random) {
            Err(NoServer::AllDown) => {
                if recovers {
                    fleet.health.all_down(selection.now);
                }
                fleet.last_resort(&list.nodes, selection)
            }
            pick => pick,
        }
    }

    fn commit(&self, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
        let fleet = &self.shared.fleet;
        let list = fleet.load();
        let Some(node) = list.nodes.get(pick.server) else {
            if let Some(node) = self.elsewhere(pick.server) {
                self.started(node);
            }
            return true;
        };
        if !fleet.health.started(&node.health, now, insist) {
            return false;
        }
        if !pick.ticket.is_none_or(|ticket| list.balancer.commit(ticket, insist)) {
            fleet.health.withdrawn(&node.health, now);
            return false;
        }
        self.started(node);
        let view = View { nodes: &list.nodes, health: &fleet.health, own: &[], now };
        list.balancer.started(&view, pick.server, pick.ticket, now);
        true
    }

    fn finished(&self, attempt: &Finished) {
        if let Some(node) = find(&self.tried, attempt.sent.server) {
            node.finished();
            let (fleet, attempt) = (&self.shared.fleet, &self.heard(attempt));
            fleet.learn(node, attempt);
            if self.found_broken(attempt) {
                fleet.broke(node, attempt.now);
            }
        }
    }

    fn answered(&self, attempt: &Finished) {
        if let Some(node) = find(&self.tried, attempt.sent.server) {
            self.shared.fleet.learn(node, attempt);
        }
    }

    fn released(&self, server: ServerId) {
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
        self.shared.latencies.ended(call);
    }
}

impl Addresses for CallHost<'_> {
    type Address = Address;

    fn address_of(&self, server: ServerId) -> Option<Address> {
        find(&self.tried, server).map(|node| node.server.address.clone())
    }
}

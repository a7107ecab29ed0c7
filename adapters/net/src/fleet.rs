//! A channel's servers, their health and their checks joined: [`Fleet`].

use std::sync::Arc;

use arc_swap::Guard;
use hedge_core::balance::{Balancer as _, NoServer, Pick, ProbeAnswer, Selection};
use hedge_core::health::{CheckInput, Checker};
use hedge_core::outcome::Finished;
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use crate::check::{Checking, Checks, Ground};
use crate::list::{ListError, ListUpdate, Nodes, Servers, Snapshot, View};
use crate::naming::Server;
use crate::node::{FleetHealth, Node};
use crate::outage::Round;
use crate::probe::{Probes, Probing};

/// What calls, bodies and checks share of a channel. Calls and the channel own it; bodies and checks look whether it is
/// still there.
pub(crate) struct Fleet {
    pub(crate) servers: Servers,
    pub(crate) health: FleetHealth,
    /// `None`: connections that break isolate nothing.
    pub(crate) checks: Option<Checks>,
    /// `None`: nothing is probed.
    pub(crate) probes: Option<Probes>,
    /// For the checks alone, so that a server that breaks changes nothing of what calls draw.
    pub(crate) seeds: Seeds,
    pub(crate) ground: Box<dyn Ground>,
}

impl Fleet {
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.servers.load()
    }

    /// Replaces the list.
    pub(crate) fn set(&self, servers: Vec<Server>) -> Result<ListUpdate, ListError> {
        let (update, gone) = self.servers.set(servers, &self.health)?;
        for node in gone {
            node.outage.leave();
        }
        let now = self.load();
        self.health.changed(self.ground.clock(), || now.nodes.healths());
        Ok(update)
    }

    /// Tells balancer and breaker how an attempt went. Of a server that has left the list, or was never in it, nothing is
    /// kept (L20, S8).
    pub(crate) fn learn(&self, node: &Node, attempt: &Finished) {
        let list = self.load();
        if list.nodes.get(node.id).is_some() {
            let view = View { nodes: &list.nodes, health: &self.health, own: &[], now: attempt.now };
            list.balancer.finished(&view, attempt);
            let was_broken = node.health.is_broken();
            self.health.finished(&node.health, attempt, || list.nodes.healths());
            if was_broken && !node.health.is_broken() {
                self.came_back(node, &list.nodes);
            }
        }
    }

    /// The server to which a call is let through although none is usable (H5).
    #[cold]
    pub(crate) fn last_resort<T>(&self, nodes: &Nodes, selection: &Selection<'_>) -> Result<Pick<T>, NoServer> {
        let servers = nodes.all().iter().map(|node| (node, &node.health));
        let node = Some(selection).filter(|it| it.is_first()).and_then(|it| self.health.last_resort(it.now, servers));
        let node = node.ok_or(NoServer::AllDown)?;
        Ok(Pick { server: node.id, address: node.address_key, ticket: None })
    }

    /// A call that was let through to a broken server has succeeded (H5): the server is back, and the others are checked at
    /// once.
    #[cold]
    fn came_back(&self, node: &Node, nodes: &Nodes) {
        node.outage.lock().broken = false;
        node.outage.tell();
        for other in nodes.all().iter().filter(|other| other.health.is_broken()) {
            other.outage.hurry();
        }
    }

    /// A call starts: sends the probes that are due, and looks after the checks.
    pub(crate) fn call_started(self: &Arc<Self>, now: Instant) {
        if let Some(checks) = self.checks.as_ref().filter(|checks| checks.is_look_due(now)) {
            self.look_after(checks, now);
        }
        let Some(probes) = &self.probes else { return };
        let list = self.load();
        let view = View { nodes: &list.nodes, health: &self.health, own: &[], now };
        list.balancer.call_started(&view, now, &mut |server| {
            if let Some(probing) = list.nodes.get(server).and_then(|node| Probing::new(self, node, probes)) {
                self.ground.probe(probing);
            }
        });
    }

    /// A server has answered a probe.
    pub(crate) fn probed(&self, node: &Node, answer: ProbeAnswer, now: Instant) {
        let list = self.load();
        let view = View { nodes: &list.nodes, health: &self.health, own: &[], now };
        list.balancer.probed(&view, node.id, answer, now);
    }

    /// No connection to a server could be made: it is isolated at once, and checked until it passes (H1). Nothing, if it is
    /// isolated already.
    pub(crate) fn broke(self: &Arc<Self>, node: &Arc<Node>, now: Instant) {
        let Some(checks) = self.checks.as_ref().filter(|_| !node.health.is_broken()) else { return };
        if self.load().nodes.get(node.id).is_none() {
            return;
        }
        let mut state = node.outage.lock();
        if state.broken || state.gone {
            return;
        }
        let Some(checker) = self.checker(checks, now) else { return };
        let round = state.begin(self.ground.here(), now);
        self.publish(node, true, now);
        drop(state);
        checks.look_at(now + checks.patience());
        self.ground.check(Checking::new(self, node, checker, round));
    }

    /// The checker of a server whose connection broke, which has been published.
    fn checker(&self, checks: &Checks, now: Instant) -> Option<Checker> {
        // Its options are checked whenever they are set.
        let mut checker = Checker::new(checks.options(), &self.seeds).ok()?;
        checker.handle(now, CheckInput::Broken);
        // What it asks for first is to publish that.
        checker.poll(now);
        Some(checker)
    }

    /// Takes over the checks whose tasks another runtime does not run any more.
    #[cold]
    fn look_after(self: &Arc<Self>, checks: &Checks, now: Instant) {
        let (here, patience) = (self.ground.here(), checks.patience());
        let list = self.load();
        for node in list.nodes.all().iter().filter(|node| node.health.is_broken()) {
            checks.look_at(now + patience);
            let mut state = node.outage.lock();
            if !state.is_left_alone(here, now, patience) {
                continue;
            }
            let Some(mut checker) = self.checker(checks, now) else { continue };
            checker.handle(now, CheckInput::Now);
            let round = state.begin(here, now);
            drop(state);
            self.ground.check(Checking::new(self, node, checker, round));
        }
    }

    /// A server is back, or its checks have ended for another reason: the next connection that is refused will tell.
    pub(crate) fn is_back(&self, node: &Node, round: Round) {
        let mut state = node.outage.lock();
        if state.runs(round) {
            state.broken = false;
            self.publish(node, false, self.ground.clock());
        }
    }

    /// Withdraws a server by hand, or lets it in again.
    pub(crate) fn set_usable(&self, node: &Node, usable: bool) {
        let list = self.load();
        self.health.set_withdrawn(&node.health, !usable, self.ground.clock(), || list.nodes.healths());
    }

    /// Under the lock of the outage, so that what is known last is published last.
    fn publish(&self, node: &Node, broken: bool, now: Instant) {
        let list = self.load();
        self.health.set_broken(&node.health, broken, now, || list.nodes.healths());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for node in self.load().nodes.all() {
            node.outage.leave();
        }
    }
}

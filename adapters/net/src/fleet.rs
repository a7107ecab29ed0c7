//! Joins a channel's servers, where their list comes from, their health, their checks and their probes: [`Fleet`].

use std::sync::{Arc, Weak};

use hedge_core::balance::{Balancer as _, ProbeAnswer};
use hedge_core::health::{CheckInput, Checker};
use hedge_core::random::Seeds;
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{
    CheckOutcome, CheckStep, Filter, ListError, ListUpdate, Observers, Server, Servers, StrictListError,
};

use crate::background::Background;
use crate::check::{Checked, Checking};
use crate::check_state::{CheckState, Node, Round};
use crate::checks::Checks;
use crate::naming::{Followed, Source, Wait};
use crate::probe::{Probed, Probes, Probing};

/// What a channel shares with its checks and its probes. The channel owns it. Checks and probes hold it weakly and end
/// with it.
pub(crate) struct Fleet {
    pub(crate) servers: Servers<Server, CheckState>,
    /// Where the list comes from. `None`: from the program alone.
    pub(crate) source: Option<Source>,
    /// Which servers the list may hold.
    pub(crate) filter: Option<Filter>,
    /// `None`: a connection that cannot be made does not isolate its server.
    pub(crate) checks: Option<Checks>,
    /// `None`: nothing is probed.
    pub(crate) probes: Option<Probes>,
    /// Random numbers for the checks only. So a server that breaks does not change the random numbers of calls.
    pub(crate) seeds: Seeds,
    pub(crate) background: Box<dyn Background>,
}

impl Fleet {
    /// Replaces the list.
    pub(crate) fn set(&self, servers: Vec<Server>) -> Result<ListUpdate, ListError> {
        Ok(left(self.servers.set(servers, self.filter.as_ref(), self.background.clock())?))
    }

    /// Replaces the list, or refuses all of it: a list that was written down must be taken in, except the servers that the
    /// filter refuses.
    pub(crate) fn set_strictly(&self, servers: Vec<Server>) -> Result<ListUpdate, StrictListError> {
        Ok(left(self.servers.set_strictly(servers, self.filter.as_ref(), self.background.clock())?))
    }

    /// Ready once there is a list. This starts the task that follows the source, if none does.
    pub(crate) async fn listed(self: &Arc<Self>) {
        let Some(source) = &self.source else { return };
        loop {
            let own: Weak<Self> = Arc::downgrade(self);
            if let Some(following) = source.begin(own) {
                self.background.follow(following);
            }
            match source.wait() {
                Wait::Listed => return,
                Wait::Begin => {}
                Wait::News(news) => drop(news.await),
            }
        }
    }

    /// Puts a broken server back after a call that was let through to it has succeeded ([H5](hedge_core::rules#H5)),
    /// and has the other broken servers checked at once.
    #[cold]
    pub(crate) fn server_back(&self, node: &Node) {
        let mut state = node.service().lock();
        // The server may have broken again since the call has succeeded. Then its checks go on.
        state.broken = node.health().is_broken();
        drop(state);
        node.service().tell();
        let now = self.servers.load();
        for other in now.list().nodes().iter().filter(|other| other.health().is_broken()) {
            other.service().hurry();
        }
    }

    /// At the start of a call: takes over checks that do not run any more, and sends the probes that are due.
    pub(crate) fn call_started(self: &Arc<Self>, now: Instant) {
        if let Some(checks) = self.checks.as_ref().filter(|checks| checks.is_look_due(now)) {
            self.look_after(checks, now);
        }
        let Some(probes) = &self.probes else { return };
        let snapshot = self.servers.load();
        snapshot.balancer().call_started(&self.servers.view(&snapshot, now), now, &mut |server| {
            let Some(node) = snapshot.list().get(server) else { return };
            let own: Weak<Self> = Arc::downgrade(self);
            if let Some(probing) = Probing::new(own, node, probes) {
                self.background.probe(probing);
            }
        });
    }

    /// Isolates a server to which no connection could be made, and has it checked until it passes
    /// ([H1](hedge_core::rules#H1)). If it is broken already, this does nothing.
    pub(crate) fn broke(self: &Arc<Self>, node: &Arc<Node>, now: Instant) {
        let Some(checks) = self.checks.as_ref().filter(|_| !node.health().is_broken()) else { return };
        if self.servers.load().list().get(node.id()).is_none() {
            return;
        }
        let mut state = node.service().lock();
        if state.broken || state.gone {
            return;
        }
        let checker = self.checker(checks, now);
        let round = state.begin(self.background.here(), now);
        // The lock of the check state is still held, so the latest state is also the last one that is published.
        let change = self.servers.set_broken(node, true, now);
        drop(state);
        change.tell(&self.servers, node);
        checks.look_at(now + checks.patience());
        self.check(node, checker, round);
    }

    /// A checker for a server whose connection broke. It has already asked for the publishing of that.
    fn checker(&self, checks: &Checks, now: Instant) -> Checker {
        let mut checker = Checker::new(checks.options(), &self.seeds);
        checker.handle(now, CheckInput::Broken);
        // Its first action is to publish the break, which the caller does.
        checker.poll(now);
        checker
    }

    /// Takes over checks whose tasks do not run any more on another runtime.
    #[cold]
    fn look_after(self: &Arc<Self>, checks: &Checks, now: Instant) {
        let (here, patience) = (self.background.here(), checks.patience());
        let snapshot = self.servers.load();
        for node in snapshot.list().nodes().iter().filter(|node| node.health().is_broken()) {
            checks.look_at(now + patience);
            let mut state = node.service().lock();
            if !state.is_left_alone(here, now, patience) {
                continue;
            }
            let mut checker = self.checker(checks, now);
            checker.handle(now, CheckInput::Now);
            let round = state.begin(here, now);
            drop(state);
            self.check(node, checker, round);
        }
    }

    fn check(self: &Arc<Self>, node: &Arc<Node>, checker: Checker, round: Round) {
        let own: Weak<Self> = Arc::downgrade(self);
        self.background.check(Checking::new(own, node, checker, round));
    }

    /// Withdraws a server by hand, or puts it back.
    pub(crate) fn set_usable(&self, node: &Node, usable: bool) {
        self.servers.set_usable(node, usable, self.background.clock());
    }
}

/// Ends the checks of the servers that a change of the list has removed.
fn left((update, gone): (ListUpdate, Vec<Arc<Node>>)) -> ListUpdate {
    for node in gone {
        node.service().leave();
    }
    update
}

impl Checked for Fleet {
    fn checks(&self) -> Option<&Checks> {
        self.checks.as_ref()
    }

    fn is_back(&self, node: &Node, round: Round) {
        let mut state = node.service().lock();
        if state.runs(round) {
            state.broken = false;
            // The lock of the check state is still held, so the latest state is also the last one that is published.
            let change = self.servers.set_broken(node, false, self.background.clock());
            drop(state);
            change.tell(&self.servers, node);
        }
    }

    fn checked(&self, node: &Node, step: CheckStep, outcome: CheckOutcome, latency: Duration) {
        self.servers.tell_check(node, step, outcome, latency);
    }
}

impl Followed for Fleet {
    fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    fn observers(&self) -> &Observers {
        self.servers.observers()
    }

    fn list(&self, servers: Vec<Server>) -> Result<ListUpdate, ListError> {
        self.set(servers)
    }
}

impl Probed for Fleet {
    fn probed(&self, node: &Node, answer: ProbeAnswer, now: Instant) {
        self.servers.probed(node, answer, now);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for node in self.servers.load().list().nodes() {
            node.service().leave();
        }
    }
}

//! What a call asks of its set: [`CallHost`].

use std::sync::{Arc, OnceLock};

use hedge_core::balance::{AnyTicket, Balancer, NoServer, Pick, Selection, ServerList, select};
use hedge_core::call::Host;
use hedge_core::drive::Addresses;
use hedge_core::id::ServerId;
use hedge_core::outcome::{Denial, Finished};
use hedge_core::policy::{BackupDelay, ChannelOptions, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use super::Inner;
use super::servers::Node;
use crate::MAX_ATTEMPTS;
use crate::shared::Shared;

/// One call's view of its set: the set, and the servers that the call has gone to, to settle with them even after the
/// list has changed.
pub(super) struct CallHost<K, S, T, R, C> {
    inner: Arc<Inner<K, S, T, R, C>>,
    tried: [OnceLock<Arc<Node<K, S>>>; MAX_ATTEMPTS],
}

impl<K, S, T, R, C> CallHost<K, S, T, R, C> {
    pub(super) fn new(inner: Arc<Inner<K, S, T, R, C>>) -> Self {
        Self { inner, tried: [const { OnceLock::new() }; MAX_ATTEMPTS] }
    }

    fn tried(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.tried.iter().map_while(OnceLock::get).find(|node| node.id == id)
    }

    /// Counts an attempt at a server, and remembers that server.
    fn start_at(&self, node: &Arc<Node<K, S>>) {
        node.started();
        if self.tried(node.id).is_none()
            && let Some(place) = self.tried.iter().find(|place| place.get().is_none())
        {
            place.get_or_init(|| Arc::clone(node));
        }
    }
}

impl<K, S, T, R, C> AsRef<Shared<T, R, C>> for CallHost<K, S, T, R, C> {
    fn as_ref(&self) -> &Shared<T, R, C> {
        &self.inner.shared
    }
}

impl<K, S, T, R, C> Host for CallHost<K, S, T, R, C> {
    type Ticket = AnyTicket;

    fn options(&self) -> &ChannelOptions {
        &self.inner.shared.settings.options
    }

    fn seeds(&self) -> &Seeds {
        &self.inner.shared.settings.seeds
    }

    fn addresses(&self) -> usize {
        self.inner.servers.load().list.nodes().len()
    }

    fn needs_request_code(&self) -> bool {
        self.inner.servers.needs_request_code
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<AnyTicket>, NoServer> {
        let servers = &self.inner.servers;
        let snapshot = servers.load();
        let view = servers.view(&snapshot, selection.now);
        let recovers = servers.health.recovers() && selection.by_balancer();
        if recovers && !servers.health.admit(selection.now, || view.usable(), &mut *random) {
            return Err(NoServer::AllDown);
        }
        let pick = select(&view, &snapshot.balancer, selection, random);
        if recovers && matches!(pick, Err(NoServer::AllDown)) {
            servers.health.all_down(selection.now);
        }
        pick
    }

    fn commit(&self, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
        let servers = &self.inner.servers;
        let snapshot = servers.load();
        let Some(node) = snapshot.list.node(pick.server) else {
            // It has gone since the look. Whoever need not insist looks again; else it is sent there if it is known still.
            if insist && let Some(node) = self.tried(pick.server) {
                node.started();
            }
            return insist;
        };
        if !servers.health.started(&node.health, now, insist) {
            return false;
        }
        if !pick.ticket.is_none_or(|ticket| snapshot.balancer.commit(ticket, insist)) {
            servers.health.withdrawn(&node.health, now);
            return false;
        }
        self.start_at(node);
        snapshot.balancer.started(&servers.view(&snapshot, now), pick.server, pick.ticket, now);
        true
    }

    fn finished(&self, attempt: &Finished) {
        self.released(attempt.sent.server);
        self.answered(attempt);
    }

    fn answered(&self, attempt: &Finished) {
        let Some(node) = self.tried(attempt.sent.server) else { return };
        let servers = &self.inner.servers;
        let snapshot = servers.load();
        let view = servers.view(&snapshot, attempt.now);
        // Of a server that has left the list, or was replaced, nothing is kept (L20).
        if view.find(attempt.sent.server).is_some() {
            snapshot.balancer.finished(&view, attempt);
            servers.health.finished(&node.health, attempt, || snapshot.list.healths());
        }
    }

    fn released(&self, server: ServerId) {
        if let Some(node) = self.tried(server) {
            node.finished();
        }
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.inner.shared.settings.backup_delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.inner.shared.settings.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.inner.shared.settings.may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.inner.shared.settings.ended(call);
    }
}

impl<K, S: Clone, T, R, C> Addresses for CallHost<K, S, T, R, C> {
    /// A clone for one attempt.
    type Address = S;

    fn address_of(&self, server: ServerId) -> Option<S> {
        self.tried(server).map(|node| node.service.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};

    use hedge_core::drive::Timer;
    use hedge_core::health::{BreakerOptions, FailureOptions};
    use hedge_core::id::AttemptId;
    use hedge_core::outcome::{Code, Feedback, Sent};
    use hedge_core::time::{Duration, Timeout};

    use super::*;
    use crate::HedgeSet;

    struct Still;

    impl Timer for Still {
        type Sleep = Pending<()>;

        fn now(&self) -> Instant {
            Instant::ZERO
        }

        fn sleep_until(&self, _: Instant) -> Pending<()> {
            pending()
        }
    }

    #[test]
    fn h2_a_probe_whose_turn_another_call_took_is_not_sent_and_leaves_its_place() {
        let breaker = FailureOptions { failures: 1, ..FailureOptions::DEFAULT };
        let builder = crate::builder(Still).seed(1).circuit_breaker(BreakerOptions::ConsecutiveFailures(breaker));
        let set: HedgeSet<u16, (), Still> = builder.set().unwrap();
        for key in [0, 1] {
            set.insert(key, ()).unwrap();
        }
        let host = || CallHost::new(Arc::clone(&set.inner));
        let (one, other) = (host(), host());
        let look = |host: &CallHost<_, _, _, _, _>, now| {
            let selection =
                Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now };
            host.look(&selection, &mut || 0).unwrap()
        };

        let now = Instant::from_millis(1_000);
        let failing = look(&one, now);
        assert!(one.commit(&failing, now, false));
        let (max_retry, timeout) = (0, Timeout::Never);
        let sent = Sent { server: failing.server, at: now, attempt: AttemptId::FIRST, max_retry, timeout };
        one.finished(&sent.finished(now, Feedback::Failure { latency: Duration::from_millis(1) }, Code::NONE));
        let healthy = look(&one, now);
        assert_ne!(healthy.server, failing.server);
        assert!(one.commit(&healthy, now, false));

        // The isolation is over, and two calls would both be the probe.
        let later = now + Duration::from_millis(200);
        let (probe, late) = (look(&one, later), look(&other, later));
        assert_eq!((probe.server, late.server), (failing.server, failing.server));
        set.inner.servers.load().balancer.commit(late.ticket.unwrap(), false);
        assert!(!one.commit(&probe, later, false), "the turn is taken");
        let servers = &set.inner.servers;
        assert!(servers.load().list.healths().all(|health| servers.health.usable(health, later)));
        assert!(!one.commit(&probe, later, false) && one.commit(&probe, later, true), "whoever insists is the probe");
        assert!(!other.commit(&late, later, false), "one at a time");
    }
}

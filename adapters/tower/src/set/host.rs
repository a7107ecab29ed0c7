//! What a call asks of its set: [`CallHost`].

use std::sync::{Arc, OnceLock};

use hedge_core::balance::{AnyTicket, Balancer, Seeds, ServerList, select};
use hedge_core::call::{Finished, Host, NoServer, Pick, Selection, ServerId};
use hedge_core::drive::Addresses;
use hedge_core::policy::{BackupDelay, ChannelOptions, Denial, Ended};
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
        if !servers.health.admit(selection.now, || view.usable(), &mut *random) {
            return Err(NoServer::AllDown);
        }
        let pick = select(&view, &snapshot.balancer, selection, random);
        if matches!(pick, Err(NoServer::AllDown)) {
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
        let Some(node) = self.tried(attempt.sent.server) else { return };
        node.finished();
        let servers = &self.inner.servers;
        let snapshot = servers.load();
        let view = servers.view(&snapshot, attempt.now);
        // Of a server that has left the list, or was replaced, nothing is kept (L20).
        if view.find(attempt.sent.server).is_some() {
            snapshot.balancer.finished(&view, attempt);
            servers.health.finished(&node.health, attempt, || snapshot.list.healths());
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

//! What a call asks of its set: [`CallHost`].

use std::sync::{Arc, OnceLock};

use hedge_core::balance::{Balancer, Seeds, ServerList, select};
use hedge_core::call::{Feedback, Host, NoServer, Pick, Selection, ServerId};
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
}

impl<K, S, T, R, C> AsRef<Shared<T, R, C>> for CallHost<K, S, T, R, C> {
    fn as_ref(&self) -> &Shared<T, R, C> {
        &self.inner.shared
    }
}

impl<K, S, T, R, C> Host for CallHost<K, S, T, R, C> {
    fn options(&self) -> &ChannelOptions {
        &self.inner.shared.settings.options
    }

    fn seeds(&self) -> &Seeds {
        &self.inner.shared.settings.seeds
    }

    fn addresses(&self) -> usize {
        self.inner.servers.load().len()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick, NoServer> {
        select(&**self.inner.servers.load(), &self.inner.balancer, selection, random)
    }

    fn commit(&self, pick: &Pick, insist: bool) -> bool {
        let taken = pick.ticket.is_none_or(|ticket| self.inner.balancer.commit(ticket, insist));
        if !taken {
            return false;
        }
        if let Some(node) = self.tried(pick.server) {
            node.started();
        } else if let Some(node) = self.inner.servers.load().node(pick.server)
            && let Some(place) = self.tried.iter().find(|place| place.get().is_none())
        {
            place.get_or_init(|| Arc::clone(node)).started();
        }
        true
    }

    fn finished(&self, server: ServerId, _: Feedback) {
        // The node of a server that has left the list is nobody's but its calls': what it is told is dropped (L20).
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

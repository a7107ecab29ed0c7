//! The balancer `la`: [`LocalityAware`].

use super::super::{ArrangeError, Balancer, Offer, Roster, Search, ServerList, Storage};
use super::{LaFailure, LaOthers, LaStats, LaTree, WeightedDraws};
use crate::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use crate::id::ServerId;
use crate::outcome::{ErrorKind, Feedback, Finished};
use crate::time::{Instant, Micros};

/// Chooses servers by their throughput divided by their latency; see the [module](super). The tree holds the weight of
/// each slot, in 16 bytes. The statistics of a server are stored with the server.
#[derive(Debug)]
pub struct LocalityAware<S: Storage> {
    tree: LaTree<S::Nodes>,
    servers: u32,
    /// The mean latency of the last answers of all servers, in units of 2^-8 microseconds; 0 before the first answer.
    latency: AtomicU64,
}

/// The smoothing of the mean latency of all servers: a new answer moves the mean by 1/64 of the difference between its
/// own latency and the mean.
const ANSWERS: u64 = 64;
const FRACTION: u32 = 8;

/// Whether `la` drew the server by its own sequence of numbers. This is so only for a call's first attempt
/// ([S2](crate::rules#S2)). When that attempt starts, the sequence moves to its next number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaTicket(bool);

impl<S: Storage> LocalityAware<S> {
    /// Makes a balancer whose sequence of draws is determined by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { tree: LaTree::new(S::Nodes::default(), seed), servers: 0, latency: AtomicU64::new(0) }
    }

    /// Returns the weight that selections use at present for the server in this slot.
    pub fn weight(&self, slot: u16) -> u64 {
        self.tree.weight(slot.into())
    }

    /// Lets `change` update a server's statistics. If `change` returns a weight, this method sets that weight in the
    /// tree.
    fn update<L: ServerList<Stats = S::MaybeBoxed<LaStats>>>(
        &self,
        list: &L,
        server: ServerId,
        change: impl FnOnce(&LaStats, &dyn Fn() -> LaOthers) -> Option<u64>,
    ) {
        let Some(load) = list.load(server) else { return };
        let slot = u32::from(server.slot());
        let others = || LaOthers {
            weight: self.tree.mean_of_others(slot, self.servers),
            latency: Micros::from_micros(self.latency.load(SeqCst) >> FRACTION),
        };
        if let Some(weight) = change(load.stats, &others) {
            self.tree.set(slot, weight);
        }
    }

    /// Moves the mean latency of all servers towards the latency of a new answer. If two threads do this at the same
    /// time, one of the two answers may be lost.
    fn answered(&self, latency: Micros) {
        let latency = latency.as_micros().min(u64::MAX >> (FRACTION + 1)) << FRACTION;
        let was = self.latency.load(SeqCst);
        let to = match was {
            0 => latency,
            more if more > latency => more - (more - latency) / ANSWERS,
            less => less + (latency - less) / ANSWERS,
        };
        self.latency.store(to, Relaxed);
    }

    /// Computes the present weight of the server in a slot, and sets it in the tree.
    fn refresh<L: ServerList<Stats = S::MaybeBoxed<LaStats>>>(&self, list: &L, slot: u32, now: Instant) {
        if let Some(found) = u16::try_from(slot).ok().and_then(|slot| list.in_slot(slot)) {
            self.update(list, found.server, |stats, others| Some(stats.weight(now, others)));
        }
    }
}

impl<S: Storage> Clone for LocalityAware<S> {
    /// Makes a copy that begins with the present state of this balancer.
    fn clone(&self) -> Self {
        Self { tree: self.tree.clone(), servers: self.servers, latency: AtomicU64::new(self.latency.load(SeqCst)) }
    }
}

impl<S: Storage> Balancer for LocalityAware<S> {
    type Stats = S::MaybeBoxed<LaStats>;
    type Ticket = LaTicket;

    /// Makes the statistics of a new server. The server weighs as much as the other servers on average.
    fn stats(&self) -> S::MaybeBoxed<LaStats> {
        let mean = self.tree.mean_of_others(u32::MAX, self.servers.saturating_add(1));
        LaStats::new(if mean == 0 { LaStats::SCALE } else { mean }).into()
    }

    fn arrange<L: Roster<Stats = S::MaybeBoxed<LaStats>>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.servers = u32::try_from(list.len()).unwrap_or(u32::MAX);
        self.tree.reweigh(list.slots(), |slot, known| {
            let Some(stats) = u16::try_from(slot).ok().and_then(|slot| list.stats_in_slot(slot)) else { return 0 };
            // If this server has not answered yet, the slot's weight may belong to an earlier server in the slot.
            if known == 0 || stats.latency_micros() == Micros::ZERO { stats.base() } else { known }
        })
    }

    fn offers<'a, L: ServerList<Stats = S::MaybeBoxed<LaStats>> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<LaTicket>> + 'a {
        let Search { list, selection } = search;
        let first = search.is_first();
        let draws = WeightedDraws::new(search, &self.tree, random, first.then(|| self.tree.draw()), move |drawn| {
            // Weights fall with time even without calls, so the drawn server's weight is computed again.
            self.refresh(&list, drawn.position, selection.now);
            drawn.offset < self.tree.weight(drawn.position)
        });
        draws.map(move |offer| offer.with(|()| LaTicket(first)))
    }

    fn started<L: ServerList<Stats = S::MaybeBoxed<LaStats>>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<LaTicket>,
        now: Instant,
    ) {
        if ticket == Some(LaTicket(true)) {
            self.tree.next_draw();
        }
        self.update(list, server, |stats, others| Some(stats.started(now, others)));
    }

    fn finished<L: ServerList<Stats = S::MaybeBoxed<LaStats>>>(&self, list: &L, attempt: &Finished) {
        let Finished { sent, now, feedback, code } = *attempt;
        if let Feedback::Success { latency } = feedback {
            self.answered(latency);
        }
        self.update(list, sent.server, |stats, others| match feedback {
            Feedback::Success { .. } => stats.succeeded(now, sent.at, others),
            // The deadline gives only a lower bound of the server's latency. The other servers may be as slow.
            Feedback::Failure { .. } if code == ErrorKind::Deadline.into() => {
                Some(stats.abandoned(now, sent.at, others))
            }
            Feedback::Failure { .. } => {
                let failure = LaFailure {
                    max_retry: sent.max_retry.into(),
                    retried: u32::try_from(sent.attempt.index()).unwrap_or(u32::MAX),
                    timeout: sent.timeout,
                };
                stats.failed(now, sent.at, failure, others)
            }
            Feedback::Abandoned { .. } => Some(stats.abandoned(now, sent.at, others)),
            Feedback::Local { .. } => Some(stats.withdrawn(now, sent.at, others)),
        });
        self.refresh(list, self.tree.next_turn(), now);
    }
}

//! The balancer `prequal`: [`Prequal`].

use core::cell::Cell;

use super::super::p2c::{P2c, P2cOptions, P2cStats};
use super::super::{ArrangeError, Balancer, Offer, ProbeAnswer, Roster, Search, ServerList, Weighing};
use super::{PrequalError, PrequalOptions, ProbePool};
use crate::id::ServerId;
use crate::outcome::Finished;
use crate::time::Instant;

/// Chooses by a [`ProbePool`]. If the pool has too few probes, or none for a call's further attempts, it chooses by
/// [`P2c`]; see the [module](super).
///
/// The code that makes calls sends the probes that [`Balancer::call_started`] asks for, alongside the calls, and hands
/// in the answers by [`Balancer::probed`].
#[derive(Debug)]
pub struct Prequal {
    pool: ProbePool,
    p2c: P2c,
    options: PrequalOptions,
    seed: u64,
}

/// Whether `prequal` chose a server by a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrequalTicket(bool);

impl Prequal {
    /// A balancer without probes.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: PrequalOptions, seed: u64) -> Result<Self, PrequalError> {
        let p2c = P2c::with_valid(P2cOptions::DEFAULT);
        Ok(Self { pool: ProbePool::new(options, seed)?, p2c, options, seed })
    }

    /// The probes.
    pub const fn pool(&self) -> &ProbePool {
        &self.pool
    }
}

impl Clone for Prequal {
    /// A copy without probes: after a change of the list, new ones come within a few calls.
    fn clone(&self) -> Self {
        let Self { p2c, options, seed, .. } = *self;
        Self { pool: ProbePool::with_valid(options, seed), p2c, options, seed }
    }
}

impl Balancer for Prequal {
    type Stats = P2cStats;
    type Ticket = PrequalTicket;

    fn stats(&self) -> P2cStats {
        self.p2c.stats()
    }

    fn weighing(&self) -> Weighing {
        self.p2c.weighing()
    }

    /// What a server that has left has answered goes with it: its id may be given again ([L20](crate::rules#L20)).
    fn arrange<L: Roster<Stats = P2cStats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.pool.retain(|server| list.find(server).is_some());
        Ok(())
    }

    /// First the one that the probes choose, then as `p2c`.
    fn offers<'a, L: ServerList<Stats = P2cStats> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<PrequalTicket>> + 'a {
        let Search { list, selection } = search;
        let chosen = self.pool.choose(selection.now, |server| {
            let candidate = list.find(server).filter(|candidate| search.takes(candidate))?;
            Some(self.p2c.penalty(list.load(candidate.server)?.stats, selection.now))
        });
        let first = chosen.and_then(|server| list.find(server));
        // `p2c` draws only if its offers are asked for.
        let random = Cell::new(Some(random));
        let others = core::iter::once_with(move || random.take()).flatten().flat_map(move |random| {
            let others = self.p2c.offers(search, random);
            others.filter(move |offer| Some(offer.candidate.server) != chosen)
        });
        let offer = |by_probe| move |candidate| Offer { candidate, ticket: PrequalTicket(by_probe) };
        first.into_iter().map(offer(true)).chain(others.map(move |other| offer(false)(other.candidate)))
    }

    fn started<L: ServerList<Stats = P2cStats>>(
        &self,
        _: &L,
        server: ServerId,
        ticket: Option<PrequalTicket>,
        _: Instant,
    ) {
        if ticket == Some(PrequalTicket(true)) {
            self.pool.commit(server);
        } else {
            self.pool.sent(server);
        }
    }

    fn call_started<L: ServerList<Stats = P2cStats>>(&self, list: &L, now: Instant, probe: &mut dyn FnMut(ServerId)) {
        let due = self.pool.call_started(now);
        let servers = u32::try_from(list.len()).unwrap_or(u32::MAX);
        for position in self.pool.targets(servers, due) {
            let candidate = usize::try_from(position).ok().and_then(|position| list.at(position));
            if let Some(candidate) = candidate.filter(|candidate| candidate.usable) {
                probe(candidate.server);
            }
        }
    }

    fn probed<L: ServerList<Stats = P2cStats>>(&self, list: &L, server: ServerId, answer: ProbeAnswer, now: Instant) {
        if list.find(server).is_some() {
            self.pool.probed(now, u32::try_from(list.len()).unwrap_or(u32::MAX), server, answer);
        }
    }

    fn finished<L: ServerList<Stats = P2cStats>>(&self, list: &L, attempt: &Finished) {
        self.p2c.finished(list, attempt);
    }
}

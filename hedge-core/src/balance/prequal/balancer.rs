//! The balancer `prequal`: [`Prequal`].

use core::cell::Cell;

use super::super::p2c::{P2c, P2cOptions, P2cStats};
use super::super::{ArrangeError, Balancer, Offer, ProbeAnswer, Roster, Search, ServerList, Weighing};
use super::{PrequalOptions, ProbePool};
use crate::id::ServerId;
use crate::outcome::Finished;
use crate::time::Instant;

/// Chooses servers by a [`ProbePool`]; see the [module](super). Sometimes the pool has too few probes, or none that a
/// further attempt of a call may use. Then [`P2c`] chooses.
///
/// The code that makes calls must send the probes that [`Balancer::call_started`] asks for, in parallel to the calls.
/// It must report the answers by [`Balancer::probed`].
#[derive(Debug)]
pub struct Prequal {
    pool: ProbePool,
    p2c: P2c,
    options: PrequalOptions,
    seed: u64,
}

/// Whether `prequal` chose the server by a probe. If not, `p2c` chose the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrequalTicket(bool);

impl Prequal {
    /// Makes a balancer without probes.
    #[must_use]
    pub fn new(options: PrequalOptions, seed: u64) -> Self {
        let p2c = P2c::new(P2cOptions::DEFAULT);
        Self { pool: ProbePool::new(options, seed), p2c, options, seed }
    }

    /// Returns the pool of probes.
    pub const fn pool(&self) -> &ProbePool {
        &self.pool
    }
}

impl Clone for Prequal {
    /// Makes a copy without probes. Such a copy is used for a changed list, and new probes come within a few calls.
    fn clone(&self) -> Self {
        let Self { p2c, options, seed, .. } = *self;
        Self { pool: ProbePool::new(options, seed), p2c, options, seed }
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

    /// Removes the probes of servers that have left the list, since their ids may be given to other servers
    /// ([L20](crate::rules#L20)).
    fn arrange<L: Roster<Stats = P2cStats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.pool.retain(|server| list.find(server).is_some());
        Ok(())
    }

    /// Offers the server that the probes choose. Then offers the servers that `p2c` offers.
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
        // `p2c` draws random numbers only if its offers are used.
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

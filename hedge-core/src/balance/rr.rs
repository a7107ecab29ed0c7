//! `rr`: round robin.

use super::{Balancer, InTurn, Offer, Search, ServerList};
use crate::atomic::{AtomicU32, Ordering};
use crate::random::mix;

/// Visits the servers in list order from a start that follows from the seed ([S2](crate::rules#S2)).
///
/// Only a call's first attempt takes a turn. Its retries and backups take the other servers in list order from a random
/// one on, and move nothing. So a server that stalls, whose calls all send backups, keeps its share and gets no more.
///
/// A server that was down gets no extra turns later. The next selection begins after the server that was chosen, so the
/// servers that stay share evenly. Cost: a load to look, a compare-and-swap to commit; a further attempt takes one
/// random draw or a few.
#[derive(Debug)]
pub struct RoundRobin {
    next: AtomicU32,
}

impl RoundRobin {
    /// A balancer whose start follows from `seed`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of the mix will do")]
    pub const fn new(seed: u64) -> Self {
        Self::starting_at(mix(seed) as u32)
    }

    /// A balancer that starts at position `start`, modulo the number of servers.
    #[must_use]
    pub const fn starting_at(start: u32) -> Self {
        Self { next: AtomicU32::new(start) }
    }
}

impl Clone for RoundRobin {
    /// A copy that goes on from the present state.
    fn clone(&self) -> Self {
        Self::starting_at(self.next.load(Ordering::Relaxed))
    }
}

/// The turn that an offer of `rr` takes: from one position to the next. Both are equal if it takes none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RrTicket {
    from: u32,
    to: u32,
}

impl Balancer for RoundRobin {
    type Stats = ();
    type Ticket = RrTicket;

    fn stats(&self) {}

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<RrTicket>> + 'a {
        let first = search.is_first();
        let from = if first { self.next.load(Ordering::Relaxed) } else { search.random_position(random) };
        let servers = search.in_order(|len| InTurn::from_origin(len, from));
        servers.map(move |(position, candidate)| {
            // A position, not a count, so that the next look needs no division.
            let to = if first { position.wrapping_add(1) } else { from };
            Offer { candidate, ticket: RrTicket { from, to } }
        })
    }

    fn commit(&self, RrTicket { from, to }: RrTicket, insist: bool) -> bool {
        if insist {
            // Other calls may have moved on: this is one more turn, if it takes one.
            self.next.fetch_add(u32::from(from != to), Ordering::Relaxed);
            return true;
        }
        self.next.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::testing::{Servers, positions};

    #[test]
    fn s2_visits_in_order_and_a_lost_race_changes_nothing() {
        let (rr, servers) = (RoundRobin::starting_at(1), Servers::<()>::new(3));
        let look = || positions(&rr, &servers);
        let commit = |from, to, insist| rr.commit(RrTicket { from, to }, insist);
        assert_eq!(look(), [1, 2, 0]);
        assert!(commit(1, 3, false));
        assert_eq!(look(), [0, 1, 2], "behind the one that was chosen");
        assert!(!commit(1, 2, false), "another call took the turn");
        assert_eq!(look(), [0, 1, 2]);
        assert!(commit(1, 2, true));
        assert_eq!(look(), [1, 2, 0]);
    }

    #[test]
    fn s2_the_start_follows_from_the_seed() {
        let servers = Servers::<()>::new(1_000);
        let start = |seed| positions(&RoundRobin::new(seed), &servers)[0];
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
    }
}

//! `rr`: round robin.

use super::{Balancer, InTurn, Look, Offer, ServerList};
use crate::atomic::{AtomicU32, Ordering};
use crate::random::mix;

/// Visits the servers in list order from a start that follows from the seed (S2).
///
/// Only a call's first attempt takes a turn. Its retries and backups take the other servers in list order from a random one
/// of them, and move nothing: a server that stalls, so that each of its calls sends a backup, keeps its share and no more.
///
/// Servers that are down are not made up for: the next selection begins behind the server that was chosen, so the ones that
/// stay share evenly. Cost: a load to look, a compare-and-swap to commit; of further attempts a draw or a few.
#[derive(Debug)]
pub struct RoundRobin {
    next: AtomicU32,
}

impl RoundRobin {
    /// A balancer that starts somewhere.
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
    /// One that goes on from here.
    fn clone(&self) -> Self {
        Self::starting_at(self.next.load(Ordering::Relaxed))
    }
}

/// What `rr` goes on from and where to, if the server that it offers is taken; nowhere, where that takes no turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    from: u32,
    to: u32,
}

impl Balancer for RoundRobin {
    type Stats = ();
    type Ticket = Turn;

    fn stats(&self) {}

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        look: Look<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<Turn>> + 'a {
        let first = look.is_first();
        let from = if first { self.next.load(Ordering::Relaxed) } else { look.any(random) };
        let along = look.along(|len| InTurn::from_origin(len, from));
        along.map(move |(position, candidate)| {
            // Not a count but a position, so that the next look need not divide.
            let to = if first { position.wrapping_add(1) } else { from };
            Offer { candidate, ticket: Turn { from, to } }
        })
    }

    fn commit(&self, Turn { from, to }: Turn, insist: bool) -> bool {
        if insist {
            // Other calls have moved on meanwhile: it is one more turn, if it takes one.
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
        let commit = |from, to, insist| rr.commit(Turn { from, to }, insist);
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

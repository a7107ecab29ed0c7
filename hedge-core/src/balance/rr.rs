//! The balancer `rr`: round robin.

use super::{Balancer, InTurn, Offer, Search, ServerList};
use crate::atomic::{AtomicU32, Ordering};
use crate::random::mix;

/// Visits the servers in list order. The seed determines the first server ([S2](crate::rules#S2)).
///
/// Only a call's first attempt takes a turn. The retries and backups of the call take the other servers in list order,
/// from a random server on, and do not change the turn. So a server that stalls gets no more than its share of first
/// attempts, even though each call at this server sends a backup.
///
/// The next selection begins after the server that was chosen. So the servers that stay in the list share the calls
/// evenly, and a server that was down gets no extra turns later. Cost: a look is one load, and a commit is one
/// compare-and-swap. A further attempt takes one random draw, or a few.
#[derive(Debug)]
pub struct RoundRobin {
    next: AtomicU32,
}

impl RoundRobin {
    /// Makes a balancer whose start is determined by `seed`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of the mix will do")]
    pub const fn new(seed: u64) -> Self {
        Self::starting_at(mix(seed) as u32)
    }

    /// Makes a balancer that starts at position `start`, modulo the number of servers.
    #[must_use]
    pub const fn starting_at(start: u32) -> Self {
        Self { next: AtomicU32::new(start) }
    }

    /// Does the same as [`offers`](Balancer::offers), but is always inlined, except on a microcontroller. `AnyBalancer`
    /// needs only the first offer, and inlining keeps this offer in registers. A channel that has only this balancer
    /// uses [`offers`](Balancer::offers): it is faster if the compiler decides what to inline.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn offers_inline<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<RrTicket>> + 'a {
        let first = search.is_first();
        let from = if first { self.next.load(Ordering::Relaxed) } else { search.random_position(random) };
        let servers = search.in_order(|len| InTurn::from_origin(len, from));
        servers.map(move |(position, candidate)| {
            // The new turn is a position, not a count. So the next look needs no division.
            let to = if first { position.wrapping_add(1) } else { from };
            Offer { candidate, ticket: RrTicket { from, to } }
        })
    }
}

impl Clone for RoundRobin {
    /// Makes a copy that begins with the present state of this balancer.
    fn clone(&self) -> Self {
        Self::starting_at(self.next.load(Ordering::Relaxed))
    }
}

/// The turn that an offer of `rr` takes: the position before it and the position after it. The two positions are equal
/// if the offer takes no turn.
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
        self.offers_inline(search, random)
    }

    fn commit(&self, RrTicket { from, to }: RrTicket, insist: bool) -> bool {
        if insist {
            // Other calls may have taken turns since the look. If the offer of this call takes a turn, one more turn is
            // counted.
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

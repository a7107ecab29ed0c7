//! `rr`: round robin.

use core::num::NonZeroU32;

use super::{Balancer, Candidates, seeds::mix};
use crate::atomic::{AtomicU32, Ordering};
use crate::call::Ticket;

/// Visits the servers in list order from a start that follows from the seed (S2).
///
/// Servers that were passed over (down, or tried in the call) are not made up for: the next selection begins behind the
/// server that was chosen, so the ones that stay share evenly. Cost: a load to look, a compare-and-swap to commit.
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

impl Balancer for RoundRobin {
    fn candidates(&self, len: NonZeroU32, _: &mut dyn FnMut() -> u32) -> Candidates {
        Candidates::from_origin(len, self.next.load(Ordering::Relaxed))
    }

    fn commit(&self, ticket: Ticket, insist: bool) -> bool {
        if insist {
            // Other calls have moved on meanwhile: it is one more turn.
            self.next.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        // Not a count but a position, so that the next look need not divide.
        let behind = ticket.position.wrapping_add(1);
        self.next.compare_exchange(ticket.origin, behind, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_visits_in_order_and_a_lost_race_changes_nothing() {
        let rr = RoundRobin::starting_at(1);
        let len = NonZeroU32::new(3).unwrap();
        let look = || rr.candidates(len, &mut || 0);
        assert!(look().eq([1, 2, 0]));
        assert!(rr.commit(Ticket { origin: 1, position: 2 }, false));
        assert!(look().eq([0, 1, 2]), "behind the one that was chosen");
        assert!(!rr.commit(Ticket { origin: 1, position: 1 }, false), "another call took the turn");
        assert!(look().eq([0, 1, 2]));
        assert!(rr.commit(Ticket { origin: 1, position: 1 }, true));
        assert!(look().eq([1, 2, 0]));
    }

    #[test]
    fn s2_the_start_follows_from_the_seed() {
        let start = |seed| RoundRobin::new(seed).candidates(NonZeroU32::new(1_000).unwrap(), &mut || 0).next();
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
    }
}

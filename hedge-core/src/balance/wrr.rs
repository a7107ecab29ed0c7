//! The balancer `wrr`: weighted round robin.

use core::num::NonZeroU32;

use super::weights::stride;
use super::{ArrangeError, Balancer, InOrder, InTurn, Offer, Roster, Search, ServerList, Storage, Weighing, Weights};
use crate::atomic::{AtomicU64, Ordering::SeqCst};
use crate::random::mix;

/// How many servers a selection can leave out before the shares are no longer exact.
const LEFT_OUT: usize = 16;

/// Chooses each server exactly as often as its weight says. The turns of each server are spread out
/// ([S2](crate::rules#S2)).
///
/// Only a call's first attempt takes a turn. The retries and backups of the call take the other servers in list order,
/// from a server on that is drawn by weight. They do not change the turn.
///
/// The servers form a cycle of units: each server has as many units as its weight. A pick moves on by a stride and
/// chooses the server whose unit is then reached. The stride is coprime with the length of the cycle, so a whole round
/// of picks reaches each unit once. This is brpc's algorithm. Its state is the server that the last pick has reached,
/// and how many units of that server are left.
///
/// A server that cannot be used is left out. The pick is then made again without this server, from the same start. If
/// one selection has left out 16 servers, the rest follow in list order.
///
/// Cost: a look is one load, and a commit is one compare-and-swap. A pick passes about two servers. A further attempt
/// adds up the weights of half of the list on average. Within a subset, each pick adds up the weights of the subset.
/// Memory: 32 bytes and the weights.
#[derive(Debug)]
pub struct WeightedRoundRobin<S: Storage> {
    /// A [`Cursor`] in one word. The upper half is the position. The lower half says how many units of the server at
    /// this position are left.
    state: AtomicU64,
    weighing: Weighing,
    weights: Weights<S::Weights>,
}

/// A server that `wrr` offers, and the states before and after the turn that the offer takes. The two states are equal
/// if the offer takes no turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrrTicket {
    /// The server's position in the list.
    pub position: u32,
    from: u64,
    to: u64,
}

impl<S: Storage> WeightedRoundRobin<S> {
    /// Makes a balancer for servers whose tags are weights. `seed` determines where the balancer starts.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of the mix will do")]
    pub fn new(seed: u64) -> Self {
        Self::starting_at(mix(seed) as u32)
    }

    /// Makes a balancer that starts at position `start`, modulo the number of servers.
    #[must_use]
    pub fn starting_at(start: u32) -> Self {
        let state = AtomicU64::new(Cursor { position: start, left: 0 }.word());
        Self { state, weighing: Weighing::Tag, weights: Weights::default() }
    }

    /// Returns this balancer with a default weight: a server whose tag is not a weight gets `default`.
    #[must_use]
    pub fn or_weight(self, default: NonZeroU32) -> Self {
        Self { weighing: Weighing::TagOr(default), ..self }
    }

    /// Sets the weights by position. [`arrange`](Balancer::arrange) does the same with the weights of a list.
    ///
    /// # Errors
    /// Returns an error if the balancer has no room for all weights.
    pub fn set_weights(&mut self, weights: impl Iterator<Item = u32>) -> Result<(), ArrangeError> {
        self.weights.refill(weights)
    }

    /// Returns the servers in the order in which the next pick would choose them.
    pub fn tickets(&self) -> WrrTickets<'_, S::Weights> {
        self.tickets_of(self.weights.len())
    }

    /// [`tickets`](Self::tickets) for a list of which only the first `servers` servers take part. If a subset is in use,
    /// its reserve does not. A reserve that only was left out would make the shares uneven.
    fn tickets_of(&self, servers: usize) -> WrrTickets<'_, S::Weights> {
        WrrTickets {
            weights: &self.weights,
            servers: servers.min(self.weights.len()),
            from: self.state.load(SeqCst),
            left_out: heapless::Vec::new(),
            plain: None,
        }
    }

    /// Takes the turn of an offer. If another call has taken a turn since the offer was made, nothing changes, and the
    /// result is `insist`. So a caller that insists keeps the offered server, but takes no turn.
    pub fn take(&self, ticket: WrrTicket, insist: bool) -> bool {
        if ticket.from == ticket.to {
            return true;
        }
        self.state.compare_exchange(ticket.from, ticket.to, SeqCst, SeqCst).is_ok() || insist
    }
}

impl<S: Storage> Clone for WeightedRoundRobin<S> {
    /// Makes a copy that begins with the present state of this balancer.
    fn clone(&self) -> Self {
        let state = AtomicU64::new(self.state.load(SeqCst));
        Self { state, weighing: self.weighing, weights: self.weights.clone() }
    }
}

impl<S: Storage> Balancer for WeightedRoundRobin<S> {
    type Stats = ();
    type Ticket = WrrTicket;

    fn stats(&self) {}

    fn weighing(&self) -> Weighing {
        self.weighing
    }

    fn arrange<L: Roster<Stats = ()>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.set_weights(weights(list))
    }

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<WrrTicket>> + 'a {
        if search.is_first() {
            return Offers::InTurn(search.list, self.tickets_of(search.list.len()));
        }
        let from = search.first_taken(|| self.weights.drawn(u64::from(random()) << 32 | u64::from(random())));
        Offers::Others(search.in_order(|len| InTurn::from_origin(len, from)))
    }

    fn commit(&self, ticket: WrrTicket, insist: bool) -> bool {
        self.take(ticket, insist)
    }
}

/// The offers of `wrr`: for a call's first attempt, or for its other attempts.
enum Offers<'w, L, W> {
    InTurn(L, WrrTickets<'w, W>),
    Others(InOrder<L, InTurn>),
}

impl<L: ServerList, W: AsRef<[u32]>> Iterator for Offers<'_, L, W> {
    type Item = Offer<WrrTicket>;

    fn next(&mut self) -> Option<Offer<WrrTicket>> {
        match self {
            Self::InTurn(list, tickets) => tickets.find_map(|ticket| {
                let candidate = list.at(usize::try_from(ticket.position).ok()?)?;
                Some(Offer { candidate, ticket })
            }),
            Self::Others(others) => others.next().map(|(position, candidate)| {
                let ticket = WrrTicket { position, from: 0, to: 0 };
                Offer { candidate, ticket }
            }),
        }
    }
}

/// Returns the weights of a list, sorted by position.
pub(super) fn weights<L: ServerList>(list: &L) -> impl Iterator<Item = u32> {
    (0..list.len()).map(|position| {
        let load = list.at(position).and_then(|found| list.load(found.server));
        load.map_or(0, |load| load.weight.get())
    })
}

/// The order in which `wrr` offers servers in one selection. Each position comes once.
#[derive(Debug)]
pub struct WrrTickets<'w, W> {
    weights: &'w Weights<W>,
    /// How many servers take part: those at the positions below this number.
    servers: usize,
    from: u64,
    left_out: heapless::Vec<u32, LEFT_OUT>,
    /// How many positions were visited in list order. `None` while the order is still the weighted one.
    plain: Option<u32>,
}

impl<W: AsRef<[u32]>> Iterator for WrrTickets<'_, W> {
    type Item = WrrTicket;

    fn next(&mut self) -> Option<WrrTicket> {
        let servers = NonZeroU32::new(u32::try_from(self.servers).ok()?)?;
        if self.left_out.is_full() || self.left_out.len() == self.servers {
            return self.in_list_order(servers);
        }
        // Without the servers that are left out, the cycle is shorter and needs another stride.
        let stride = if self.left_out.is_empty() && self.servers == self.weights.len() {
            self.weights.stride()
        } else {
            let out = self.left_out.iter().map(|position| u64::from(self.weights.at(*position)));
            let total = self.weights.total_of(self.servers) - out.sum::<u64>();
            stride(total, (self.servers - self.left_out.len()) as u64)
        };
        if stride == 0 {
            // All remaining servers have weight 0.
            return self.in_list_order(servers);
        }
        let (position, to) = self.advance(servers, stride);
        // There is room, since the list of servers that are left out is not full here.
        let _ = self.left_out.push(position);
        Some(WrrTicket { position, from: self.from, to })
    }
}

impl<W: AsRef<[u32]>> WrrTickets<'_, W> {
    /// Moves on by a stride through the units of the servers that are not left out. Returns the position at which the
    /// stride ends, and the new state.
    fn advance(&self, servers: NonZeroU32, mut stride: u64) -> (u32, u64) {
        let from = Cursor::of(self.from);
        // The list may have changed since the last pick.
        let mut position = from.position % servers;
        let weight = self.weights.at(position);
        let mut units = u64::from(if from.left > 0 { from.left.min(weight) } else { weight });
        loop {
            if !self.left_out.contains(&position) {
                // The stride ends within the units of this server.
                if units > stride {
                    let left = u32::try_from(units - stride).unwrap_or(u32::MAX);
                    return (position, Cursor { position, left }.word());
                }
                stride -= units;
            }
            let next = if position + 1 == servers.get() { 0 } else { position + 1 };
            // The stride ends at the last unit of this server, so the next pick begins at the next server.
            if stride == 0 {
                return (position, Cursor { position: next, left: 0 }.word());
            }
            position = next;
            units = self.weights.at(position).into();
        }
    }

    /// Returns the positions that were not offered yet, in list order from the turn on. This is used if nearly all
    /// servers of the list are down.
    fn in_list_order(&mut self, servers: NonZeroU32) -> Option<WrrTicket> {
        let begin = Cursor::of(self.from).position % servers;
        loop {
            let given = self.plain.unwrap_or(0);
            if given == servers.get() {
                return None;
            }
            self.plain = Some(given + 1);
            // `begin + given` modulo `servers`, computed without the sum, which might overflow.
            let gap = servers.get() - begin;
            let position = if given < gap { begin + given } else { given - gap };
            if !self.left_out.contains(&position) {
                let to =
                    Cursor { position: if position + 1 == servers.get() { 0 } else { position + 1 }, left: 0 }.word();
                return Some(WrrTicket { position, from: self.from, to });
            }
        }
    }
}

/// The state of [`WeightedRoundRobin`], packed in one word.
#[derive(Clone, Copy)]
struct Cursor {
    position: u32,
    /// How many units of the server at `position` are left; 0 means all of them.
    left: u32,
}

impl Cursor {
    const fn of(word: u64) -> Self {
        Self { position: (word >> 32) as u32, left: (word & 0xFFFF_FFFF) as u32 }
    }

    const fn word(self) -> u64 {
        (self.position as u64) << 32 | self.left as u64
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::Fixed;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    type Wrr = WeightedRoundRobin<Fixed<64>>;

    fn starting_at(start: u32, weights: &[u32]) -> Wrr {
        let mut wrr = Wrr::starting_at(start);
        wrr.set_weights(weights.iter().copied()).unwrap();
        wrr
    }

    fn pick(wrr: &Wrr, down: &[u32]) -> Option<u32> {
        let ticket = wrr.tickets().find(|ticket| !down.contains(&ticket.position))?;
        assert!(wrr.take(ticket, false));
        Some(ticket.position)
    }

    #[test]
    fn s2_each_server_gets_exactly_its_weight_from_wherever_it_starts() {
        const SEED: u64 = 3;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for case in 0..200 {
            let weights: Vec<u32> = (0..rng.usize(1..40)).map(|_| rng.u32(1..60)).collect();
            let wrr = starting_at(rng.u32(..), &weights);
            for _ in 0..3 {
                let mut counts = vec![0; weights.len()];
                for _ in 0..weights.iter().sum() {
                    counts[pick(&wrr, &[]).unwrap() as usize] += 1;
                }
                assert_eq!(counts, weights, "seed {SEED}, case {case}");
            }
        }
    }

    #[test]
    fn s6_a_selection_offers_each_server_once() {
        for servers in [1, 2, 5, 15, 16, 17, 60] {
            let wrr = starting_at(7, &(0..servers).map(|weight| weight % 5).collect::<Vec<u32>>());
            let mut offered: Vec<u32> = wrr.tickets().map(|ticket| ticket.position).collect();
            offered.sort_unstable();
            assert_eq!(offered, (0..servers).collect::<Vec<_>>());
        }
        assert_eq!(Wrr::new(1).tickets().count(), 0);
        assert_eq!(Wrr::new(1).set_weights(0..65), Err(ArrangeError::Room { servers: 64 }));
    }

    #[test]
    fn s2_what_is_down_is_left_out_and_the_others_keep_their_proportions() {
        let wrr = starting_at(0, &[6, 3, 1]);
        let mut counts = [0; 3];
        for _ in 0..700 {
            counts[pick(&wrr, &[1]).unwrap() as usize] += 1;
        }
        assert_eq!(counts, [600, 0, 100]);
        assert_eq!(pick(&wrr, &[0, 1, 2]), None);
    }

    #[test]
    fn s7_a_list_that_shrinks_is_no_trouble() {
        let mut wrr = starting_at(0, &[9; 12]);
        assert!((0..7).all(|_| pick(&wrr, &[]).is_some()));
        wrr.set_weights([1, 2].into_iter()).unwrap();
        let counts = (0..300).fold([0; 2], |mut counts, _| {
            counts[pick(&wrr, &[]).unwrap() as usize] += 1;
            counts
        });
        assert!((99..=101).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn s2_a_lost_race_changes_nothing() {
        let wrr = starting_at(0, &[1, 1, 1]);
        let look = || wrr.tickets().next().unwrap();
        let stale = look();
        assert!(wrr.take(look(), false));
        let next = look();
        assert!(!wrr.take(stale, false) && look() == next);
        assert!(wrr.take(stale, true) && look() == next, "beside the sequence");
    }
}

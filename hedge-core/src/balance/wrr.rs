//! The balancer `wrr`: weighted round robin.

use core::num::NonZeroU32;

use super::weights::stride;
use super::{ArrangeError, Balancer, InTurn, Offer, Roster, Search, ServerList, Storage, Weighing, Weights};
use crate::atomic::{AtomicU64, Ordering::SeqCst};
use crate::random::mix;

/// How many servers one look passes at most: this many, and [`ROUNDS`] for each server of the list.
const PASSES: u64 = 1_024;
const ROUNDS: u64 = 8;
/// After this many passes for each server of the list, a look checks whether any server can be used.
const CHECKED: u64 = 2;

/// Chooses each server exactly as often as its weight says. The turns of each server are spread out
/// ([S2](crate::rules#S2)).
///
/// Only a call's first attempt takes a turn. The retries and backups of the call take the other servers in list order.
/// They begin at a server that is drawn by weight. They do not change the turn.
///
/// The servers form a cycle of units: each server has as many units as its weight. A pick moves on by a stride and
/// chooses the server whose unit is then reached. The stride is coprime with the length of the cycle, so a whole round
/// of picks reaches each unit once. This is brpc's algorithm. Its state is the server that the last pick has reached,
/// and how many units of that server are left.
///
/// If the server that a pick reaches cannot be used, the pick moves on by further strides. So each of the other servers
/// is still chosen exactly as often as its weight says. A look passes at most 1,024 servers, and 8 more for each server
/// of the list. If it then has found no server, nearly all the weight is down. It leaves out all servers that cannot be
/// used, and moves on by one stride through the units of the others, from where it began. The shares may then differ
/// from the weights. A look that has passed 2 servers for each server of the list checks once whether any server can be
/// used, and ends if there is none.
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

    /// Returns the turn of the next pick, if all servers can be used. Returns `None` if all weights are 0.
    pub fn turn(&self) -> Option<WrrTicket> {
        let all = self.weights.len();
        self.turn_among(all, self.state.load(SeqCst), |_| Some(())).map(|(ticket, ())| ticket)
    }

    /// Returns the turn of the next pick, for a list of which only the first `servers` servers take part. If a subset is
    /// in use, its reserve does not. `found` returns the server at a position if the pick can use it.
    fn turn_among<T>(&self, servers: usize, from: u64, found: impl Fn(u32) -> Option<T>) -> Option<(WrrTicket, T)> {
        let cycle = Cycle::new(&self.weights, servers)?;
        let ticket = |position, to: Cursor| WrrTicket { position, from, to: to.word() };
        let is_found = |position| found(position).is_some();
        let servers = cycle.servers.get();
        let after_check = PASSES + (ROUNDS - CHECKED) * u64::from(servers);
        let (mut cursor, mut left) = (Cursor::of(from), PASSES + ROUNDS * u64::from(servers));
        while left > 0 {
            let (position, to, passed) = cycle.advance(cursor, cycle.stride, |_| true)?;
            if let Some(found) = found(position) {
                return Some((ticket(position, to), found));
            }
            let before = left;
            (cursor, left) = (to, left.saturating_sub(passed));
            if before > after_check && left <= after_check && !(0..servers).any(is_found) {
                return None;
            }
        }
        let (position, to, _) = cycle.advance(Cursor::of(from), cycle.stride_of(is_found)?, is_found)?;
        Some((ticket(position, to), found(position)?))
    }

    /// Takes the turn of an offer. If the offer takes no turn, nothing changes, and the result is true. If another call
    /// has taken a turn since the offer was made, nothing changes, and the result is `insist`. So a caller that insists
    /// keeps the offered server, but takes no turn.
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
        let list = search.list;
        let (from, turn, begin) = if search.is_first() {
            let from = self.state.load(SeqCst);
            let usable =
                |position| list.at(usize::try_from(position).ok()?).filter(|candidate| search.takes(candidate));
            let turn = self.turn_among(list.len(), from, usable);
            (Some(from), turn, turn.map_or(Cursor::of(from).position, |(ticket, _)| ticket.position))
        } else {
            let draw = || self.weights.drawn(u64::from(random()) << 32 | u64::from(random()));
            (None, None, search.first_taken(draw))
        };
        let first = turn.map(|(ticket, candidate)| Offer { candidate, ticket });
        let others = search.in_order(|len| InTurn::from_origin(len, begin));
        let others = others.filter(move |(position, _)| turn.is_none_or(|(ticket, _)| ticket.position != *position));
        first.into_iter().chain(others.map(move |(position, candidate)| {
            // A first attempt that takes no turn of the cycle moves the turn behind its server.
            let (from, to) = match from {
                Some(from) => (from, Cursor { position: position.wrapping_add(1), left: 0 }.word()),
                None => (0, 0),
            };
            Offer { candidate, ticket: WrrTicket { position, from, to } }
        }))
    }

    fn commit(&self, ticket: WrrTicket, insist: bool) -> bool {
        self.take(ticket, insist)
    }
}

/// Returns the weights of a list, sorted by position.
pub(super) fn weights<L: ServerList>(list: &L) -> impl Iterator<Item = u32> {
    (0..list.len()).map(|position| {
        let load = list.at(position).and_then(|found| list.load(found.server));
        load.map_or(0, |load| load.weight.get())
    })
}

/// The cycle of the units of the servers that take part.
#[derive(Clone, Copy)]
struct Cycle<'w, W> {
    weights: &'w Weights<W>,
    /// How many servers take part: those at the positions below this number.
    servers: NonZeroU32,
    /// By how many units each pick moves on. It is above 0.
    stride: u64,
}

impl<'w, W: AsRef<[u32]>> Cycle<'w, W> {
    /// Returns the cycle of the first `servers` servers. Returns `None` if they have no units.
    fn new(weights: &'w Weights<W>, servers: usize) -> Option<Self> {
        let servers = servers.min(weights.len());
        let stride = match weights.total_of(servers) {
            _ if servers == weights.len() => weights.stride(),
            total => stride(total, servers as u64),
        };
        let servers = NonZeroU32::new(u32::try_from(servers).ok()?)?;
        (stride > 0).then_some(Self { weights, servers, stride })
    }

    /// Returns the stride among the servers that `takes_part` lets through. Returns `None` if they have no units.
    fn stride_of(&self, takes_part: impl Fn(u32) -> bool) -> Option<u64> {
        let weights = (0..self.servers.get()).filter(|position| takes_part(*position)).map(|it| self.weights.at(it));
        let (total, servers) = weights.fold((0, 0), |(total, servers), it| (total + u64::from(it), servers + 1));
        Some(stride(total, servers)).filter(|stride| *stride > 0)
    }

    /// Moves on by a stride through the units of the servers that `takes_part` lets through. Returns the position at
    /// which the stride ends, the new state, and how many servers were passed. Returns `None` if the servers have fewer
    /// units than the stride: another thread may have learned meanwhile that they are down.
    #[inline]
    fn advance(&self, from: Cursor, mut stride: u64, takes_part: impl Fn(u32) -> bool) -> Option<(u32, Cursor, u64)> {
        // The list may have changed since the last pick.
        let servers = self.servers.get();
        let mut position = if from.position < servers { from.position } else { from.position % self.servers };
        let weight = self.weights.at(position);
        let mut units = u64::from(if from.left > 0 { from.left.min(weight) } else { weight });
        // A stride is at most a round. If it begins within a server, it ends at the latest within this server.
        for passed in 1..=u64::from(servers) + 1 {
            if takes_part(position) {
                // The stride ends within the units of this server.
                if units > stride {
                    let left = u32::try_from(units - stride).unwrap_or(u32::MAX);
                    return Some((position, Cursor { position, left }, passed));
                }
                stride -= units;
            }
            let next = if position + 1 == servers { 0 } else { position + 1 };
            // The stride ends at the last unit of this server, so the next pick begins at the next server.
            if stride == 0 {
                return Some((position, Cursor { position: next, left: 0 }, passed));
            }
            position = next;
            units = self.weights.at(position).into();
        }
        None
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
    use crate::balance::testing::{Servers, positions};
    use core::cell::Cell;
    use std::vec;
    use std::vec::Vec;

    type Wrr = WeightedRoundRobin<Fixed<64>>;

    fn starting_at(start: u32, weights: &[u32]) -> Wrr {
        let mut wrr = Wrr::starting_at(start);
        wrr.set_weights(weights.iter().copied()).unwrap();
        wrr
    }

    fn pick(wrr: &Wrr, down: &[u32]) -> Option<u32> {
        let found = |position| (!down.contains(&position)).then_some(());
        let (ticket, ()) = wrr.turn_among(wrr.weights.len(), wrr.state.load(SeqCst), found)?;
        assert!(wrr.take(ticket, false));
        Some(ticket.position)
    }

    /// Returns how often each server is chosen in `rounds` rounds of the servers that are up.
    fn counts(wrr: &Wrr, weights: &[u32], down: &[u32], rounds: u32) -> Vec<u32> {
        let up: u32 = (0..).zip(weights).filter(|(position, _)| !down.contains(position)).map(|(_, it)| it).sum();
        let mut counts = vec![0; weights.len()];
        for _ in 0..rounds * up {
            counts[pick(wrr, down).unwrap() as usize] += 1;
        }
        counts
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
            for down in [0, 1, servers - 1, servers] {
                let mut list = Servers::new(servers);
                list.slots[..down].iter_mut().flatten().for_each(|server| server.usable = false);
                let wrr = starting_at(7, &(0..5).cycle().take(servers).collect::<Vec<u32>>());
                let mut offered = positions(&wrr, &list);
                offered.sort_unstable();
                assert_eq!(offered, (0..servers).collect::<Vec<_>>(), "{down} down");
            }
        }
        assert_eq!(Wrr::new(1).turn(), None);
        assert_eq!(Wrr::new(1).set_weights(0..65), Err(ArrangeError::Room { servers: 64 }));
    }

    #[test]
    fn s2_whatever_is_down_the_others_get_exactly_their_weights() {
        const SEED: u64 = 4;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for case in 0..3_000 {
            let servers = rng.u32(1..=64);
            let weights: Vec<u32> = match case % 3 {
                0 => vec![1; servers as usize],
                1 => vec![rng.u32(1..20); servers as usize],
                _ => (0..servers).map(|_| rng.u32(1..20)).collect(),
            };
            let wrr = starting_at(rng.u32(..), &weights);
            counts(&wrr, &weights, &[], 1);
            // A part of the list, as a zone is, or servers anywhere in it.
            let (from, most) = (rng.u32(..servers), servers - 1);
            let number = rng.u32(0..=most);
            let mut down: Vec<u32> = (0..number).map(|step| (from + step) % servers).collect();
            if rng.bool() {
                down = (0..servers).collect();
                rng.shuffle(&mut down);
                down.truncate(number as usize);
            }
            let counts = counts(&wrr, &weights, &down, 3);
            for (position, (count, weight)) in (0..).zip(counts.iter().zip(&weights)) {
                let expected = if down.contains(&position) { 0 } else { 3 * weight };
                assert_eq!(*count, expected, "seed {SEED}, case {case}, {weights:?}, {down:?} down");
            }
        }
    }

    #[test]
    fn s2_a_look_is_bounded_where_nearly_all_the_weight_is_down() {
        let weights = [4_000_000_000, 3, 1];
        let wrr = starting_at(0, &weights);
        let passed = Cell::new(0_u32);
        let found = |position: u32| {
            passed.set(passed.get() + 1);
            (position > 0).then_some(())
        };
        let mut counts = [0; 3];
        for _ in 0..400 {
            passed.set(0);
            let (ticket, ()) = wrr.turn_among(3, wrr.state.load(SeqCst), found).unwrap();
            assert!(wrr.take(ticket, false));
            counts[ticket.position as usize] += 1;
            assert!(passed.get() < 1_100, "{}", passed.get());
        }
        assert_eq!(counts, [0, 300, 100]);
        assert_eq!(pick(&wrr, &[0, 1, 2]), None);
    }

    #[test]
    fn s2_a_look_that_finds_no_usable_server_ends_soon() {
        for servers in [1, 20, 64] {
            let wrr = starting_at(0, &std::vec![3; servers]);
            let looked = Cell::new(0);
            let found = |_| {
                looked.set(looked.get() + 1);
                None::<()>
            };
            assert_eq!(wrr.turn_among(servers, 0, found), None);
            assert!(looked.get() <= 3 * servers + 1, "{} looks at {servers} servers", looked.get());
        }
    }

    #[test]
    fn s2_a_server_that_goes_down_during_the_look_does_not_hold_it_up() {
        let wrr = starting_at(0, &[1_000_000, 1, 1]);
        let seen = Cell::new([false; 3]);
        let once = |position: u32| {
            let mut now = seen.get();
            let before = core::mem::replace(&mut now[position as usize], true);
            seen.set(now);
            (position > 0 && !before).then_some(())
        };
        assert_eq!(wrr.turn_among(3, 0, once), None);
        assert_eq!(seen.get(), [true; 3]);
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
        let look = || wrr.turn().unwrap();
        let stale = look();
        assert!(wrr.take(look(), false));
        let next = look();
        assert!(!wrr.take(stale, false) && look() == next);
        assert!(wrr.take(stale, true) && look() == next, "beside the sequence");
    }
}

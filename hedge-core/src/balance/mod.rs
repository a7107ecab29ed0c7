//! Choosing a server: balancers as sequences of distinct candidates, and the choice among them.
//!
//! A [`Balancer`] answers positions in the server list, the first choice first, then the fallbacks, each position once
//! (S6). [`select`] walks them under L11: the first usable server whose address this call has not tried, *wherever it
//! stands in the order*; when all are tried, the least recently tried address that is idle in this call.
//!
//! A selection is looked at first and committed later, so that a backup which a limit refuses leaves no trace (L5).

mod any;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod decay;
pub mod hash;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub mod la;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub mod p2c;
mod random;
pub mod ring;
mod rr;
mod seeds;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod stamped;
mod weight;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
mod wrr;

pub use any::{AnyBalancer, UnknownBalancer};
pub use random::RandomChoice;
pub use rr::RoundRobin;
pub use seeds::{Random, Seeds};
pub use weight::{WeightError, Weights, weight_of_tag};
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub use wrr::{Step, Steps, WeightedRoundRobin};

use core::num::NonZeroU32;

use crate::call::{AddressKey, Attempt, NoServer, Pick, Selection, ServerId, Ticket};

/// One server as balancers and [`select`] see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The server.
    pub server: ServerId,
    /// Its address.
    pub address: AddressKey,
    /// Whether it takes calls now.
    pub usable: bool,
}

/// A list of servers in canonical order: by address, then by tag (S7).
pub trait ServerList {
    /// How many servers there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server at a position; `None` past the end.
    fn at(&self, position: usize) -> Option<Candidate>;

    /// The server with this id; `None` if it is gone.
    fn find(&self, server: ServerId) -> Option<Candidate>;
}

/// An order in which to look at the servers.
pub trait Balancer {
    /// The sequence of candidates for one selection among `len` servers, changing nothing. `random` draws from the
    /// call's own generator.
    fn candidates(&self, len: NonZeroU32, random: &mut dyn FnMut() -> u32) -> Candidates;

    /// Moves on past a candidate that was chosen. False, with nothing changed, if another call did so since the look and
    /// `insist` is false.
    fn commit(&self, ticket: Ticket, insist: bool) -> bool {
        let _ = (ticket, insist);
        true
    }
}

/// Positions `0..len`, each once: a first choice, which costs nothing to give, then the rest by a fixed stride.
#[derive(Clone, Debug)]
pub struct Candidates {
    len: NonZeroU32,
    origin: u32,
    first: u32,
    /// The next choice, as a distance from the one behind the first.
    next: u32,
    /// From the second choice on, once it is given, a stride that visits each of the rest.
    stride: u32,
    given: u32,
}

impl Candidates {
    /// From `origin` (modulo `len`) on, in list order.
    #[must_use]
    pub const fn from_origin(len: NonZeroU32, origin: u32) -> Self {
        // A division costs as much as the rest of a selection.
        let first = if origin < len.get() { origin } else { origin % len.get() };
        Self { len, origin, first, next: 0, stride: 1, given: 0 }
    }

    /// `first`, then the one `1 + second` further on, and so on by a stride near `stride`. `first` is below `len`, `second`
    /// below the number of the others.
    const fn scattered(len: NonZeroU32, first: u32, second: u32, stride: u32) -> Self {
        Self { len, origin: first, first, next: second, stride, given: 0 }
    }

    /// Any position but the first.
    fn fallback(&mut self) -> Option<u32> {
        let rest = NonZeroU32::new(self.len.get() - 1).filter(|_| self.given < self.len.get())?;
        if self.given == 1 {
            self.stride = (self.stride % rest).max(1);
            while gcd(self.stride, rest.get()) != 1 {
                self.stride -= 1;
            }
        }
        self.given += 1;
        let position = add_modulo(self.first, self.next + 1, self.len.get());
        self.next = add_modulo(self.next, self.stride, rest.get());
        Some(position)
    }
}

/// The sum of two numbers up to `modulus`, without division and overflow.
const fn add_modulo(a: u32, b: u32, modulus: u32) -> u32 {
    let gap = modulus - a;
    if b >= gap { b - gap } else { a + b }
}

impl Iterator for Candidates {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.given > 0 {
            return self.fallback();
        }
        self.given = 1;
        Some(self.first)
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while let Some(divisor) = NonZeroU32::new(b) {
        (a, b) = (b, a % divisor);
    }
    a
}

/// Looks for a server under L11, changing nothing.
///
/// Work: one step a candidate until the first untried usable one; only when there is none, the whole list. A step compares
/// with the call's few attempts.
///
/// # Errors
/// Why there is none.
// Each host has one caller, and a pick that is passed on through memory costs more than the whole look.
#[inline(always)]
pub fn select(
    list: &impl ServerList,
    balancer: &impl Balancer,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Result<Pick, NoServer> {
    if let Some(server) = selection.same {
        let found = list.find(server).ok_or(NoServer::Gone)?;
        return Ok(Pick { server, address: found.address, ticket: None });
    }
    if selection.servers.is_some() {
        return select_walk(list, selection, None);
    }
    let len = u32::try_from(list.len()).ok().and_then(NonZeroU32::new).ok_or(NoServer::Empty)?;
    let candidates = balancer.candidates(len, random);
    let first = at(list, candidates.first);
    if let Some(found) = first.filter(|found| found.usable && !was_tried(selection, found.address)) {
        let ticket = Some(Ticket { origin: candidates.origin, position: candidates.first });
        return Ok(Pick { server: found.server, address: found.address, ticket });
    }
    select_walk(list, selection, Some(candidates))
}

/// Walks the servers that the call names itself, or else the whole sequence of the balancer's. Apart from the usual case,
/// which the first candidate settles, so that this one stays short.
#[inline(never)]
fn select_walk(
    list: &impl ServerList,
    selection: &Selection<'_>,
    mut candidates: Option<Candidates>,
) -> Result<Pick, NoServer> {
    let mut choice = Choice { selection, fallback: None, seen: false, usable: false };
    let mut named = selection.servers.unwrap_or_default().iter();
    loop {
        let (found, ticket) = match &mut candidates {
            Some(candidates) => {
                let Some(position) = candidates.next() else { break };
                (at(list, position), Some(Ticket { origin: candidates.origin, position }))
            }
            None => {
                let Some(server) = named.next() else { break };
                (list.find(*server), None)
            }
        };
        if let Some(pick) = found.and_then(|found| choice.offer(found, ticket)) {
            return Ok(pick);
        }
    }
    choice.settle()
}

fn at(list: &impl ServerList, position: u32) -> Option<Candidate> {
    usize::try_from(position).ok().and_then(|position| list.at(position))
}

fn was_tried(selection: &Selection<'_>, address: AddressKey) -> bool {
    selection.tried.iter().any(|attempt| attempt.address() == address)
}

/// The best candidate so far that is not the ideal one.
struct Choice<'a> {
    selection: &'a Selection<'a>,
    /// Whether its address is at work on the call, when it was last tried, and the pick.
    fallback: Option<((bool, usize), Pick)>,
    seen: bool,
    usable: bool,
}

impl Choice<'_> {
    /// Takes a candidate in; answers it if it is usable and untried.
    fn offer(&mut self, found: Candidate, ticket: Option<Ticket>) -> Option<Pick> {
        self.seen = true;
        if !found.usable {
            return None;
        }
        self.usable = true;
        let pick = Pick { server: found.server, address: found.address, ticket };
        let same = |attempt: &Attempt| attempt.address() == found.address;
        let Some(last) = self.selection.tried.iter().rposition(same) else { return Some(pick) };
        let working = self.selection.tried.iter().any(|attempt| same(attempt) && attempt.in_flight());
        if working && !self.selection.working_too {
            return None;
        }
        let rank = (working, last);
        if self.fallback.is_none_or(|(best, _)| rank < best) {
            self.fallback = Some((rank, pick));
        }
        None
    }

    fn settle(self) -> Result<Pick, NoServer> {
        match self {
            Self { fallback: Some((_, pick)), .. } => Ok(pick),
            Self { seen: false, .. } => Err(NoServer::Empty),
            Self { usable: false, .. } => Err(NoServer::AllDown),
            Self { .. } => Err(NoServer::AllBusy),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn len(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn s6_every_sequence_visits_each_position_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        for n in 1..60 {
            for _ in 0..50 {
                let made = [
                    Candidates::from_origin(len(n), rng.u32(..)),
                    Candidates::scattered(len(n), rng.u32(0..n), rng.u32(0..(n - 1).max(1)), rng.u32(..)),
                ];
                for candidates in made {
                    let mut seen: Vec<u32> = candidates.clone().collect();
                    seen.sort_unstable();
                    assert_eq!(seen, (0..n).collect::<Vec<_>>(), "{candidates:?}");
                }
            }
        }
    }

    #[test]
    fn s6_huge_lists_do_not_overflow() {
        let candidates = Candidates::scattered(len(u32::MAX), u32::MAX - 1, u32::MAX - 2, u32::MAX - 3);
        let positions: Vec<u32> = candidates.take(5).collect();
        // The last, then the one before it: a distance of one less than a whole round.
        let max = u32::MAX;
        assert_eq!(positions[..2], [max - 1, max - 2]);
        assert!(positions.iter().all(|position| *position < max));
    }
}

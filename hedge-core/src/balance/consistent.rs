//! Consistent hashing: [`Consistent`].

use core::fmt;

use super::ring::{Ring, Walk};
use super::{ArrangeError, Balancer, Buffer, Candidate, InOrder, InTurn, Offer, Roster, Search, ServerList, Storage};
use crate::id::ServerId;

/// A selection that has left out this many servers checks whether the list has any that the call takes.
const LEFT_OUT: usize = 16;

/// Consistent hashing: sends a call to the server that owns its request code on a [`Ring`] of hashed points
/// ([S5](crate::rules#S5)). If that server is down or was tried, the call goes to the server that would own the code
/// without it, and so on. A call without a code is refused.
///
/// When a server comes or goes, only the codes of its own points move. Points do not depend on tags: of several servers
/// at one address, the first by tag gets all calls.
///
/// Cost: a lookup in the ring, and nothing shared is written; see [`ring`](super::ring). 4 bytes a slot in addition to
/// the ring.
#[derive(Clone, Debug)]
pub struct Consistent<S: Storage> {
    ring: Ring<S::Points>,
    /// By slot, the generation of the server whose points are on the ring, counted from 1; 0 if there is none.
    generations: S::Weights,
}

impl<S: Storage> Consistent<S> {
    /// A balancer with the hash and the points of this ring.
    #[must_use]
    pub fn new(ring: Ring<S::Points>) -> Self {
        Self { ring, generations: S::Weights::default() }
    }

    /// The ring.
    pub const fn ring(&self) -> &Ring<S::Points> {
        &self.ring
    }
}

impl<S: Storage> Balancer for Consistent<S> {
    type Stats = ();
    type Ticket = ();

    fn stats(&self) {}

    fn needs_request_code(&self) -> bool {
        true
    }

    fn arrange<L: Roster<Stats = ()>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let mark = |slot: u16| list.in_slot(slot).map_or(0, |found| generation_mark(found.server));
        // The points of servers that have left their slots go first, then those of new servers come.
        self.ring.retain_slots(|slot| self.generations.as_ref().get(usize::from(slot)) == Some(&mark(slot)));
        let known = &self.generations;
        let comes = (0..list.len()).filter_map(|position| {
            let server = list.at(position)?.server;
            let new = known.as_ref().get(usize::from(server.slot())) != Some(&generation_mark(server));
            new.then_some((server.slot(), AddressOf { list, position }))
        });
        // Linear, but asked only for points of equal hash.
        let position = |slot| (0..list.len()).find(|at| list.at(*at).is_some_and(|found| found.server.slot() == slot));
        let inserted = self.ring.insert_all(comes, |one, other| position(one).cmp(&position(other)));
        let marks = (0..list.slots()).map(|slot| u16::try_from(slot).map_or(0, mark));
        if let Err(error) = inserted {
            self.ring.retain_slots(|_| false);
            self.generations = S::Weights::default();
            return Err(error.into());
        }
        self.generations.refill(marks)
    }

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        _: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        let walk = self.ring.walk(search.selection.request_code.unwrap_or(0));
        Distinct { search, walk, left_out: heapless::Vec::new(), rest: None, looked: false }
    }
}

/// Tells apart the servers that have had one slot.
const fn generation_mark(server: ServerId) -> u32 {
    server.generation() as u32 + 1
}

/// Displays the address of a server.
struct AddressOf<'a, L> {
    list: &'a L,
    position: usize,
}

impl<L: Roster> fmt::Display for AddressOf<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.write_address(self.position, f)
    }
}

/// The servers along a ring, each once until [`LEFT_OUT`] were offered. A call that takes none of those will mostly
/// find none at all. If the list has none that it takes, the rest follows in list order, which is faster than a walk of
/// all points.
struct Distinct<'a, L> {
    search: Search<'a, L>,
    walk: Walk<'a>,
    left_out: heapless::Vec<u16, LEFT_OUT>,
    rest: Option<InOrder<L, InTurn>>,
    looked: bool,
}

impl<L: ServerList + Copy> Iterator for Distinct<'_, L> {
    type Item = Offer<()>;

    fn next(&mut self) -> Option<Offer<()>> {
        let offer = |candidate: Candidate| Offer { candidate, ticket: () };
        // So many are left out: is there any server at all that the call takes?
        if self.left_out.is_full() && !self.looked {
            self.looked = true;
            let mut all = self.search.in_order(|len| InTurn::from_origin(len, 0));
            if !all.any(|(_, candidate)| self.search.takes(&candidate)) {
                self.rest = Some(self.search.in_order(|len| InTurn::from_origin(len, 0)));
            }
        }
        if let Some(rest) = &mut self.rest {
            return rest
                .map(|(_, candidate)| candidate)
                .find(|it| !self.left_out.contains(&it.server.slot()))
                .map(offer);
        }
        loop {
            let slot = self.walk.next()?;
            if !self.left_out.contains(&slot) {
                // Once it is full, the other servers come once for each of their points.
                let _ = self.left_out.push(slot);
                return self.search.list.in_slot(slot).map(offer);
            }
        }
    }
}

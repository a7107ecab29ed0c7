//! Consistent hashing: [`Consistent`].

use core::fmt;

use super::ring::{Ring, Walk};
use super::{ArrangeError, Balancer, Buffer, Candidate, InOrder, InTurn, Offer, Roster, Search, ServerList, Storage};
use crate::id::ServerId;

/// A selection that has left out this many servers checks whether the call takes any server of the list at all.
const LEFT_OUT: usize = 16;

/// Consistent hashing: a call goes to the server that owns the call's request code on a [`Ring`] of hashed points
/// ([S5](crate::rules#S5)). If that server is down or was tried, the call goes to the server that would own the code if
/// the first one were not on the ring, and so on. A call without a request code is refused.
///
/// When a server comes or goes, only the codes of its own points move. Points do not depend on tags. So if several
/// servers have the same address, the server whose tag comes first gets all calls.
///
/// Cost: a selection is a lookup in the ring and writes no shared memory; see [`ring`](super::ring). Memory: the ring,
/// and 4 bytes for each slot.
#[derive(Clone, Debug)]
pub struct Consistent<S: Storage> {
    ring: Ring<S::Points>,
    /// One number for each slot. It is 0 if no server of this slot has points on the ring. Otherwise it is 1 plus the
    /// generation of the server whose points are on the ring.
    generations: S::Weights,
}

impl<S: Storage> Consistent<S> {
    /// Makes a balancer with the hash and the number of points of this ring.
    #[must_use]
    pub fn new(ring: Ring<S::Points>) -> Self {
        Self { ring, generations: S::Weights::default() }
    }

    /// Returns the ring with the points of the servers.
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
        // First the points of servers that have left their slots are removed. Then the points of new servers are added.
        // The list is asked once for each slot, and not once for each point.
        let mut some_left = false;
        for (slot, known) in (0..).zip(self.generations.as_mut()) {
            if *known != 0 && *known != mark(slot) {
                (*known, some_left) = (0, true);
            }
        }
        if some_left {
            self.ring
                .retain_slots(|slot| self.generations.as_ref().get(usize::from(slot)).is_some_and(|known| *known != 0));
        }
        let known = &self.generations;
        let comes = (0..list.len()).filter_map(|position| {
            let server = list.at(position)?.server;
            let new = known.as_ref().get(usize::from(server.slot())) != Some(&generation_mark(server));
            new.then_some((server.slot(), AddressOf { list, position }))
        });
        // This is a linear search. It is made only for points of equal hash.
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

/// Returns a number that distinguishes the servers that use the same slot one after another. The number is never 0.
const fn generation_mark(server: ServerId) -> u32 {
    server.generation() as u32 + 1
}

/// The address of a server as a value that can be formatted.
struct AddressOf<'a, L> {
    list: &'a L,
    position: usize,
}

impl<L: Roster> fmt::Display for AddressOf<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.write_address(self.position, f)
    }
}

/// The servers in the order of their points on a ring. Among the first [`LEFT_OUT`], no server is offered twice. If the
/// call has taken none of these servers, it probably takes no server at all. So the whole list is checked then. If the
/// call takes no server of the list, the other servers follow in list order, which is faster than visiting all points.
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
        // Many servers are left out, so it is time to check whether the call takes any server of the list.
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
                // Once the list of offered servers is full, a server may be offered again for each of its points.
                let _ = self.left_out.push(slot);
                return self.search.list.in_slot(slot).map(offer);
            }
        }
    }
}

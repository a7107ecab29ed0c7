//! Consistent hashing: [`Consistent`].

use core::fmt;

use super::ring::{Ring, Walk};
use super::{Along, ArrangeError, Balancer, Candidate, InTurn, Look, Offer, Room, Roster, Row, ServerList};
use crate::id::ServerId;

/// A selection that has left out this many servers checks whether the list has any that the call takes.
const LEFT_OUT: usize = 16;

/// Consistent hashing: sends a call to the server that owns its request code on a [`Ring`] of hashed points (S5). If
/// that server is down or was tried, the call goes to the server that would own the code without it, and so on. A call
/// without a code is refused.
///
/// When a server comes or goes, only the codes of its own points move. Points do not depend on tags: of several servers
/// at one address, the first by tag gets all calls.
///
/// Cost: a lookup in the ring, and nothing shared is written; see [`ring`](super::ring). 4 bytes a slot in addition to
/// the ring.
#[derive(Clone, Debug)]
pub struct Consistent<R: Room> {
    ring: Ring<R::Points>,
    /// By slot, the generation of the server whose points are on the ring, counted from 1; 0 if there is none.
    lives: R::Weights,
}

impl<R: Room> Consistent<R> {
    /// A balancer with the hash and the points of this ring.
    #[must_use]
    pub fn new(ring: Ring<R::Points>) -> Self {
        Self { ring, lives: R::Weights::default() }
    }

    /// The ring.
    pub const fn ring(&self) -> &Ring<R::Points> {
        &self.ring
    }
}

impl<R: Room> Balancer for Consistent<R> {
    type Stats = ();
    type Ticket = ();

    fn stats(&self) {}

    fn needs_request_code(&self) -> bool {
        true
    }

    fn arrange<L: Roster<Stats = ()>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let lives = |slot: u16| list.in_slot(slot).map_or(0, |found| mark(found.server));
        // The points of servers that have left their slots go first, then those of new servers come.
        self.ring.retain_slots(|slot| self.lives.as_ref().get(usize::from(slot)) == Some(&lives(slot)));
        let known = &self.lives;
        let comes = (0..list.len()).filter_map(|position| {
            let server = list.at(position)?.server;
            let new = known.as_ref().get(usize::from(server.slot())) != Some(&mark(server));
            new.then_some((server.slot(), Written { list, position }))
        });
        // Linear, but asked only for points of equal hash.
        let position = |slot| (0..list.len()).find(|at| list.at(*at).is_some_and(|found| found.server.slot() == slot));
        let inserted = self.ring.insert_all(comes, |one, other| position(one).cmp(&position(other)));
        let marks = (0..list.slots()).map(|slot| u16::try_from(slot).map_or(0, lives));
        if let Err(error) = inserted {
            self.ring.retain_slots(|_| false);
            self.lives = R::Weights::default();
            return Err(error.into());
        }
        self.lives.refill(marks)
    }

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        look: Look<'a, L>,
        _: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        let walk = self.ring.walk(look.selection.request_code.unwrap_or(0));
        Distinct { look, walk, left_out: heapless::Vec::new(), rest: None, looked: false }
    }
}

/// Tells apart the servers that have had one slot.
const fn mark(server: ServerId) -> u32 {
    server.generation() as u32 + 1
}

/// Displays the address of a server.
struct Written<'a, L> {
    list: &'a L,
    position: usize,
}

impl<L: Roster> fmt::Display for Written<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.write_address(self.position, f)
    }
}

/// The servers along a ring, each once until [`LEFT_OUT`] were offered. A call that takes none of those will mostly
/// find none at all. If the list has none that it takes, the rest follows in list order, which is faster than a walk of
/// all points.
struct Distinct<'a, L> {
    look: Look<'a, L>,
    walk: Walk<'a>,
    left_out: heapless::Vec<u16, LEFT_OUT>,
    rest: Option<Along<L, InTurn>>,
    looked: bool,
}

impl<L: ServerList + Copy> Iterator for Distinct<'_, L> {
    type Item = Offer<()>;

    fn next(&mut self) -> Option<Offer<()>> {
        let offer = |candidate: Candidate| Offer { candidate, ticket: () };
        // So many are left out: is there any server at all that the call takes?
        if self.left_out.is_full() && !self.looked {
            self.looked = true;
            let mut all = self.look.along(|len| InTurn::from_origin(len, 0));
            if !all.any(|(_, candidate)| self.look.takes(&candidate)) {
                self.rest = Some(self.look.along(|len| InTurn::from_origin(len, 0)));
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
                return self.look.list.in_slot(slot).map(offer);
            }
        }
    }
}

//! Choosing a server: balancers as sequences of distinct candidates, and the choice among them.
//!
//! A [`Balancer`] offers the servers of a list, the first choice first, then the fallbacks, each once (S6). [`select`] goes
//! along them under L11: the first usable server whose address this call has not tried, *wherever it stands in the order*;
//! when all are tried, the least recently tried address that is idle in this call.
//!
//! A selection is looked at first and committed later, so that a backup which a limit refuses leaves no trace (L5).
//!
//! A list that changes is arranged anew ([`Balancer::arrange`]): what a balancer makes of a list it keeps itself, what it
//! learns of a server is kept with the server, for as long as that stays (S7). Where the first needs memory, a [`Room`] says
//! whether it is a fixed one or on the heap.
//!
#![doc = include_str!("../../BALANCERS.md")]

#[cfg(has_atomic_64)]
mod any;
mod consistent;
#[cfg(has_atomic_64)]
mod decay;
mod error;
pub mod hash;
#[cfg(has_atomic_64)]
pub mod la;
#[cfg(has_atomic_64)]
mod name;
#[cfg(has_atomic_64)]
mod only;
mod order;
#[cfg(has_atomic_64)]
pub mod p2c;
#[cfg(has_atomic_64)]
pub mod prequal;
mod probe;
mod random;
pub mod ring;
mod room;
mod rr;
mod select;
mod selection;
#[cfg(has_atomic_64)]
mod stamped;
#[cfg(test)]
mod testing;
mod weight;
#[cfg(has_atomic_64)]
mod weights;
#[cfg(has_atomic_64)]
mod wr;
#[cfg(has_atomic_64)]
mod wrr;

#[cfg(has_atomic_64)]
pub use any::{AnyBalancer, AnyStats, AnyTicket};
pub use consistent::Consistent;
pub use error::ArrangeError;
#[cfg(has_atomic_64)]
pub use name::{BalancerError, BalancerName, Word};
pub use order::{InTurn, Order};
pub use probe::ProbeAnswer;
pub use random::RandomChoice;
#[cfg(feature = "alloc")]
pub use room::Heap;
pub use room::{Fixed, Room, Row};
pub use rr::{RoundRobin, Turn};
pub use select::{Along, Look, select};
pub(crate) use select::{first_choice, further_choice};
pub use selection::{NoServer, Pick, Selection};
pub use weight::{Tag, Weighing, WeightError, weight_of_tag};
#[cfg(has_atomic_64)]
pub use weights::Weights;
#[cfg(has_atomic_64)]
pub use wr::WeightedRandom;
#[cfg(has_atomic_64)]
pub use wrr::{Step, Steps, WeightedRoundRobin};

use core::fmt;
use core::num::NonZeroU32;

use crate::id::{AddressKey, ServerId};
use crate::outcome::Finished;
use crate::time::Instant;

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

/// What a balancer may know of a server beside.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a, S> {
    /// What the balancer has learned of it.
    pub stats: &'a S,
    /// How many attempts it is working on.
    pub in_flight: u32,
    /// Its weight; 1 where the balancer asks for none.
    pub weight: NonZeroU32,
}

/// A list of servers in canonical order: by address, then by tag (S7).
pub trait ServerList {
    /// What the balancer keeps of each server.
    type Stats;

    /// How many servers there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server at a position; `None` past the end.
    fn at(&self, position: usize) -> Option<Candidate>;

    /// How many slots there are: servers are in slots below it.
    fn slots(&self) -> usize;

    /// The server in a slot.
    fn in_slot(&self, slot: u16) -> Option<Candidate>;

    /// The server with this id; `None` if it is gone.
    fn find(&self, server: ServerId) -> Option<Candidate> {
        self.in_slot(server.slot()).filter(|found| found.server == server)
    }

    /// What else there is of a server; `None` if it is gone.
    fn load(&self, server: ServerId) -> Option<Load<'_, Self::Stats>>;
}

impl<L: ServerList> ServerList for &L {
    type Stats = L::Stats;

    fn len(&self) -> usize {
        L::len(self)
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        L::at(self, position)
    }

    fn slots(&self) -> usize {
        L::slots(self)
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        L::in_slot(self, slot)
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, L::Stats>> {
        L::load(self, server)
    }
}

/// A list that a balancer arranges.
pub trait Roster: ServerList {
    /// Writes the address of the server at a position, as every client writes it.
    ///
    /// # Errors
    /// It cannot be written.
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// A server that a balancer offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer<T> {
    /// The server.
    pub candidate: Candidate,
    /// The balancer's note to itself between a look and its commit.
    pub ticket: T,
}

impl<T> Offer<T> {
    /// The same with another ticket.
    fn with<U>(self, ticket: impl FnOnce(T) -> U) -> Offer<U> {
        Offer { candidate: self.candidate, ticket: ticket(self.ticket) }
    }
}

/// A rule by which servers are chosen. It is shared by threads through `&self`, and changed only when the list is.
///
/// Whoever brings one gives the types, `stats` and `offers`; the rest has a default that does nothing.
///
/// ```
/// use hedge_core::balance::{Balancer, InTurn, Look, Offer, ServerList};
///
/// /// Always the first of the list that will do.
/// struct InOrder;
///
/// impl Balancer for InOrder {
///     type Stats = ();
///     type Ticket = ();
///
///     fn stats(&self) {}
///
///     fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
///         &'a self,
///         look: Look<'a, L>,
///         _: &'a mut dyn FnMut() -> u32,
///     ) -> impl Iterator<Item = Offer<()>> + 'a {
///         look.along(|servers| InTurn::from_origin(servers, 0)).map(|(_, candidate)| Offer { candidate, ticket: () })
///     }
/// }
/// ```
pub trait Balancer {
    /// What it keeps of each server.
    type Stats;

    /// What it wants to be told again of a server that it offered.
    type Ticket: Copy + fmt::Debug;

    /// What it keeps of a server that has just come.
    fn stats(&self) -> Self::Stats;

    /// Whether servers need weights, and where they are from.
    fn weighing(&self) -> Weighing {
        Weighing::Alike
    }

    /// Whether calls need a request code: without one they are refused before anything is sent (S5).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Takes in the list as it is now; before the first time there is no server. What it has learned of those that stay is
    /// in the list.
    ///
    /// # Errors
    /// A list that it has no room for; it is then to be given another list before it is used.
    fn arrange<L: Roster<Stats = Self::Stats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let _ = list;
        Ok(())
    }

    /// The servers for one selection, in order, changing nothing that a selection depends on. `random` draws from the call's
    /// own generator.
    fn offers<'a, L: ServerList<Stats = Self::Stats> + Copy + 'a>(
        &'a self,
        look: Look<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<Self::Ticket>> + 'a;

    /// Moves on past an offer that was taken. False, with nothing changed, if another call did so since the look and
    /// `insist` is false.
    fn commit(&self, ticket: Self::Ticket, insist: bool) -> bool {
        let _ = (ticket, insist);
        true
    }

    /// An attempt starts at a server of the list; `ticket` is that of the offer, if the server was chosen here.
    fn started<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<Self::Ticket>,
        now: Instant,
    ) {
        let _ = (list, server, ticket, now);
    }

    /// A call starts, whatever becomes of it: hands `probe` the servers that are to be probed now. Once a call.
    fn call_started<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        now: Instant,
        probe: &mut dyn FnMut(ServerId),
    ) {
        let _ = (list, now, probe);
    }

    /// A server has answered a probe. Of one that is not answered nothing is said.
    fn probed<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        answer: ProbeAnswer,
        now: Instant,
    ) {
        let _ = (list, server, answer, now);
    }

    /// An attempt is over (S7). Every one that started at a server is told of once, unless the server has gone.
    fn finished<L: ServerList<Stats = Self::Stats>>(&self, list: &L, attempt: &Finished) {
        let _ = (list, attempt);
    }
}

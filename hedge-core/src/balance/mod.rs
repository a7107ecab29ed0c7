//! Choosing a server: balancers as sequences of distinct candidates, and the choice among them.
//!
//! A [`Balancer`] offers the servers of a list, the first choice first, then the fallbacks, each once
//! ([S6](crate::rules#S6)). [`select`] walks these offers by rule [L11](crate::rules#L11). It takes the first usable
//! server whose address this call has not tried, *wherever it stands in the order*. When all are tried, it takes the
//! least recently tried address that is idle in this call.
//!
//! A selection looks first and commits later, so that a backup which a limit refuses leaves no trace
//! ([L5](crate::rules#L5)).
//!
//! When a list changes, the balancer arranges it again ([`Balancer::arrange`]). What it computes from a list, such as
//! weights or a ring, it keeps itself. What it learns of a server is kept with the server, for as long as the server
//! stays ([S7](crate::rules#S7)). A [`Storage`] says where the computed part is kept: in fixed memory or on the heap.
//!
#![doc = include_str!("../../BALANCERS.md")]

#[cfg(has_atomic_64)]
mod any;
mod consistent;
#[cfg(has_atomic_64)]
mod decay;
mod error;
pub mod hash;
// Both conditions say the same. The compiler shows them to a program that lacks a balancer, and so it names the feature.
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub mod la;
#[cfg(has_atomic_64)]
mod name;
mod order;
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub mod p2c;
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub mod prequal;
mod probe;
mod random;
pub mod ring;
mod rr;
mod select;
mod selection;
#[cfg(has_atomic_64)]
mod stats_view;
mod storage;
#[cfg(test)]
mod testing;
#[cfg(has_atomic_64)]
mod timed_span;
mod weight;
#[cfg(has_atomic_64)]
mod weights;
#[cfg(has_atomic_64)]
mod wr;
#[cfg(has_atomic_64)]
mod wrr;

#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub use any::{AnyBalancer, AnyStats, AnyTicket};
pub use consistent::Consistent;
pub use error::ArrangeError;
#[cfg(has_atomic_64)]
pub use name::{BalancerError, BalancerName, Word};
pub use order::{InTurn, Order};
pub use probe::ProbeAnswer;
pub use random::RandomChoice;
pub use rr::{RoundRobin, RrTicket};
pub use select::{InOrder, Search, select};
pub(crate) use select::{first_choice, further_choice};
pub use selection::{NoServer, Pick, Selection};
#[cfg(feature = "alloc")]
pub use storage::Heap;
pub use storage::{Buffer, Fixed, Storage};
pub use weight::{Tag, Weighing, WeightError, weight_of_tag};
#[cfg(has_atomic_64)]
pub use weights::Weights;
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub use wr::WeightedRandom;
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub use wrr::{WeightedRoundRobin, WrrTicket, WrrTickets};

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

/// What a balancer may know of a server in addition to its [`Candidate`].
#[derive(Clone, Copy, Debug)]
pub struct Load<'a, S> {
    /// What the balancer has learned of it.
    pub stats: &'a S,
    /// How many attempts it is working on.
    pub in_flight: u32,
    /// Its weight; 1 if the balancer uses no weights.
    pub weight: NonZeroU32,
}

/// A list of servers in canonical order: by address, then by tag (S7).
pub trait ServerList {
    /// What the balancer keeps for each server.
    type Stats;

    /// How many servers there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server at a position; `None` past the end.
    fn at(&self, position: usize) -> Option<Candidate>;

    /// How many slots there are: the slot of each server is below this number.
    fn slots(&self) -> usize;

    /// The server in a slot.
    fn in_slot(&self, slot: u16) -> Option<Candidate>;

    /// The server with this id; `None` if it is gone.
    fn find(&self, server: ServerId) -> Option<Candidate> {
        self.in_slot(server.slot()).filter(|found| found.server == server)
    }

    /// The load of a server; `None` if it is gone.
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

/// A list that a balancer can arrange: it also writes the servers' addresses.
pub trait Roster: ServerList {
    /// Writes the address of the server at a position, in the form in which all clients write it.
    ///
    /// # Errors
    /// The address cannot be written.
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

#[cfg(has_atomic_64)]
impl<T> Offer<T> {
    /// The same offer with another ticket.
    fn with<U>(self, ticket: impl FnOnce(T) -> U) -> Offer<U> {
        Offer { candidate: self.candidate, ticket: ticket(self.ticket) }
    }
}

/// A rule that chooses servers. Threads share it through `&self`; it is changed only when the list is.
///
/// An implementation provides the types, `stats` and `offers`. The other methods have defaults that do nothing.
///
/// ```
/// use hedge_core::balance::{Balancer, InTurn, Search, Offer, ServerList};
///
/// /// Always the first server of the list that the call takes.
/// struct FirstUsable;
///
/// impl Balancer for FirstUsable {
///     type Stats = ();
///     type Ticket = ();
///
///     fn stats(&self) {}
///
///     fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
///         &'a self,
///         search: Search<'a, L>,
///         _: &'a mut dyn FnMut() -> u32,
///     ) -> impl Iterator<Item = Offer<()>> + 'a {
///         let servers = search.in_order(|servers| InTurn::from_origin(servers, 0));
///         servers.map(|(_, candidate)| Offer { candidate, ticket: () })
///     }
/// }
/// ```
pub trait Balancer {
    /// What it keeps for each server.
    type Stats;

    /// Its note about an offer, which it gets back at the commit.
    type Ticket: Copy + fmt::Debug;

    /// The statistics of a new server.
    fn stats(&self) -> Self::Stats;

    /// Whether servers need weights, and where the weights come from.
    fn weighing(&self) -> Weighing {
        Weighing::Alike
    }

    /// Whether calls need a request code: without one they are refused before anything is sent (S5).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Takes in the list as it is now. Before the first call the list is empty. The statistics of servers that stay are
    /// in `list`.
    ///
    /// # Errors
    /// There is no room for the list. Another list must then be arranged before the balancer is used again.
    fn arrange<L: Roster<Stats = Self::Stats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let _ = list;
        Ok(())
    }

    /// The servers for one selection, in order. This changes nothing that a selection depends on. `random` draws from
    /// the call's own generator.
    fn offers<'a, L: ServerList<Stats = Self::Stats> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<Self::Ticket>> + 'a;

    /// Moves on past an offer that was taken. Returns false and changes nothing if `insist` is false and another call
    /// has moved on since the look.
    fn commit(&self, ticket: Self::Ticket, insist: bool) -> bool {
        let _ = (ticket, insist);
        true
    }

    /// An attempt starts at a server of the list. `ticket` is that of the offer, if this balancer chose the server.
    fn started<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<Self::Ticket>,
        now: Instant,
    ) {
        let _ = (list, server, ticket, now);
    }

    /// A call starts, whatever becomes of it; called once for each call. Passes to `probe` each server that should be
    /// probed now.
    fn call_started<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        now: Instant,
        probe: &mut dyn FnMut(ServerId),
    ) {
        let _ = (list, now, probe);
    }

    /// A server has answered a probe. A probe without an answer is not reported.
    fn probed<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        answer: ProbeAnswer,
        now: Instant,
    ) {
        let _ = (list, server, answer, now);
    }

    /// An attempt is over (S7). Each attempt that started at a server is reported once, unless the server has gone.
    fn finished<L: ServerList<Stats = Self::Stats>>(&self, list: &L, attempt: &Finished) {
        let _ = (list, attempt);
    }
}

//! Balancers, which choose servers. A balancer offers distinct candidates in an order, and a rule takes one of them.
//!
//! A [`Balancer`] offers each server of a list once: the first choice, then the fallbacks ([S6](crate::rules#S6)).
//! [`select`] goes through these offers by rule [L11](crate::rules#L11). It takes the first usable server whose address
//! this call has not tried, wherever that server is in the order. If all addresses were tried, it takes an address that
//! is idle in this call, namely the one whose last try is longest ago.
//!
//! A selection has two steps: first a look, then a commit. So if a limit refuses a backup after the look, nothing has
//! changed ([L5](crate::rules#L5)).
//!
//! When a list changes, the balancer prepares for the new list ([`Balancer::arrange`]). The balancer itself stores what
//! it computes from a list, such as weights or a ring. What it learns about a server is stored with the server, for as
//! long as the server stays in the list ([S7](crate::rules#S7)). A [`Storage`] says where the computed data are: in
//! fixed memory or on the heap.
//!
#![doc = include_str!("../../BALANCERS.md")]

#[cfg(has_atomic_64)]
mod any;
mod consistent;
#[cfg(has_atomic_64)]
mod decay;
mod error;
pub mod grouped;
pub mod hash;
// The feature also sets `has_atomic_64`, so the second condition changes nothing. Its purpose is the compiler's error
// message: if a program uses a balancer that is missing, the compiler shows this line, which names the feature.
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
mod spec;
#[cfg(has_atomic_64)]
mod stats_view;
mod storage;
mod tag;
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
#[cfg(has_atomic_64)]
pub use spec::BalancerSpec;
#[cfg(feature = "alloc")]
pub use storage::Heap;
pub use storage::{Buffer, Fixed, Storage};
pub use tag::{Partition, TagError, TagKey, TagWords};
pub use weight::{Tag, Weighing, WeightError, weight_of_tag};
#[cfg(has_atomic_64)]
pub use weights::Weights;
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub use wr::WeightedRandom;
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub use wrr::{WeightedRoundRobin, WrrTicket};

use core::fmt;
use core::num::NonZeroU32;

use crate::id::{AddressKey, ServerId};
use crate::outcome::Finished;
use crate::time::Instant;

/// A server in the form in which balancers and [`select`] see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The server's id.
    pub server: ServerId,
    /// The key of the server's address.
    pub address: AddressKey,
    /// Whether the server may get calls now.
    pub usable: bool,
}

/// What a balancer may know about a server in addition to the server's [`Candidate`].
#[derive(Clone, Copy, Debug)]
pub struct Load<'a, S> {
    /// What the balancer has learned about the server.
    pub stats: &'a S,
    /// How many attempts are in flight at the server.
    pub in_flight: u32,
    /// The server's weight; 1 if the balancer uses no weights.
    pub weight: NonZeroU32,
}

/// A list of servers in canonical order: sorted by address, then by tag ([S7](crate::rules#S7)).
pub trait ServerList {
    /// The type of the data that the balancer keeps for each server.
    type Stats;

    /// Returns how many servers there are.
    fn len(&self) -> usize;

    /// Returns whether the list has no servers.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the server at a position of the canonical order. Returns `None` past the end.
    fn at(&self, position: usize) -> Option<Candidate>;

    /// Returns whether the server at a position may get calls now, apart from what only this search has drawn
    /// ([S11](crate::rules#S11)). Returns `None` past the end.
    fn healthy(&self, position: usize) -> Option<bool> {
        self.at(position).map(|found| found.usable)
    }

    /// Returns how many slots there are. Each server's slot is below this number.
    fn slots(&self) -> usize;

    /// Returns the server in a slot. Returns `None` if the slot is empty.
    fn in_slot(&self, slot: u16) -> Option<Candidate>;

    /// Returns the server with this id. Returns `None` if it has been removed.
    fn find(&self, server: ServerId) -> Option<Candidate> {
        self.in_slot(server.slot()).filter(|found| found.server == server)
    }

    /// Returns the load of a server. Returns `None` if it has been removed.
    fn load(&self, server: ServerId) -> Option<Load<'_, Self::Stats>>;

    /// Returns the data that the balancer keeps for the server in a slot. Returns `None` if the slot is empty. A list
    /// may override this method, so that it does not read the other data of the server.
    fn stats_in_slot(&self, slot: u16) -> Option<&Self::Stats> {
        Some(self.load(self.in_slot(slot)?.server)?.stats)
    }
}

impl<L: ServerList> ServerList for &L {
    type Stats = L::Stats;

    fn len(&self) -> usize {
        L::len(self)
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        L::at(self, position)
    }

    fn healthy(&self, position: usize) -> Option<bool> {
        L::healthy(self, position)
    }

    fn slots(&self) -> usize {
        L::slots(self)
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        L::in_slot(self, slot)
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, L::Stats>> {
        L::load(self, server)
    }

    fn stats_in_slot(&self, slot: u16) -> Option<&L::Stats> {
        L::stats_in_slot(self, slot)
    }
}

/// A list that a balancer can arrange. In addition to a [`ServerList`], it can write the servers' addresses.
pub trait Roster: ServerList {
    /// Writes the address of the server at a position. All clients must write an address in the same form, since
    /// consistent hashing hashes this text.
    ///
    /// # Errors
    /// Returns an error if the address cannot be written.
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result;

    /// Returns the tag of the server at a position, as text ([S10](crate::rules#S10)). The default is an empty tag,
    /// which states nothing.
    fn tag(&self, position: usize) -> &str {
        let _ = position;
        ""
    }
}

/// A server that a balancer offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer<T> {
    /// The server that is offered.
    pub candidate: Candidate,
    /// The balancer's note about this offer. The balancer gets this note back at the commit.
    pub ticket: T,
}

#[cfg(has_atomic_64)]
impl<T> Offer<T> {
    /// Returns the same offer with another ticket. The function `ticket` makes the new ticket from the old one.
    fn with<U>(self, ticket: impl FnOnce(T) -> U) -> Offer<U> {
        Offer { candidate: self.candidate, ticket: ticket(self.ticket) }
    }
}

/// A rule for choosing servers. Threads share a balancer through `&self`. Only a change of the list takes `&mut self`.
///
/// An implementation provides the types, `stats` and `offers`. The other methods have defaults, which suit a balancer
/// that needs no weights and no request codes, and that learns nothing from calls.
///
/// ```
/// use hedge_core::balance::{Balancer, InTurn, Search, Offer, ServerList};
///
/// /// Offers the servers in the order of the list. So a call gets the first server that it can use.
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
    /// The type of the data that the balancer keeps for each server.
    type Stats;

    /// The type of the balancer's note about an offer. The balancer gets this note back at the commit.
    type Ticket: Copy + fmt::Debug;

    /// Returns the statistics for a new server.
    fn stats(&self) -> Self::Stats;

    /// Returns whether the balancer needs weights of servers, and if so, where the weights come from.
    fn weighing(&self) -> Weighing {
        Weighing::Alike
    }

    /// Returns whether calls need a request code. If they do, a call without a request code is refused before anything
    /// is sent ([S5](crate::rules#S5)).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Returns whether the balancer may ever choose the server in this slot of the list that it arranged last. A client
    /// that uses a subset ([S9](crate::rules#S9)) never chooses most servers. The limits on isolation
    /// ([H4](crate::rules#H4)), the recovery ([H3](crate::rules#H3)) and the last resort ([H5](crate::rules#H5)) count
    /// only servers that may be chosen.
    fn may_choose(&self, slot: u16) -> bool {
        let _ = slot;
        true
    }

    /// Returns the positions in the list of the servers that the balancer may choose, in any order. Servers that
    /// [`may_choose`](Self::may_choose) refuses may be among them. `None` stands for all positions. So a host can count
    /// these servers without a pass over the whole list.
    #[doc(hidden)]
    fn choosable(&self) -> Option<&[u32]> {
        None
    }

    /// Prepares the balancer for a new list. Before the first call of this method, the balancer works on an empty list.
    /// For servers that stay in the list, `list` contains the statistics that were kept.
    ///
    /// # Errors
    /// Returns an error if the balancer has no room for the list. The balancer must then arrange another list before it
    /// is used again.
    fn arrange<L: Roster<Stats = Self::Stats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let _ = list;
        Ok(())
    }

    /// Returns the servers for one selection, in the order in which the balancer prefers them. This does not influence
    /// other selections. `random` draws from the call's own generator.
    fn offers<'a, L: ServerList<Stats = Self::Stats> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<Self::Ticket>> + 'a;

    /// Returns the first of the [`offers`](Self::offers). A type that stands for one of several balancers overrides
    /// this method. Then the first choice does not need an iterator type for the offers of all these balancers.
    #[doc(hidden)]
    #[inline]
    fn first_offer<L: ServerList<Stats = Self::Stats> + Copy>(
        &self,
        search: Search<'_, L>,
        random: &mut dyn FnMut() -> u32,
    ) -> Option<Offer<Self::Ticket>> {
        self.offers(search, random).next()
    }

    /// Records that a call takes an offer, and moves the balancer on. If another call has moved the balancer on since
    /// the offer was made and `insist` is false, this returns false and changes nothing. If `insist` is true, this
    /// always returns true.
    fn commit(&self, ticket: Self::Ticket, insist: bool) -> bool {
        let _ = (ticket, insist);
        true
    }

    /// Records that an attempt starts at a server of the list. `ticket` is the ticket of the offer. It is `None` if
    /// this balancer did not choose the server.
    fn started<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<Self::Ticket>,
        now: Instant,
    ) {
        let _ = (list, server, ticket, now);
    }

    /// Records that a call starts. This is called once for each call, however the call ends. Passes each server that
    /// should be probed now to `probe`.
    fn call_started<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        now: Instant,
        probe: &mut dyn FnMut(ServerId),
    ) {
        let _ = (list, now, probe);
    }

    /// Records that a server has answered a probe. Probes without an answer are not recorded.
    fn probed<L: ServerList<Stats = Self::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        answer: ProbeAnswer,
        now: Instant,
    ) {
        let _ = (list, server, answer, now);
    }

    /// Records that an attempt has ended ([S7](crate::rules#S7)). Each attempt that started at a server is recorded
    /// once, unless the server has been removed.
    fn finished<L: ServerList<Stats = Self::Stats>>(&self, list: &L, attempt: &Finished) {
        let _ = (list, attempt);
    }
}

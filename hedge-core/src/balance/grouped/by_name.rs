//! Groups of servers for balancers that are chosen by name: [`NamedGroups`].

use core::convert::Infallible;
use core::fmt;
use core::iter;
use core::marker::PhantomData;

use super::super::{AnyStats, AnyTicket, Balancer, BalancerError, BalancerName, Offer, Search, ServerList, Storage};
use super::Grouping;

/// The balancers within groups that an [`AnyBalancer`](super::super::AnyBalancer) can have: [`NoGroups`], or
/// `HeapGroups` on the heap.
pub trait NamedGroups<S: Storage>: Balancer<Stats = AnyStats<S>, Ticket = AnyTicket> + Clone + fmt::Debug {
    /// Makes the balancer `of` within groups.
    ///
    /// # Errors
    /// Returns an error if a parameter is out of its range, or if there is no memory for groups.
    fn make(grouping: Grouping, of: BalancerName, seed: u64) -> Result<Self, BalancerError>;
}

/// No groups. No value of this type exists, so it takes no memory and no code.
#[derive(Clone, Debug)]
pub struct NoGroups<S>(Infallible, PhantomData<S>);

impl<S: Storage> NamedGroups<S> for NoGroups<S> {
    fn make(_: Grouping, _: BalancerName, _: u64) -> Result<Self, BalancerError> {
        Err(BalancerError::NoHeap)
    }
}

impl<S: Storage> Balancer for NoGroups<S> {
    type Stats = AnyStats<S>;
    type Ticket = AnyTicket;

    fn stats(&self) -> AnyStats<S> {
        match self.0 {}
    }

    fn offers<'a, L: ServerList<Stats = AnyStats<S>> + Copy + 'a>(
        &'a self,
        _: Search<'a, L>,
        _: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<AnyTicket>> + 'a {
        iter::empty()
    }
}

#[cfg(feature = "alloc")]
pub use heap::HeapGroups;

#[cfg(feature = "alloc")]
mod heap {
    use alloc::boxed::Box;

    use super::super::super::{
        AnyBalancer, AnyStats, AnyTicket, ArrangeError, Balancer, BalancerError, BalancerName, Heap, Offer,
        ProbeAnswer, Roster, Search, ServerList, Weighing,
    };
    use super::super::{GroupTicket, Grouped, Grouping};
    use super::{NamedGroups, NoGroups};
    use crate::id::ServerId;
    use crate::outcome::Finished;
    use crate::time::Instant;

    type Inner = AnyBalancer<Heap, NoGroups<Heap>>;

    /// Groups of servers on the heap. Each group has a balancer that was chosen by name.
    #[derive(Clone, Debug)]
    pub struct HeapGroups(Box<Grouped<Inner, Heap>>);

    impl HeapGroups {
        /// Returns the groups and their balancers.
        #[must_use]
        pub const fn grouped(&self) -> &Grouped<Inner, Heap> {
            &self.0
        }
    }

    impl NamedGroups<Heap> for HeapGroups {
        fn make(grouping: Grouping, of: BalancerName, seed: u64) -> Result<Self, BalancerError> {
            Ok(Self(Box::new(Grouped::new(grouping, Inner::plain(of, seed)?, seed))))
        }
    }

    /// Packs a ticket. Only the tickets of `rr` and `wrr` keep the number of their group, since only these balancers do
    /// something at a commit.
    fn packed(ticket: GroupTicket<AnyTicket>) -> AnyTicket {
        match ticket.ticket {
            Some(AnyTicket::RoundRobin(it)) => AnyTicket::GroupRoundRobin(ticket.group, it),
            Some(AnyTicket::WeightedRoundRobin(it)) => AnyTicket::GroupWeightedRoundRobin(ticket.group, it),
            Some(other) => other,
            None => AnyTicket::Nothing,
        }
    }

    fn unpacked(ticket: AnyTicket) -> (Option<u8>, AnyTicket) {
        match ticket {
            AnyTicket::GroupRoundRobin(group, it) => (Some(group), AnyTicket::RoundRobin(it)),
            AnyTicket::GroupWeightedRoundRobin(group, it) => (Some(group), AnyTicket::WeightedRoundRobin(it)),
            other => (None, other),
        }
    }

    fn with_packed(Offer { candidate, ticket }: Offer<GroupTicket<AnyTicket>>) -> Offer<AnyTicket> {
        Offer { candidate, ticket: packed(ticket) }
    }

    impl Balancer for HeapGroups {
        type Stats = AnyStats<Heap>;
        type Ticket = AnyTicket;

        fn stats(&self) -> AnyStats<Heap> {
            self.0.stats()
        }

        fn weighing(&self) -> Weighing {
            self.0.weighing()
        }

        fn needs_request_code(&self) -> bool {
            self.0.needs_request_code()
        }

        fn may_choose(&self, slot: u16) -> bool {
            self.0.may_choose(slot)
        }

        fn choosable(&self) -> Option<&[u32]> {
            self.0.choosable()
        }

        fn arrange<L: Roster<Stats = AnyStats<Heap>>>(&mut self, list: &L) -> Result<(), ArrangeError> {
            self.0.arrange(list)
        }

        fn offers<'a, L: ServerList<Stats = AnyStats<Heap>> + Copy + 'a>(
            &'a self,
            search: Search<'a, L>,
            random: &'a mut dyn FnMut() -> u32,
        ) -> impl Iterator<Item = Offer<AnyTicket>> + 'a {
            self.0.offers(search, random).map(with_packed)
        }

        #[inline(never)]
        fn first_offer<L: ServerList<Stats = AnyStats<Heap>> + Copy>(
            &self,
            search: Search<'_, L>,
            random: &mut dyn FnMut() -> u32,
        ) -> Option<Offer<AnyTicket>> {
            self.0.first_offer(search, random).map(with_packed)
        }

        fn commit(&self, ticket: AnyTicket, insist: bool) -> bool {
            match unpacked(ticket) {
                (Some(group), ticket) => self.0.commit(GroupTicket { group, ticket: Some(ticket) }, insist),
                (None, _) => true,
            }
        }

        fn started<L: ServerList<Stats = AnyStats<Heap>>>(
            &self,
            list: &L,
            server: ServerId,
            ticket: Option<AnyTicket>,
            now: Instant,
        ) {
            self.0.started_in_its_group(list, server, ticket.map(|ticket| unpacked(ticket).1), now);
        }

        fn call_started<L: ServerList<Stats = AnyStats<Heap>>>(
            &self,
            list: &L,
            now: Instant,
            probe: &mut dyn FnMut(ServerId),
        ) {
            self.0.call_started(list, now, probe);
        }

        fn probed<L: ServerList<Stats = AnyStats<Heap>>>(
            &self,
            list: &L,
            server: ServerId,
            answer: ProbeAnswer,
            now: Instant,
        ) {
            self.0.probed(list, server, answer, now);
        }

        fn finished<L: ServerList<Stats = AnyStats<Heap>>>(&self, list: &L, attempt: &Finished) {
            self.0.finished(list, attempt);
        }
    }
}

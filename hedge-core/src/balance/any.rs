//! A balancer chosen by name, for configuration: [`AnyBalancer`].

use super::grouped::{Grouping, NamedGroups};
use super::la::{LaStats, LaTicket, LocalityAware};
use super::p2c::{P2c, P2cStats};
use super::prequal::{Prequal, PrequalTicket};
use super::ring::Ring;
use super::stats_view::StatsView;
use super::{
    ArrangeError, Balancer, BalancerError, BalancerName, BalancerSpec, Consistent, Offer, ProbeAnswer, RandomChoice,
    Roster, RoundRobin, RrTicket, Search, ServerList, Storage, Weighing, WeightedRandom, WeightedRoundRobin, WrrTicket,
};
use crate::id::ServerId;
use crate::outcome::Finished;
use crate::time::Instant;

/// Any of this crate's balancers. All its memory is of one kind of [`Storage`].
///
/// `G` is the type of a balancer that works within groups of servers. Only balancers on the heap can have groups. In
/// fixed memory, use the type [`Grouped`](super::grouped::Grouped) instead.
///
/// Cost: the cost of the chosen balancer, and one branch for each method.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyBalancer<S: Storage, G = <S as Storage>::Groups> {
    /// The balancer `rr` (round robin).
    RoundRobin(RoundRobin),
    /// The balancer `wrr` (weighted round robin).
    WeightedRoundRobin(WeightedRoundRobin<S>),
    /// The balancer `random`.
    Random(RandomChoice),
    /// The balancer `wr` (weighted random).
    WeightedRandom(WeightedRandom<S>),
    /// The balancer `la` (locality-aware).
    LocalityAware(LocalityAware<S>),
    /// The balancer `p2c` (power of two choices).
    P2c(P2c),
    /// The balancer `prequal` (chooses by probes).
    Prequal(S::MaybeBoxed<Prequal>),
    /// A balancer with consistent hashing: `c_murmurhash`, `c_md5` or `c_ketama`.
    Consistent(Consistent<S>),
    /// A balancer within groups of servers: `subset`, `locality`, or both.
    Grouped(G),
}

/// The data that an [`AnyBalancer`] keeps for each server.
#[derive(Debug)]
pub enum AnyStats<S: Storage> {
    /// The balancer keeps no data for servers.
    Nothing,
    /// The statistics of `la`.
    LocalityAware(S::MaybeBoxed<LaStats>),
    /// The statistics of `p2c`. `prequal` keeps the same statistics.
    P2c(P2cStats),
}

/// The note of an [`AnyBalancer`] about an offer. The balancer gets this note back at the commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnyTicket {
    /// The note of a balancer that needs no ticket.
    Nothing,
    /// The ticket of `rr`.
    RoundRobin(RrTicket),
    /// The ticket of `wrr`.
    WeightedRoundRobin(WrrTicket),
    /// The ticket of `la`.
    LocalityAware(LaTicket),
    /// The ticket of `prequal`.
    Prequal(PrequalTicket),
    /// The number of a group, and the ticket of the `rr` of this group.
    GroupRoundRobin(u8, RrTicket),
    /// The number of a group, and the ticket of the `wrr` of this group.
    GroupWeightedRoundRobin(u8, WrrTicket),
}

impl<S: Storage> AnyBalancer<S> {
    /// Makes the balancer of this name, perhaps within groups of servers. `seed` determines the random numbers that do
    /// not come from a call, for example where `rr` starts.
    ///
    /// # Errors
    /// Returns an error if a parameter is out of its range, or if groups are asked for in fixed memory.
    pub fn new(name: impl Into<BalancerSpec>, seed: u64) -> Result<Self, BalancerError> {
        let BalancerSpec { grouping, of } = name.into();
        if grouping == Grouping::default() {
            return Self::plain(of, seed);
        }
        S::Groups::make(grouping, of, seed).map(Self::Grouped)
    }

    /// Makes the balancer that `text` names. `text` is read as [`BalancerSpec`] reads it.
    ///
    /// # Errors
    /// Returns an error if the text names no balancer, or if a parameter is wrong.
    pub fn named(text: &str, seed: u64) -> Result<Self, BalancerError> {
        Self::new(text.parse::<BalancerSpec>()?, seed)
    }
}

impl<S: Storage, G> AnyBalancer<S, G> {
    /// Makes the balancer of this name, without groups.
    pub(super) fn plain(name: BalancerName, seed: u64) -> Result<Self, BalancerError> {
        Ok(match name {
            BalancerName::RoundRobin => Self::RoundRobin(RoundRobin::new(seed)),
            BalancerName::WeightedRoundRobin { default_weight } => {
                let balancer = WeightedRoundRobin::new(seed);
                Self::WeightedRoundRobin(match default_weight {
                    Some(weight) => balancer.or_weight(weight),
                    None => balancer,
                })
            }
            BalancerName::Random => Self::Random(RandomChoice),
            BalancerName::WeightedRandom { default_weight } => {
                let balancer = WeightedRandom::new();
                Self::WeightedRandom(match default_weight {
                    Some(weight) => balancer.or_weight(weight),
                    None => balancer,
                })
            }
            BalancerName::LocalityAware => Self::LocalityAware(LocalityAware::new(seed)),
            BalancerName::P2c(options) => Self::P2c(P2c::new(options)),
            BalancerName::Prequal(options) => Self::Prequal(Prequal::new(options, seed).into()),
            BalancerName::Consistent { hash, replicas } => {
                Self::Consistent(Consistent::new(Ring::new(hash, replicas).map_err(BalancerError::Ring)?))
            }
        })
    }
}

impl<S: Storage, G: Clone> Clone for AnyBalancer<S, G> {
    /// Makes a copy that begins with the present state of this balancer. A copy of `prequal` begins without probes.
    fn clone(&self) -> Self {
        match self {
            Self::RoundRobin(it) => Self::RoundRobin(it.clone()),
            Self::WeightedRoundRobin(it) => Self::WeightedRoundRobin(it.clone()),
            Self::Random(it) => Self::Random(*it),
            Self::WeightedRandom(it) => Self::WeightedRandom(it.clone()),
            Self::LocalityAware(it) => Self::LocalityAware(it.clone()),
            Self::P2c(it) => Self::P2c(*it),
            Self::Prequal(it) => Self::Prequal(Prequal::clone(it).into()),
            Self::Consistent(it) => Self::Consistent(it.clone()),
            Self::Grouped(it) => Self::Grouped(it.clone()),
        }
    }
}

const fn nothing<S: Storage>(_: &AnyStats<S>) -> Option<&()> {
    Some(&())
}

const fn la<S: Storage>(stats: &AnyStats<S>) -> Option<&S::MaybeBoxed<LaStats>> {
    match stats {
        AnyStats::LocalityAware(stats) => Some(stats),
        _ => None,
    }
}

const fn p2c<S: Storage>(stats: &AnyStats<S>) -> Option<&P2cStats> {
    match stats {
        AnyStats::P2c(stats) => Some(stats),
        _ => None,
    }
}

impl<S: Storage, G: NamedGroups<S>> Balancer for AnyBalancer<S, G> {
    type Stats = AnyStats<S>;
    type Ticket = AnyTicket;

    fn stats(&self) -> AnyStats<S> {
        match self {
            Self::LocalityAware(balancer) => AnyStats::LocalityAware(balancer.stats()),
            Self::P2c(balancer) => AnyStats::P2c(balancer.stats()),
            Self::Prequal(balancer) => AnyStats::P2c(balancer.stats()),
            Self::Grouped(balancer) => balancer.stats(),
            _ => AnyStats::Nothing,
        }
    }

    fn weighing(&self) -> Weighing {
        match self {
            Self::WeightedRoundRobin(balancer) => balancer.weighing(),
            Self::WeightedRandom(balancer) => balancer.weighing(),
            Self::P2c(balancer) => balancer.weighing(),
            Self::Prequal(balancer) => balancer.weighing(),
            Self::Grouped(balancer) => balancer.weighing(),
            _ => Weighing::Alike,
        }
    }

    fn needs_request_code(&self) -> bool {
        match self {
            Self::Grouped(balancer) => balancer.needs_request_code(),
            _ => matches!(self, Self::Consistent(_)),
        }
    }

    #[inline]
    fn may_choose(&self, slot: u16) -> bool {
        match self {
            Self::Grouped(it) => it.may_choose(slot),
            _ => true,
        }
    }

    #[inline]
    fn choosable(&self) -> Option<&[u32]> {
        match self {
            Self::Grouped(it) => it.choosable(),
            _ => None,
        }
    }

    fn arrange<L: Roster<Stats = AnyStats<S>>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let plain = StatsView { list, part: nothing::<S> };
        match self {
            Self::WeightedRoundRobin(it) => it.arrange(&plain),
            Self::WeightedRandom(it) => it.arrange(&plain),
            Self::LocalityAware(it) => it.arrange(&StatsView { list, part: la::<S> }),
            Self::Consistent(it) => it.arrange(&plain),
            Self::Grouped(it) => it.arrange(list),
            Self::Prequal(it) => it.arrange(&StatsView { list, part: p2c::<S> }),
            // These balancers compute nothing from the list.
            Self::RoundRobin(_) | Self::Random(_) | Self::P2c(_) => Ok(()),
        }
    }

    fn offers<'a, L: ServerList<Stats = AnyStats<S>> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<AnyTicket>> + 'a {
        let Search { list, selection } = search;
        let plain = Search { list: StatsView { list, part: nothing::<S> }, selection };
        match self {
            Self::RoundRobin(it) => Offers::RoundRobin(it.offers(plain, random)),
            Self::WeightedRoundRobin(it) => Offers::WeightedRoundRobin(it.offers(plain, random)),
            Self::Random(it) => Offers::Random(it.offers(plain, random)),
            Self::WeightedRandom(it) => Offers::WeightedRandom(it.offers(plain, random)),
            Self::LocalityAware(it) => {
                Offers::LocalityAware(it.offers(Search { list: StatsView { list, part: la::<S> }, selection }, random))
            }
            Self::P2c(it) => {
                Offers::P2c(it.offers(Search { list: StatsView { list, part: p2c::<S> }, selection }, random))
            }
            Self::Prequal(it) => {
                Offers::Prequal(it.offers(Search { list: StatsView { list, part: p2c::<S> }, selection }, random))
            }
            Self::Consistent(it) => Offers::Consistent(it.offers(plain, random)),
            Self::Grouped(it) => Offers::Grouped(it.offers(search, random)),
        }
    }

    // This does the same as `offers`, but returns only the first offer, in registers. `Offers` is large and goes
    // through memory.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn first_offer<L: ServerList<Stats = AnyStats<S>> + Copy>(
        &self,
        search: Search<'_, L>,
        random: &mut dyn FnMut() -> u32,
    ) -> Option<Offer<AnyTicket>> {
        let Search { list, selection } = search;
        let plain = Search { list: StatsView { list, part: nothing::<S> }, selection };
        let latencies = Search { list: StatsView { list, part: p2c::<S> }, selection };
        let nothing = |()| AnyTicket::Nothing;
        match self {
            Self::RoundRobin(it) => it.offers_inline(plain, random).next().map(|it| it.with(AnyTicket::RoundRobin)),
            Self::WeightedRoundRobin(it) => {
                it.first_offer(plain, random).map(|it| it.with(AnyTicket::WeightedRoundRobin))
            }
            Self::Random(it) => it.first_offer(plain, random).map(|it| it.with(nothing)),
            Self::WeightedRandom(it) => it.first_offer(plain, random).map(|it| it.with(nothing)),
            Self::LocalityAware(it) => {
                let search = Search { list: StatsView { list, part: la::<S> }, selection };
                it.first_offer(search, random).map(|it| it.with(AnyTicket::LocalityAware))
            }
            Self::P2c(it) => it.first_offer(latencies, random).map(|it| it.with(nothing)),
            Self::Prequal(it) => it.first_offer(latencies, random).map(|it| it.with(AnyTicket::Prequal)),
            Self::Consistent(it) => it.first_offer(plain, random).map(|it| it.with(nothing)),
            Self::Grouped(it) => it.first_offer(search, random),
        }
    }

    fn commit(&self, ticket: AnyTicket, insist: bool) -> bool {
        match (self, ticket) {
            (Self::RoundRobin(it), AnyTicket::RoundRobin(ticket)) => it.commit(ticket, insist),
            (Self::WeightedRoundRobin(it), AnyTicket::WeightedRoundRobin(ticket)) => it.commit(ticket, insist),
            (Self::Grouped(it), ticket) => it.commit(ticket, insist),
            _ => true,
        }
    }

    #[inline]
    fn started<L: ServerList<Stats = AnyStats<S>>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<AnyTicket>,
        now: Instant,
    ) {
        // The other balancers do nothing here. This check saves a function call for them.
        if matches!(self, Self::LocalityAware(_) | Self::Prequal(_) | Self::Grouped(_)) {
            self.note_start(list, server, ticket, now);
        }
    }

    fn call_started<L: ServerList<Stats = AnyStats<S>>>(
        &self,
        list: &L,
        now: Instant,
        probe: &mut dyn FnMut(ServerId),
    ) {
        match self {
            Self::Prequal(it) => it.call_started(&StatsView { list, part: p2c::<S> }, now, probe),
            Self::Grouped(it) => it.call_started(list, now, probe),
            _ => {}
        }
    }

    fn probed<L: ServerList<Stats = AnyStats<S>>>(
        &self,
        list: &L,
        server: ServerId,
        answer: ProbeAnswer,
        now: Instant,
    ) {
        match self {
            Self::Prequal(it) => it.probed(&StatsView { list, part: p2c::<S> }, server, answer, now),
            Self::Grouped(it) => it.probed(list, server, answer, now),
            _ => {}
        }
    }

    fn finished<L: ServerList<Stats = AnyStats<S>>>(&self, list: &L, attempt: &Finished) {
        match self {
            Self::LocalityAware(it) => it.finished(&StatsView { list, part: la::<S> }, attempt),
            Self::P2c(it) => it.finished(&StatsView { list, part: p2c::<S> }, attempt),
            Self::Prequal(it) => it.finished(&StatsView { list, part: p2c::<S> }, attempt),
            Self::Grouped(it) => it.finished(list, attempt),
            _ => {}
        }
    }
}

impl<S: Storage, G: NamedGroups<S>> AnyBalancer<S, G> {
    /// Records that an attempt starts, for the balancers that learn from it; see [`Balancer::started`].
    #[inline(never)]
    fn note_start<L: ServerList<Stats = AnyStats<S>>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<AnyTicket>,
        now: Instant,
    ) {
        match self {
            Self::LocalityAware(it) => {
                let ticket = ticket.and_then(|ticket| match ticket {
                    AnyTicket::LocalityAware(ticket) => Some(ticket),
                    _ => None,
                });
                it.started(&StatsView { list, part: la::<S> }, server, ticket, now);
            }
            Self::Prequal(it) => {
                let ticket = ticket.and_then(|ticket| match ticket {
                    AnyTicket::Prequal(ticket) => Some(ticket),
                    _ => None,
                });
                it.started(&StatsView { list, part: p2c::<S> }, server, ticket, now);
            }
            Self::Grouped(it) => it.started(list, server, ticket, now),
            _ => {}
        }
    }
}

/// The offers of the balancer that was chosen by name.
enum Offers<RoundRobin, WeightedRoundRobin, Random, WeightedRandom, LocalityAware, P2c, Prequal, Consistent, Grouped> {
    RoundRobin(RoundRobin),
    WeightedRoundRobin(WeightedRoundRobin),
    Random(Random),
    WeightedRandom(WeightedRandom),
    LocalityAware(LocalityAware),
    P2c(P2c),
    Prequal(Prequal),
    Consistent(Consistent),
    Grouped(Grouped),
}

impl<A, B, C, D, E, F, G, H, I> Iterator for Offers<A, B, C, D, E, F, G, H, I>
where
    A: Iterator<Item = Offer<RrTicket>>,
    B: Iterator<Item = Offer<WrrTicket>>,
    C: Iterator<Item = Offer<()>>,
    D: Iterator<Item = Offer<()>>,
    E: Iterator<Item = Offer<LaTicket>>,
    F: Iterator<Item = Offer<()>>,
    G: Iterator<Item = Offer<PrequalTicket>>,
    H: Iterator<Item = Offer<()>>,
    I: Iterator<Item = Offer<AnyTicket>>,
{
    type Item = Offer<AnyTicket>;

    #[inline]
    fn next(&mut self) -> Option<Offer<AnyTicket>> {
        let nothing = |()| AnyTicket::Nothing;
        match self {
            Self::RoundRobin(offers) => offers.next().map(|it| it.with(AnyTicket::RoundRobin)),
            Self::WeightedRoundRobin(offers) => offers.next().map(|it| it.with(AnyTicket::WeightedRoundRobin)),
            Self::Random(offers) => offers.next().map(|it| it.with(nothing)),
            Self::WeightedRandom(offers) => offers.next().map(|it| it.with(nothing)),
            Self::LocalityAware(offers) => offers.next().map(|it| it.with(AnyTicket::LocalityAware)),
            Self::P2c(offers) => offers.next().map(|it| it.with(nothing)),
            Self::Prequal(offers) => offers.next().map(|it| it.with(AnyTicket::Prequal)),
            Self::Consistent(offers) => offers.next().map(|it| it.with(nothing)),
            Self::Grouped(offers) => offers.next(),
        }
    }
}

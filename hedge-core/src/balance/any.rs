//! A balancer chosen by name, for configuration: [`AnyBalancer`].

use super::la::{LaStats, LaTicket, LocalityAware};
use super::p2c::{P2c, P2cStats};
use super::prequal::{Prequal, PrequalTicket};
use super::ring::Ring;
use super::stats_view::StatsView;
use super::{
    ArrangeError, Balancer, BalancerError, BalancerName, Consistent, Offer, ProbeAnswer, RandomChoice, Roster,
    RoundRobin, RrTicket, Search, ServerList, Storage, Weighing, WeightedRandom, WeightedRoundRobin, WrrTicket,
};
use crate::id::ServerId;
use crate::outcome::Finished;
use crate::time::Instant;

/// Any of this crate's balancers, with its memory in one kind of [`Storage`].
///
/// Cost: that of the chosen balancer, and one branch for each method.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyBalancer<S: Storage> {
    /// `rr`.
    RoundRobin(RoundRobin),
    /// `wrr`.
    WeightedRoundRobin(WeightedRoundRobin<S>),
    /// `random`.
    Random(RandomChoice),
    /// `wr`.
    WeightedRandom(WeightedRandom<S>),
    /// `la`.
    LocalityAware(LocalityAware<S>),
    /// `p2c`.
    P2c(P2c),
    /// `prequal`.
    Prequal(S::MaybeBoxed<Prequal>),
    /// `c_murmurhash`, `c_md5`, `c_ketama`.
    Consistent(Consistent<S>),
}

/// What an [`AnyBalancer`] keeps for a server.
#[derive(Debug)]
pub enum AnyStats<S: Storage> {
    /// Nothing.
    Nothing,
    /// `la`'s.
    LocalityAware(S::MaybeBoxed<LaStats>),
    /// `p2c`'s, and `prequal`'s.
    P2c(P2cStats),
}

/// The ticket of an [`AnyBalancer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnyTicket {
    /// The ticket of a balancer that needs none.
    Nothing,
    /// `rr`'s.
    RoundRobin(RrTicket),
    /// `wrr`'s.
    WeightedRoundRobin(WrrTicket),
    /// `la`'s.
    LocalityAware(LaTicket),
    /// `prequal`'s.
    Prequal(PrequalTicket),
}

impl<S: Storage> AnyBalancer<S> {
    /// The balancer of that name, starting from `seed`.
    ///
    /// # Errors
    /// A parameter that is out of its range.
    pub fn new(name: BalancerName, seed: u64) -> Result<Self, BalancerError> {
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
            BalancerName::P2c(options) => Self::P2c(P2c::new(options).map_err(BalancerError::P2c)?),
            BalancerName::Prequal(options) => {
                Self::Prequal(Prequal::new(options, seed).map_err(BalancerError::Prequal)?.into())
            }
            BalancerName::Consistent { hash, replicas } => {
                Self::Consistent(Consistent::new(Ring::new(hash, replicas).map_err(BalancerError::Ring)?))
            }
        })
    }

    /// The balancer that `text` names, as [`BalancerName`] reads it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn named(text: &str, seed: u64) -> Result<Self, BalancerError> {
        Self::new(text.parse()?, seed)
    }
}

impl<S: Storage> Clone for AnyBalancer<S> {
    /// A copy that goes on from the present state.
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

impl<S: Storage> Balancer for AnyBalancer<S> {
    type Stats = AnyStats<S>;
    type Ticket = AnyTicket;

    fn stats(&self) -> AnyStats<S> {
        match self {
            Self::LocalityAware(balancer) => AnyStats::LocalityAware(balancer.stats()),
            Self::P2c(balancer) => AnyStats::P2c(balancer.stats()),
            Self::Prequal(balancer) => AnyStats::P2c(balancer.stats()),
            _ => AnyStats::Nothing,
        }
    }

    fn weighing(&self) -> Weighing {
        match self {
            Self::WeightedRoundRobin(balancer) => balancer.weighing(),
            Self::WeightedRandom(balancer) => balancer.weighing(),
            Self::P2c(balancer) => balancer.weighing(),
            Self::Prequal(balancer) => balancer.weighing(),
            _ => Weighing::Alike,
        }
    }

    fn needs_request_code(&self) -> bool {
        matches!(self, Self::Consistent(_))
    }

    fn arrange<L: Roster<Stats = AnyStats<S>>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let plain = StatsView { list, part: nothing::<S> };
        match self {
            Self::WeightedRoundRobin(it) => it.arrange(&plain),
            Self::WeightedRandom(it) => it.arrange(&plain),
            Self::LocalityAware(it) => it.arrange(&StatsView { list, part: la::<S> }),
            Self::Consistent(it) => it.arrange(&plain),
            // These compute nothing from the list.
            Self::RoundRobin(_) | Self::Random(_) | Self::P2c(_) | Self::Prequal(_) => Ok(()),
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
        }
    }

    fn commit(&self, ticket: AnyTicket, insist: bool) -> bool {
        match (self, ticket) {
            (Self::RoundRobin(it), AnyTicket::RoundRobin(ticket)) => it.commit(ticket, insist),
            (Self::WeightedRoundRobin(it), AnyTicket::WeightedRoundRobin(ticket)) => it.commit(ticket, insist),
            _ => true,
        }
    }

    fn started<L: ServerList<Stats = AnyStats<S>>>(
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
            _ => {}
        }
    }

    fn call_started<L: ServerList<Stats = AnyStats<S>>>(
        &self,
        list: &L,
        now: Instant,
        probe: &mut dyn FnMut(ServerId),
    ) {
        if let Self::Prequal(it) = self {
            it.call_started(&StatsView { list, part: p2c::<S> }, now, probe);
        }
    }

    fn probed<L: ServerList<Stats = AnyStats<S>>>(
        &self,
        list: &L,
        server: ServerId,
        answer: ProbeAnswer,
        now: Instant,
    ) {
        if let Self::Prequal(it) = self {
            it.probed(&StatsView { list, part: p2c::<S> }, server, answer, now);
        }
    }

    fn finished<L: ServerList<Stats = AnyStats<S>>>(&self, list: &L, attempt: &Finished) {
        match self {
            Self::LocalityAware(it) => it.finished(&StatsView { list, part: la::<S> }, attempt),
            Self::P2c(it) => it.finished(&StatsView { list, part: p2c::<S> }, attempt),
            Self::Prequal(it) => it.finished(&StatsView { list, part: p2c::<S> }, attempt),
            _ => {}
        }
    }
}

/// The offers of one of the balancers.
enum Offers<RoundRobin, WeightedRoundRobin, Random, WeightedRandom, LocalityAware, P2c, Prequal, Consistent> {
    RoundRobin(RoundRobin),
    WeightedRoundRobin(WeightedRoundRobin),
    Random(Random),
    WeightedRandom(WeightedRandom),
    LocalityAware(LocalityAware),
    P2c(P2c),
    Prequal(Prequal),
    Consistent(Consistent),
}

impl<A, B, C, D, E, F, G, H> Iterator for Offers<A, B, C, D, E, F, G, H>
where
    A: Iterator<Item = Offer<RrTicket>>,
    B: Iterator<Item = Offer<WrrTicket>>,
    C: Iterator<Item = Offer<()>>,
    D: Iterator<Item = Offer<()>>,
    E: Iterator<Item = Offer<LaTicket>>,
    F: Iterator<Item = Offer<()>>,
    G: Iterator<Item = Offer<PrequalTicket>>,
    H: Iterator<Item = Offer<()>>,
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
        }
    }
}

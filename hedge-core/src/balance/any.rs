//! A balancer chosen by name, for configuration: [`AnyBalancer`].

use super::la::{Drawn, LaStats, LocalityAware};
use super::only::Only;
use super::p2c::{P2c, P2cStats};
use super::prequal::{Chosen, Prequal};
use super::ring::Ring;
use super::{
    ArrangeError, Balancer, BalancerError, BalancerName, Consistent, Look, Offer, ProbeAnswer, RandomChoice, Room,
    Roster, RoundRobin, ServerList, Step, Turn, Weighing, WeightedRandom, WeightedRoundRobin,
};
use crate::id::ServerId;
use crate::outcome::Finished;
use crate::time::Instant;

/// Any of this crate's balancers, with its memory in one kind of [`Room`].
///
/// Cost: that of the chosen balancer, and one branch for each method.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyBalancer<R: Room> {
    /// `rr`.
    RoundRobin(RoundRobin),
    /// `wrr`.
    WeightedRoundRobin(WeightedRoundRobin<R>),
    /// `random`.
    Random(RandomChoice),
    /// `wr`.
    WeightedRandom(WeightedRandom<R>),
    /// `la`.
    LocalityAware(LocalityAware<R>),
    /// `p2c`.
    P2c(P2c),
    /// `prequal`.
    Prequal(R::Own<Prequal>),
    /// `c_murmurhash`, `c_md5`, `c_ketama`.
    Consistent(Consistent<R>),
}

/// What an [`AnyBalancer`] keeps for a server.
#[derive(Debug)]
pub enum AnyStats<R: Room> {
    /// Nothing.
    Nothing,
    /// `la`'s.
    LocalityAware(R::Own<LaStats>),
    /// `p2c`'s, and `prequal`'s.
    P2c(P2cStats),
}

/// The ticket of an [`AnyBalancer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnyTicket {
    /// The ticket of a balancer that needs none.
    Nothing,
    /// `rr`'s.
    Turn(Turn),
    /// `wrr`'s.
    Step(Step),
    /// `la`'s.
    Drawn(Drawn),
    /// `prequal`'s.
    Chosen(Chosen),
}

impl<R: Room> AnyBalancer<R> {
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

impl<R: Room> Clone for AnyBalancer<R> {
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

const fn nothing<R: Room>(_: &AnyStats<R>) -> Option<&()> {
    Some(&())
}

const fn la<R: Room>(stats: &AnyStats<R>) -> Option<&R::Own<LaStats>> {
    match stats {
        AnyStats::LocalityAware(stats) => Some(stats),
        _ => None,
    }
}

const fn p2c<R: Room>(stats: &AnyStats<R>) -> Option<&P2cStats> {
    match stats {
        AnyStats::P2c(stats) => Some(stats),
        _ => None,
    }
}

impl<R: Room> Balancer for AnyBalancer<R> {
    type Stats = AnyStats<R>;
    type Ticket = AnyTicket;

    fn stats(&self) -> AnyStats<R> {
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

    fn arrange<L: Roster<Stats = AnyStats<R>>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let plain = Only { list, part: nothing::<R> };
        match self {
            Self::WeightedRoundRobin(it) => it.arrange(&plain),
            Self::WeightedRandom(it) => it.arrange(&plain),
            Self::LocalityAware(it) => it.arrange(&Only { list, part: la::<R> }),
            Self::Consistent(it) => it.arrange(&plain),
            // These compute nothing from the list.
            Self::RoundRobin(_) | Self::Random(_) | Self::P2c(_) | Self::Prequal(_) => Ok(()),
        }
    }

    fn offers<'a, L: ServerList<Stats = AnyStats<R>> + Copy + 'a>(
        &'a self,
        look: Look<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<AnyTicket>> + 'a {
        let Look { list, selection } = look;
        let plain = Look { list: Only { list, part: nothing::<R> }, selection };
        match self {
            Self::RoundRobin(it) => Offers::RoundRobin(it.offers(plain, random)),
            Self::WeightedRoundRobin(it) => Offers::WeightedRoundRobin(it.offers(plain, random)),
            Self::Random(it) => Offers::Random(it.offers(plain, random)),
            Self::WeightedRandom(it) => Offers::WeightedRandom(it.offers(plain, random)),
            Self::LocalityAware(it) => {
                Offers::LocalityAware(it.offers(Look { list: Only { list, part: la::<R> }, selection }, random))
            }
            Self::P2c(it) => Offers::P2c(it.offers(Look { list: Only { list, part: p2c::<R> }, selection }, random)),
            Self::Prequal(it) => {
                Offers::Prequal(it.offers(Look { list: Only { list, part: p2c::<R> }, selection }, random))
            }
            Self::Consistent(it) => Offers::Consistent(it.offers(plain, random)),
        }
    }

    fn commit(&self, ticket: AnyTicket, insist: bool) -> bool {
        match (self, ticket) {
            (Self::RoundRobin(it), AnyTicket::Turn(turn)) => it.commit(turn, insist),
            (Self::WeightedRoundRobin(it), AnyTicket::Step(step)) => it.commit(step, insist),
            _ => true,
        }
    }

    fn started<L: ServerList<Stats = AnyStats<R>>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<AnyTicket>,
        now: Instant,
    ) {
        match self {
            Self::LocalityAware(it) => {
                let ticket = ticket.and_then(|ticket| match ticket {
                    AnyTicket::Drawn(drawn) => Some(drawn),
                    _ => None,
                });
                it.started(&Only { list, part: la::<R> }, server, ticket, now);
            }
            Self::Prequal(it) => {
                let ticket = ticket.and_then(|ticket| match ticket {
                    AnyTicket::Chosen(chosen) => Some(chosen),
                    _ => None,
                });
                it.started(&Only { list, part: p2c::<R> }, server, ticket, now);
            }
            _ => {}
        }
    }

    fn call_started<L: ServerList<Stats = AnyStats<R>>>(
        &self,
        list: &L,
        now: Instant,
        probe: &mut dyn FnMut(ServerId),
    ) {
        if let Self::Prequal(it) = self {
            it.call_started(&Only { list, part: p2c::<R> }, now, probe);
        }
    }

    fn probed<L: ServerList<Stats = AnyStats<R>>>(
        &self,
        list: &L,
        server: ServerId,
        answer: ProbeAnswer,
        now: Instant,
    ) {
        if let Self::Prequal(it) = self {
            it.probed(&Only { list, part: p2c::<R> }, server, answer, now);
        }
    }

    fn finished<L: ServerList<Stats = AnyStats<R>>>(&self, list: &L, attempt: &Finished) {
        match self {
            Self::LocalityAware(it) => it.finished(&Only { list, part: la::<R> }, attempt),
            Self::P2c(it) => it.finished(&Only { list, part: p2c::<R> }, attempt),
            Self::Prequal(it) => it.finished(&Only { list, part: p2c::<R> }, attempt),
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
    A: Iterator<Item = Offer<Turn>>,
    B: Iterator<Item = Offer<Step>>,
    C: Iterator<Item = Offer<()>>,
    D: Iterator<Item = Offer<()>>,
    E: Iterator<Item = Offer<Drawn>>,
    F: Iterator<Item = Offer<()>>,
    G: Iterator<Item = Offer<Chosen>>,
    H: Iterator<Item = Offer<()>>,
{
    type Item = Offer<AnyTicket>;

    #[inline]
    fn next(&mut self) -> Option<Offer<AnyTicket>> {
        let nothing = |()| AnyTicket::Nothing;
        match self {
            Self::RoundRobin(offers) => offers.next().map(|it| it.with(AnyTicket::Turn)),
            Self::WeightedRoundRobin(offers) => offers.next().map(|it| it.with(AnyTicket::Step)),
            Self::Random(offers) => offers.next().map(|it| it.with(nothing)),
            Self::WeightedRandom(offers) => offers.next().map(|it| it.with(nothing)),
            Self::LocalityAware(offers) => offers.next().map(|it| it.with(AnyTicket::Drawn)),
            Self::P2c(offers) => offers.next().map(|it| it.with(nothing)),
            Self::Prequal(offers) => offers.next().map(|it| it.with(AnyTicket::Chosen)),
            Self::Consistent(offers) => offers.next().map(|it| it.with(nothing)),
        }
    }
}

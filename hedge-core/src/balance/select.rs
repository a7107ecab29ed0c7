//! The choice among what a balancer offers: [`select`] (L11).

use core::num::NonZeroU32;

use super::{Balancer, Candidate, Offer, Order, ServerList};
use crate::balance::{NoServer, Pick, Selection};
use crate::id::AddressKey;
use crate::outcome::Attempt;

/// How many positions are drawn at most to find a server that the call takes.
const DRAWS: usize = 8;

/// What a balancer chooses from, and for which selection.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a, L> {
    /// The servers: a reference to a list.
    pub list: L,
    /// What the call searches for.
    pub selection: &'a Selection<'a>,
}

impl<L: ServerList + Copy> Look<'_, L> {
    /// Whether the call takes this server without looking further: it is usable, and its address was not tried yet.
    #[must_use]
    pub fn takes(&self, candidate: &Candidate) -> bool {
        candidate.usable && !was_tried(self.selection, candidate.address)
    }

    /// Whether this is a call's first attempt. Only first attempts move a balancer's turn (S2). If backups moved it
    /// too, those of calls that wait for a stalled server would bring the turn to that server more often than its
    /// share.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.selection.tried.is_empty()
    }

    /// The position of a random server among those that the call takes.
    // Inlined on a host, so that the selection stays in registers for backups too.
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(super) fn any(self, random: &mut dyn FnMut() -> u32) -> u32 {
        let Some(len) = self.len() else { return 0 };
        self.drawn(|| random() % len)
    }

    /// The first position drawn whose server the call takes; after [`DRAWS`] draws, the last position drawn.
    pub(super) fn drawn(self, mut draw: impl FnMut() -> u32) -> u32 {
        let mut position = 0;
        for _ in 0..DRAWS {
            position = draw();
            let found = usize::try_from(position).ok().and_then(|position| self.list.at(position));
            if found.is_some_and(|candidate| self.takes(&candidate)) {
                break;
            }
        }
        position
    }

    /// The servers in the order that `order` makes for the length of the list; nothing for an empty list.
    pub fn along<O: Iterator<Item = u32>>(self, order: impl FnOnce(NonZeroU32) -> O) -> Along<L, O> {
        Along { order: self.len().map(order), list: self.list }
    }

    fn len(&self) -> Option<NonZeroU32> {
        u32::try_from(self.list.len()).ok().and_then(NonZeroU32::new)
    }
}

/// The servers of a list in some order, with their positions; from [`Look::along`].
#[derive(Clone, Debug)]
pub struct Along<L, O = Order> {
    list: L,
    order: Option<O>,
}

impl<L: ServerList, O: Iterator<Item = u32>> Iterator for Along<L, O> {
    type Item = (u32, Candidate);

    #[inline]
    fn next(&mut self) -> Option<(u32, Candidate)> {
        let position = self.order.as_mut()?.next()?;
        Some((position, self.list.at(usize::try_from(position).ok()?)?))
    }
}

/// Searches for a server by rule L11, and changes nothing.
///
/// Work: one step for each offer, up to the first untried usable server; the whole list if there is none. A step
/// compares the offer with the call's few attempts.
///
/// # Errors
/// Why there is none.
pub fn select<B: Balancer>(
    list: &impl ServerList<Stats = B::Stats>,
    balancer: &B,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Result<Pick<B::Ticket>, NoServer> {
    if let Some(pick) = first_choice(list, balancer, selection, random) {
        return Ok(pick);
    }
    further_choice(list, balancer, selection, random)
}

/// The balancer's first offer, if the call takes it, as nearly every call does. Always `None` on a microcontroller,
/// where a second code path would cost too many bytes.
// Inlined: to pass the pick through memory would cost more than the whole look.
#[inline(always)]
pub(crate) fn first_choice<B: Balancer>(
    list: &impl ServerList<Stats = B::Stats>,
    balancer: &B,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Option<Pick<B::Ticket>> {
    if cfg!(target_os = "none") || !selection.by_balancer() {
        return None;
    }
    let look = Look { list, selection };
    let Offer { candidate, ticket } = balancer.offers(look, random).next()?;
    let pick = Pick { server: candidate.server, address: candidate.address, ticket: Some(ticket) };
    look.takes(&candidate).then_some(pick)
}

/// [`select`], after [`first_choice`] has found none.
#[cfg_attr(target_os = "none", inline(always))]
pub(crate) fn further_choice<B: Balancer>(
    list: &impl ServerList<Stats = B::Stats>,
    balancer: &B,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Result<Pick<B::Ticket>, NoServer> {
    if let Some(server) = selection.same {
        let found = list.find(server).ok_or(NoServer::Gone)?;
        return Ok(Pick { server, address: found.address, ticket: None });
    }
    if let Some(named) = selection.servers {
        let mut named = named.iter();
        // One that has gone is passed over.
        return walk(selection, &mut || named.find_map(|server| Some((list.find(*server)?, None))));
    }
    walk_all(balancer, Look { list, selection }, random)
}

/// Walks all offers of a balancer, after the call has not taken the first one. The first offer is made again. To keep
/// it, each look would have to write it to memory, even if nothing needs it.
#[inline(never)]
fn walk_all<B: Balancer, L: ServerList<Stats = B::Stats> + Copy>(
    balancer: &B,
    look: Look<'_, L>,
    random: &mut dyn FnMut() -> u32,
) -> Result<Pick<B::Ticket>, NoServer> {
    let mut offers = balancer.offers(look, random);
    walk(look.selection, &mut || offers.next().map(|offer| (offer.candidate, Some(offer.ticket))))
}

/// Walks all that is offered. Apart from the usual case, which the first offer settles, so that that one stays short.
#[inline(never)]
fn walk<T>(
    selection: &Selection<'_>,
    next: &mut dyn FnMut() -> Option<(Candidate, Option<T>)>,
) -> Result<Pick<T>, NoServer> {
    let mut choice = Choice { selection, fallback: None, seen: false, usable: false };
    while let Some((found, ticket)) = next() {
        if let Some(pick) = choice.offer(found, ticket) {
            return Ok(pick);
        }
    }
    choice.settle()
}

fn was_tried(selection: &Selection<'_>, address: AddressKey) -> bool {
    selection.tried.iter().any(|attempt| attempt.address() == address)
}

/// The best candidate so far that is not the ideal one.
struct Choice<'a, T> {
    selection: &'a Selection<'a>,
    /// Whether its address is at work on the call, when it was last tried, and the pick.
    fallback: Option<((bool, usize), Pick<T>)>,
    seen: bool,
    usable: bool,
}

impl<T> Choice<'_, T> {
    /// Takes a candidate in; answers it if it is usable and untried.
    fn offer(&mut self, found: Candidate, ticket: Option<T>) -> Option<Pick<T>> {
        self.seen = true;
        if !found.usable {
            return None;
        }
        self.usable = true;
        let pick = Pick { server: found.server, address: found.address, ticket };
        let same = |attempt: &Attempt| attempt.address() == found.address;
        let Some(last) = self.selection.tried.iter().rposition(same) else { return Some(pick) };
        let working = self.selection.tried.iter().any(|attempt| same(attempt) && attempt.in_flight());
        if working && !self.selection.working_too {
            return None;
        }
        let rank = (working, last);
        if self.fallback.as_ref().is_none_or(|(best, _)| rank < *best) {
            self.fallback = Some((rank, pick));
        }
        None
    }

    fn settle(self) -> Result<Pick<T>, NoServer> {
        match self {
            Self { fallback: Some((_, pick)), .. } => Ok(pick),
            Self { seen: false, .. } => Err(NoServer::Empty),
            Self { usable: false, .. } => Err(NoServer::AllDown),
            Self { .. } => Err(NoServer::AllBusy),
        }
    }
}

//! The choice among what a balancer offers: [`select`] ([L11](crate::rules#L11)).

use core::num::NonZeroU32;

use super::{Balancer, Candidate, Offer, Order, ServerList};
use crate::balance::{NoServer, Pick, Selection};
use crate::id::AddressKey;

/// How many positions are drawn at most to find a server that the call takes.
const DRAWS: usize = 8;

/// What a balancer chooses from, and for which selection.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a, L> {
    /// The servers: a reference to a list.
    pub list: L,
    /// What the call searches for.
    pub selection: &'a Selection<'a>,
}

impl<L: ServerList + Copy> Search<'_, L> {
    /// Whether the call takes this server without looking further: it is usable, and its address was not tried yet.
    #[must_use]
    pub fn takes(&self, candidate: &Candidate) -> bool {
        candidate.usable && !was_tried(self.selection, candidate.address)
    }

    /// Whether this is a call's first attempt. Only first attempts move a balancer's turn ([S2](crate::rules#S2)). If
    /// backups moved the turn too, a stalled server would get more first attempts than its share: each call that waits
    /// for this server sends a backup, and the backup would take the turn of another server.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.selection.tried.is_empty()
    }

    /// The position of a random server among those that the call takes.
    // Inlined on a host, so that the selection stays in registers for backups too.
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(super) fn random_position(self, random: &mut dyn FnMut() -> u32) -> u32 {
        let Some(len) = self.len() else { return 0 };
        self.first_taken(|| random() % len)
    }

    /// The first position drawn whose server the call takes; after [`DRAWS`] draws, the last position drawn.
    pub(super) fn first_taken(self, mut draw: impl FnMut() -> u32) -> u32 {
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
    pub fn in_order<O: Iterator<Item = u32>>(self, order: impl FnOnce(NonZeroU32) -> O) -> InOrder<L, O> {
        InOrder { order: self.len().map(order), list: self.list }
    }

    fn len(&self) -> Option<NonZeroU32> {
        u32::try_from(self.list.len()).ok().and_then(NonZeroU32::new)
    }
}

/// The servers of a list in some order, with their positions; from [`Search::in_order`].
#[derive(Clone, Debug)]
pub struct InOrder<L, O = Order> {
    list: L,
    order: Option<O>,
}

impl<L: ServerList, O: Iterator<Item = u32>> Iterator for InOrder<L, O> {
    type Item = (u32, Candidate);

    #[inline]
    fn next(&mut self) -> Option<(u32, Candidate)> {
        let position = self.order.as_mut()?.next()?;
        Some((position, self.list.at(usize::try_from(position).ok()?)?))
    }
}

/// Searches for a server by rule [L11](crate::rules#L11), and changes nothing.
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
    let search = Search { list, selection };
    let Offer { candidate, ticket } = balancer.offers(search, random).next()?;
    let pick = Pick { server: candidate.server, address: candidate.address, ticket: Some(ticket) };
    search.takes(&candidate).then_some(pick)
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
    walk_all(list, balancer, selection, random)
}

/// Walks the servers that the call names, or all offers of a balancer, after the call has not taken the first one. The first
/// offer is made again. To keep it, each look would have to write it to memory, even if nothing needs it.
#[inline(never)]
fn walk_all<B: Balancer>(
    list: &impl ServerList<Stats = B::Stats>,
    balancer: &B,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Result<Pick<B::Ticket>, NoServer> {
    let mut named = selection.servers.unwrap_or_default().iter();
    let mut offers = selection.servers.is_none().then(|| balancer.offers(Search { list, selection }, random));
    let next = || match &mut offers {
        Some(offers) => offers.next().map(|offer| (offer.candidate, Some(offer.ticket))),
        // One that has gone is passed over.
        None => named.find_map(|server| Some((list.find(*server)?, None))),
    };
    walk(selection, core::iter::from_fn(next))
}

/// Walks all that is offered. Apart from the usual case, which the first offer settles, so that that one stays short.
#[inline(always)]
fn walk<T>(
    selection: &Selection<'_>,
    offers: impl Iterator<Item = (Candidate, Option<T>)>,
) -> Result<Pick<T>, NoServer> {
    let mut choice = Choice { selection, fallback: None, none: NoServer::Empty };
    for (found, ticket) in offers {
        let pick = Pick { server: found.server, address: found.address, ticket };
        match choice.rank(&found) {
            Some(0) => return Ok(pick),
            Some(rank) => choice.offer(rank, pick),
            None => {}
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
    /// Its rank, and the pick.
    fallback: Option<(usize, Pick<T>)>,
    /// Why there is no other.
    none: NoServer,
}

impl<T> Choice<'_, T> {
    /// How far behind others the call takes a candidate: 0 if it is usable and untried, then by when its address was last
    /// tried, and last of all those whose address is at work on the call. `None` if it does not take it.
    fn rank(&mut self, found: &Candidate) -> Option<usize> {
        if !found.usable {
            if self.none == NoServer::Empty {
                self.none = NoServer::AllDown;
            }
            return None;
        }
        self.none = NoServer::AllBusy;
        let (mut last, mut working) = (0, false);
        for (attempt, number) in self.selection.tried.iter().zip(1..) {
            if attempt.address() == found.address {
                last = number;
                working |= attempt.in_flight();
            }
        }
        if working && !self.selection.working_too {
            return None;
        }
        // A call has no more than 255 attempts.
        Some(if working { last | 1 << 8 } else { last })
    }

    fn offer(&mut self, rank: usize, pick: Pick<T>) {
        if self.fallback.as_ref().is_none_or(|(best, _)| rank < *best) {
            self.fallback = Some((rank, pick));
        }
    }

    fn settle(self) -> Result<Pick<T>, NoServer> {
        self.fallback.map(|(_, pick)| pick).ok_or(self.none)
    }
}

//! Takes one of the servers that a balancer offers, by rule [L11](crate::rules#L11): [`select`].

use core::num::NonZeroU32;

use super::{Balancer, Candidate, Offer, Order, ServerList};
use crate::balance::{NoServer, Pick, Selection};
use crate::id::AddressKey;

/// The largest number of positions that are drawn in order to find a server that the call takes.
const DRAWS: usize = 8;

/// The input of a balancer: the list from which it chooses, and the selection for which it chooses.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a, L> {
    /// The servers, as a reference to a list.
    pub list: L,
    /// What the call requires of the server.
    pub selection: &'a Selection<'a>,
}

impl<L: ServerList + Copy> Search<'_, L> {
    /// Returns whether the call takes this server without a look at further servers. It does if the server is usable
    /// and its address was not tried in this call.
    #[must_use]
    pub fn takes(&self, candidate: &Candidate) -> bool {
        candidate.usable && !was_tried(self.selection, candidate.address)
    }

    /// Returns whether this is a call's first attempt. Only first attempts move a balancer's turn
    /// ([S2](crate::rules#S2)). If backups moved the turn too, a stalled server would get more first attempts than its
    /// share. The reason is that each call that waits for this server sends a backup, and the backup would take the
    /// turn of another server.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.selection.tried.is_empty()
    }

    /// Returns the position of a random server that the call takes. If a few draws find no such server, returns any
    /// position.
    // This function is inlined, except on a microcontroller, so that the selection stays in registers for backups too.
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(super) fn random_position(self, random: &mut dyn FnMut() -> u32) -> u32 {
        let Some(len) = self.len() else { return 0 };
        self.first_taken(|| random() % len)
    }

    /// Returns the first drawn position whose server the call takes. If [`DRAWS`] draws find none, returns the last
    /// drawn position.
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

    /// Returns the servers in the order that `order` makes for the length of the list. If the list is empty, returns no
    /// servers.
    pub fn in_order<O: Iterator<Item = u32>>(self, order: impl FnOnce(NonZeroU32) -> O) -> InOrder<L, O> {
        InOrder { order: self.len().map(order), list: self.list }
    }

    fn len(&self) -> Option<NonZeroU32> {
        u32::try_from(self.list.len()).ok().and_then(NonZeroU32::new)
    }
}

/// The servers of a list in some order, with their positions. [`Search::in_order`] makes this iterator.
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

/// Searches for a server by rule [L11](crate::rules#L11). This changes nothing.
///
/// The work is one step for each offer, up to the first usable server that was not tried. If there is no such server,
/// the search takes one step for each server of the list. A step compares the offer with the few attempts of the call.
///
/// # Errors
/// Returns the reason why no server can be chosen.
#[cfg_attr(not(target_os = "none"), inline)]
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

/// Returns the balancer's first offer if the call takes it, which is the usual case. On a microcontroller the result is
/// always `None`, since this second code path would take too many bytes there.
// Inlined, since passing the pick through memory would cost more than the whole look.
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
    let Offer { candidate, ticket } = balancer.first_offer(search, random)?;
    let pick = Pick { server: candidate.server, address: candidate.address, ticket: Some(ticket) };
    search.takes(&candidate).then_some(pick)
}

/// Continues [`select`] after [`first_choice`] has returned `None`.
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

/// Checks the servers that the call names, or all offers of a balancer. The balancer's first offer is made a second
/// time. If it were kept from the first look, every look would have to write it to memory.
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
        // Named servers that have been removed are skipped.
        None => named.find_map(|server| Some((list.find(*server)?, None))),
    };
    walk(selection, core::iter::from_fn(next))
}

/// Checks all candidates, for a call that did not take the balancer's first offer.
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

/// The best candidate so far. It is used if the call cannot take a candidate of rank 0.
struct Choice<'a, T> {
    selection: &'a Selection<'a>,
    /// The rank of the best candidate, and its pick. `None` if there is no candidate yet.
    fallback: Option<(usize, Pick<T>)>,
    /// The reason to return if there is no candidate.
    none: NoServer,
}

impl<T> Choice<'_, T> {
    /// Returns the rank of a candidate; the lower rank is better. Rank 0 is a usable server that was not tried.
    /// Addresses that were tried and at which no attempt of this call is in flight come next; among these, the address
    /// whose last attempt is oldest comes first. Addresses at which an attempt of this call is in flight come last.
    /// Returns `None` if the call may not take the candidate.
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
        // Bit 8 puts these candidates last, since a call has at most 255 attempts.
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

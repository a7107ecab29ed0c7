//! A balancer over a list of servers, as a channel has them: for suites of what balancers choose.

use std::cell::Cell;
use std::fmt::{self, Display, Write};
use std::num::NonZeroU32;

use hedge_core::balance::{Balancer, Candidate, Load, NoServer, Pick, Roster, Selection, ServerList, Tag, select};
use hedge_core::call::{Action, Call, Host, Input};
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::outcome::{Finished, Verdict};
use hedge_core::policy::{CallOptions, ChannelOptions};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};

/// A balancer and its servers.
pub(crate) struct Line<A, B: Balancer> {
    list: Servers<A, B::Stats>,
    balancer: B,
    options: ChannelOptions,
    seeds: Seeds,
    /// Where every call goes first, instead of where the balancer says.
    first: Option<Pick<B::Ticket>>,
}

impl<A: Ord + Clone + Display, B: Balancer> Line<A, B> {
    /// The servers of these addresses and tags, known from here on by their places among them.
    pub(crate) fn new<T: Tag>(mut balancer: B, servers: &[(A, T)]) -> Result<Self, String> {
        let slots = servers.iter().map(|(address, tag)| {
            let weight = balancer.weighing().weight(tag).map_err(|error| error.to_string())?;
            Ok(There { address: address.clone(), weight, usable: Cell::new(true), stats: balancer.stats() })
        });
        let slots = slots.collect::<Result<Vec<_>, String>>()?;
        let mut order: Vec<u16> = (0..).zip(&slots).map(|(slot, _)| slot).collect();
        order.sort_by_key(|slot| slots.get(usize::from(*slot)).map(|there| &there.address));
        let list = Servers { slots, order };
        balancer.arrange(&list).map_err(|error| error.to_string())?;
        let options = ChannelOptions { timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
        Ok(Self { list, balancer, options, seeds: Seeds::new(1), first: None })
    }

    pub(crate) const fn balancer(&self) -> &B {
        &self.balancer
    }

    /// Says whether a server takes calls.
    pub(crate) fn set_usable(&self, place: usize, usable: bool) {
        if let Some(there) = self.list.slots.get(place) {
            there.usable.set(usable);
        }
    }

    /// Where a call goes.
    pub(crate) fn pick(&self, request_code: Option<u32>) -> Option<usize> {
        let now = Instant::ZERO;
        let selection = Selection { tried: &[], same: None, working_too: false, servers: None, request_code, now };
        let pick = self.look(&selection, &mut || 0).ok()?;
        self.commit(&pick, now, false).then(|| pick.server.slot().into())
    }

    /// Where a call goes that has failed at a server.
    pub(crate) fn pick_after(&mut self, failed: usize, request_code: Option<u32>) -> Option<usize> {
        let Candidate { server, address, .. } = self.list.in_slot(u16::try_from(failed).ok()?)?;
        self.first = Some(Pick { server, address, ticket: None });
        let second = self.second(request_code);
        self.first = None;
        second
    }

    fn second(&self, request_code: Option<u32>) -> Option<usize> {
        let options = CallOptions { request_code, ..CallOptions::new() };
        let mut call = Call::<_, 4>::new(self, &options, Instant::ZERO).ok()?;
        let Action::Start(first) = call.poll(Instant::ZERO) else { return None };
        call.handle(Instant::ZERO, Input::finished(first.attempt, Verdict::Retry));
        let Action::Start(second) = call.poll(Instant::ZERO) else { return None };
        Some(second.server.slot().into())
    }
}

impl<A: Display, B: Balancer> Host for Line<A, B> {
    type Ticket = B::Ticket;

    fn options(&self) -> &ChannelOptions {
        &self.options
    }

    fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn addresses(&self) -> usize {
        self.list.len()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<B::Ticket>, NoServer> {
        match self.first {
            Some(first) if selection.tried.is_empty() => Ok(first),
            _ => select(&self.list, &self.balancer, selection, random),
        }
    }

    fn commit(&self, pick: &Pick<B::Ticket>, _: Instant, insist: bool) -> bool {
        pick.ticket.is_none_or(|ticket| self.balancer.commit(ticket, insist))
    }

    fn finished(&self, _: &Finished) {}

    fn answered(&self, _: &Finished) {}

    fn released(&self, _: ServerId) {}
}

/// Servers in slots.
struct Servers<A, S> {
    slots: Vec<There<A, S>>,
    /// The slots in the order of their addresses.
    order: Vec<u16>,
}

struct There<A, S> {
    address: A,
    weight: NonZeroU32,
    usable: Cell<bool>,
    stats: S,
}

impl<A, S> ServerList for Servers<A, S> {
    type Stats = S;

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.in_slot(*self.order.get(position)?)
    }

    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        let usable = self.slots.get(usize::from(slot))?.usable.get();
        Some(Candidate { server: ServerId::new(slot, 0), address: AddressKey(slot.into()), usable })
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, S>> {
        let There { stats, weight, .. } = self.slots.get(usize::from(server.slot()))?;
        Some(Load { stats, in_flight: 0, weight: *weight })
    }
}

impl<A: Display, S> Roster for Servers<A, S> {
    fn write_address(&self, position: usize, out: &mut dyn Write) -> fmt::Result {
        let slot = self.order.get(position).ok_or(fmt::Error)?;
        let there = self.slots.get(usize::from(*slot)).ok_or(fmt::Error)?;
        write!(out, "{}", there.address)
    }
}

//! A list of servers for the tests of balancers.

extern crate std;

use core::num::NonZeroU32;
use std::vec::Vec;
use std::{fmt, string::String, string::ToString};

use super::{Balancer, Candidate, Load, Roster, Search, ServerList};
use crate::balance::Selection;
use crate::id::{AddressKey, ServerId};
use crate::time::Instant;

/// Servers in slots, listed in the order of their addresses. Each slot has its server and that server's generation.
#[derive(Debug)]
pub(crate) struct Servers<S> {
    pub(crate) slots: Vec<Option<ListedServer<S>>>,
    pub(crate) generations: Vec<u16>,
}

#[derive(Debug)]
pub(crate) struct ListedServer<S> {
    pub(crate) address: String,
    pub(crate) usable: bool,
    pub(crate) weight: u32,
    pub(crate) in_flight: u32,
    pub(crate) stats: S,
}

impl<S: Default> Servers<S> {
    /// Makes a list of `count` servers. The slot of each server is its position.
    pub(crate) fn new(count: usize) -> Self {
        let slots = (0..count).map(|index| Some(ListedServer::new(&std::format!("{index:04}")))).collect();
        Self { slots, generations: std::vec![0; count] }
    }
}

impl<S: Default> ListedServer<S> {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_string(), usable: true, weight: 1, in_flight: 0, stats: S::default() }
    }
}

impl<S> Servers<S> {
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.slots.len()).filter(|slot| self.slots[*slot].is_some()).collect();
        order.sort_by_key(|slot| self.slots[*slot].as_ref().map(|server| server.address.clone()));
        order
    }

    pub(crate) fn id(&self, slot: usize) -> ServerId {
        ServerId::new(u16::try_from(slot).unwrap(), self.generations[slot])
    }
}

impl<S> ServerList for Servers<S> {
    type Stats = S;

    fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.in_slot(u16::try_from(*self.order().get(position)?).unwrap())
    }

    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        let server = self.slots.get(usize::from(slot))?.as_ref()?;
        let address = AddressKey(slot.into());
        Some(Candidate { server: self.id(slot.into()), address, usable: server.usable })
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, S>> {
        self.find(server)?;
        let ListedServer { stats, in_flight, weight, .. } = self.slots[usize::from(server.slot())].as_ref()?;
        Some(Load { stats, in_flight: *in_flight, weight: NonZeroU32::new(*weight)? })
    }
}

impl<S> Roster for Servers<S> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let slot = self.order()[position];
        out.write_str(&self.slots[slot].as_ref().unwrap().address)
    }
}

/// Returns the selection of a call that has not tried any server.
pub(crate) fn selection(request_code: Option<u32>, now: Instant) -> Selection<'static> {
    Selection { tried: &[], same: None, working_too: false, servers: None, request_code, now }
}

/// Returns the slots of the servers that a balancer offers, in the order of the offers.
pub(crate) fn positions<B: Balancer>(balancer: &B, servers: &Servers<B::Stats>) -> Vec<usize> {
    positions_by(balancer, servers, &mut || 0)
}

pub(crate) fn positions_by<B: Balancer>(
    balancer: &B,
    servers: &Servers<B::Stats>,
    random: &mut dyn FnMut() -> u32,
) -> Vec<usize> {
    let selection = selection(Some(0), Instant::ZERO);
    let offers = balancer.offers(Search { list: servers, selection: &selection }, random);
    offers.map(|offer| usize::from(offer.candidate.server.slot())).collect()
}

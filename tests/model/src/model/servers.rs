//! The servers as the rules see them: [`List`].

use hedge_core::balance::NoServer;

use super::readings;
use crate::script::{Script, Server};

/// A server that is or was in the list.
#[derive(Clone, Debug)]
struct Known {
    server: Server,
    /// Whether it is in the list now.
    there: bool,
    in_flight: u32,
}

/// Every server that there ever was, by number.
#[derive(Clone, Debug)]
pub(super) struct List {
    known: Vec<Option<Known>>,
    first_offset: usize,
    further_offset: usize,
}

/// What is looked for.
pub(super) struct Wanted<'a> {
    /// The addresses that the call has tried, in the order of the starts, and whether each is at work.
    pub(super) tried: &'a [(u16, bool)],
    /// This server and no other.
    pub(super) same: Option<usize>,
    /// An address at work may be used too.
    pub(super) working_too: bool,
    /// The servers to choose from, in this order, instead of the balancer's.
    pub(super) named: Option<&'a [usize]>,
}

impl List {
    pub(super) fn new(script: &Script) -> Self {
        let (first_offset, further_offset) = (script.first_offset, script.further_offset);
        let mut list = Self { known: Vec::new(), first_offset, further_offset };
        for server in &script.servers {
            list.insert(*server);
        }
        list
    }

    pub(super) fn insert(&mut self, server: Server) {
        let there = self
            .known
            .iter()
            .flatten()
            .any(|it| it.there && it.server.address == server.address && it.server.tag == server.tag);
        // The number is used up in any case.
        self.known.push(if there { None } else { Some(Known { server, there: true, in_flight: 0 }) });
    }

    fn get(&self, number: usize) -> Option<&Known> {
        self.known.get(number).and_then(Option::as_ref)
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Known> {
        self.known.get_mut(number).and_then(Option::as_mut)
    }

    pub(super) fn is_there(&self, number: usize) -> bool {
        self.get(number).is_some_and(|it| it.there)
    }

    pub(super) fn address(&self, number: usize) -> u16 {
        self.get(number).map_or(u16::MAX, |it| it.server.address)
    }

    pub(super) fn set_usable(&mut self, number: usize, usable: bool) {
        if let Some(known) = self.get_mut(number)
            && known.there
        {
            known.server.usable = usable;
        }
    }

    pub(super) fn remove(&mut self, number: usize) {
        if let Some(known) = self.get_mut(number) {
            known.there = false;
            known.in_flight = 0;
        }
    }

    /// An attempt more or less is in flight. Of a server that has gone nothing is kept (L20).
    pub(super) fn count(&mut self, number: usize, more: bool) {
        if let Some(known) = self.get_mut(number)
            && known.there
        {
            known.in_flight = if more { known.in_flight + 1 } else { known.in_flight - 1 };
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.known.iter().flatten().map(|it| it.in_flight).sum()
    }

    /// How many different addresses there are.
    pub(super) fn addresses(&self) -> usize {
        let mut addresses: Vec<u16> =
            self.known.iter().flatten().filter(|it| it.there).map(|it| it.server.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.len()
    }

    /// The servers in the order in which a balancer, or the call that names them, wants them.
    fn order(&self, wanted: &Wanted<'_>) -> Vec<usize> {
        if let Some(named) = wanted.named {
            return named.iter().copied().filter(|number| self.is_there(*number)).collect();
        }
        let mut numbers: Vec<usize> = (0..self.known.len()).filter(|number| self.is_there(*number)).collect();
        numbers.sort_by_key(|number| self.get(*number).map(|it| (it.server.address, it.server.tag)));
        if !numbers.is_empty() {
            let offset = if wanted.tried.is_empty() { self.first_offset } else { self.further_offset };
            let by = offset % numbers.len();
            numbers.rotate_left(by);
        }
        numbers
    }

    /// Looks for a server (L11).
    pub(super) fn look(&self, wanted: &Wanted<'_>) -> Result<usize, NoServer> {
        let tried = |number: usize| wanted.tried.iter().rposition(|(address, _)| *address == self.address(number));
        let at_work =
            |number: usize| wanted.tried.iter().any(|(address, at_work)| *at_work && *address == self.address(number));
        if let Some(same) = wanted.same {
            return match self.is_there(same) {
                false => Err(NoServer::Gone),
                true if at_work(same) && !wanted.working_too && !readings::SAME_GOES_TO_AN_ADDRESS_AT_WORK => {
                    Err(NoServer::AllBusy)
                }
                true => Ok(same),
            };
        }
        let order = self.order(wanted);
        if order.is_empty() {
            return Err(NoServer::Empty);
        }
        let usable: Vec<usize> =
            order.into_iter().filter(|number| self.get(*number).is_some_and(|it| it.server.usable)).collect();
        if usable.is_empty() {
            return Err(NoServer::AllDown);
        }
        let untried = usable.iter().find(|number| tried(**number).is_none());
        let idle = usable.iter().filter(|number| !at_work(**number)).min_by_key(|number| tried(**number));
        let any = usable.iter().filter(|_| wanted.working_too).min_by_key(|number| tried(**number));
        untried.or(idle).or(any).copied().ok_or(NoServer::AllBusy)
    }

    /// Whether there is a usable address that the call has not tried.
    pub(super) fn untried(&self, wanted: &Wanted<'_>) -> bool {
        let tried = |number: usize| wanted.tried.iter().any(|(address, _)| *address == self.address(number));
        self.order(wanted)
            .into_iter()
            .any(|number| self.get(number).is_some_and(|it| it.server.usable) && !tried(number))
    }
}

//! Balancers within groups of servers: [`Grouped`]. A group is a subset of a list ([S9](crate::rules#S9)), or a level: the
//! servers of one priority in the client's own zone, or those in all other zones ([S10](crate::rules#S10)).
//!
//! # Health
//!
//! A group counts its usable servers. These counts are taken from marks, one for each server. A look for a server
//! refreshes up to 64 marks, but at most once in a millisecond. So a look takes a bounded time, and with 1,000 calls per
//! second the marks of 10,000 servers are at most 0.2 s old.
//!
//! - A subset has a reserve: the servers that follow it on the ring, as many as the subset has. While servers of the
//!   subset are not usable, the client also uses servers of the reserve, in the order of the ring, until it has `size`
//!   usable servers. So it keeps `size` usable servers if it can, and it never uses more than 2 · `size` servers. With
//!   localities, each level has its own subset and reserve, so these numbers hold for each level.
//! - A level takes calls in proportion to its usable servers, as S10 says. With a subset, the servers of the subset and
//!   of its reserve stand for the whole level.
//! - A server that is full ([L22](crate::rules#L22)) counts as one that is not usable.
//!
//! A call that finds no server in its group searches the other groups, in the order of the levels, and then the reserves.

mod arrange;
#[cfg(has_atomic_64)]
mod by_name;
mod group;
mod options;
mod part;
mod ring;
#[cfg(test)]
mod tests;

use core::num::NonZeroU32;

use super::{
    ArrangeError, Balancer, Buffer, InTurn, Offer, ProbeAnswer, Roster, Search, Selection, ServerList, Storage,
    Weighing,
};
use crate::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::id::ServerId;
use crate::outcome::Finished;
use crate::random::mix;
use crate::time::Instant;
#[cfg(all(has_atomic_64, feature = "alloc"))]
pub use by_name::HeapGroups;
#[cfg(has_atomic_64)]
pub use by_name::{NamedGroups, NoGroups};
use group::{Group, WHOLE};
pub use options::{Grouping, LocalityOptions, SubsetOptions, SubsetSize, Zone, ZoneError};
use part::Part;

/// How many marks one look refreshes at most.
const SCAN: usize = 64;

/// A balancer `B` for each group of servers. A look draws a group and then asks the balancer of this group.
///
/// `LEVELS` is the maximum number of levels. If the list has more levels, the last ones are used as one level.
///
/// ```
/// use hedge_core::balance::grouped::{Grouped, Grouping, LocalityOptions};
/// use hedge_core::balance::{Fixed, RoundRobin};
///
/// // Servers of zone a first. No heap: room for 16 servers in 4 levels.
/// let locality = LocalityOptions { zone: Some("a".parse()?) };
/// let grouping = Grouping { locality: Some(locality), subset: None };
/// let balancer: Grouped<RoundRobin, Fixed<16>, 4> = Grouped::new(grouping, RoundRobin::new(1), 1);
/// # Ok::<(), hedge_core::balance::grouped::ZoneError>(())
/// ```
///
/// # Cost
/// A look adds a draw if several levels take calls, and a few steps for each level. Refreshing marks is described
/// [above](self). Memory: 29 bytes for each slot, `LEVELS` + 1 times the size of the balancer `B`, and what the balancers
/// of the levels in use keep on the heap.
#[derive(Debug)]
pub struct Grouped<B, S: Storage, const LEVELS: usize = 8> {
    grouping: Grouping,
    /// Where the client stands on the ring, as a fraction of 2^64.
    client: u64,
    /// The balancer from which those of the groups are copied.
    prototype: B,
    /// The balancer of each group, with the rank of its level.
    balancers: heapless::Vec<(u32, B), LEVELS>,
    groups: heapless::Vec<Group, LEVELS>,
    /// The servers of all groups, one group after the other. Each item is the position of a server in the list.
    order: S::Weights,
    /// For each slot: 1 plus the index of its server in `order`, or 0 if no server of this slot is in a group.
    places: S::Weights,
    /// For each item of `order`: whether the server was usable when this was last checked.
    marks: S::Flags,
    servers: arrange::Known<S>,
    /// The time of the last refresh of marks, in units of 1.024 ms.
    refreshed: AtomicU32,
    /// The next mark to refresh.
    cursor: AtomicU32,
}

/// The note of a [`Grouped`] about an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupTicket<T> {
    /// The group of the server.
    pub(crate) group: u8,
    /// The note of the balancer of this group. `None` if this balancer did not choose the server.
    pub(crate) ticket: Option<T>,
}

impl<B: Balancer, S: Storage, const LEVELS: usize> Grouped<B, S, LEVELS> {
    /// Makes a balancer whose groups are each balanced by a copy of `balancer`. `seed` determines the client's number
    /// if [`SubsetOptions::id`] is `None`.
    #[must_use]
    pub fn new(grouping: Grouping, balancer: B, seed: u64) -> Self {
        const { assert!(LEVELS > 0 && LEVELS <= 32, "a list has at least one level and at most 32") };
        let id = grouping.subset.and_then(|subset| subset.id);
        Self {
            grouping,
            client: id.map_or_else(|| mix(seed), ring::point),
            prototype: balancer,
            balancers: heapless::Vec::new(),
            groups: heapless::Vec::new(),
            order: S::Weights::default(),
            places: S::Weights::default(),
            marks: S::Flags::default(),
            servers: arrange::Known::default(),
            refreshed: AtomicU32::new(0),
            cursor: AtomicU32::new(0),
        }
    }

    /// Returns the groups' options.
    pub const fn grouping(&self) -> &Grouping {
        &self.grouping
    }

    /// Returns how many levels the list has.
    pub fn levels(&self) -> usize {
        self.groups.len()
    }

    /// Returns the positions in the list of the servers that the client uses: those of the first level, those of the
    /// second, and so on. A server of a reserve is included only while the client uses it.
    pub fn used(&self) -> impl Iterator<Item = usize> + '_ {
        let order = self.order.as_ref();
        let used = self.groups.iter().filter_map(move |group| order.get(group.start..group.start + group.active()));
        used.flatten().filter_map(|position| usize::try_from(*position).ok())
    }

    /// Returns the list in the form in which the balancer of a group sees it.
    fn part<L>(&self, list: L, group: &Group) -> Part<'_, L> {
        let (order, places) = (self.order.as_ref().get(group.start..group.end()), self.places.as_ref());
        Part { list, order: order.unwrap_or_default(), places, start: group.start, active: group.active() }
    }

    fn balancer(&self, number: usize) -> Option<&B> {
        self.balancers.get(number).map(|(_, balancer)| balancer)
    }

    /// Returns the place of the server in a slot. Returns `None` if the client does not use this server.
    fn place(&self, slot: u16) -> Option<usize> {
        usize::try_from(self.places.as_ref().get(usize::from(slot))?.checked_sub(1)?).ok()
    }

    /// Returns the number of the group to which the server in a slot belongs.
    fn group_at(&self, slot: u16) -> Option<usize> {
        let place = self.place(slot)?;
        self.groups.iter().position(|group| place < group.end())
    }

    /// Returns the group of a server: its number, its balancer, and the list as this balancer sees it.
    fn of_server<L>(&self, list: L, server: ServerId) -> Option<(usize, &B, Part<'_, L>)> {
        let number = self.group_at(server.slot())?;
        Some((number, self.balancer(number)?, self.part(list, self.groups.get(number)?)))
    }

    /// Refreshes some marks, unless that was done in this millisecond.
    fn refresh(&self, list: &impl ServerList, now: Instant) {
        #[expect(clippy::cast_possible_truncation, reason = "only whether the time differs matters")]
        let now = (now.as_micros() >> 10) as u32;
        let last = self.refreshed.load(Relaxed);
        if last != now && self.refreshed.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            self.scan(list);
        }
    }

    #[inline(never)]
    fn scan(&self, list: &impl ServerList) {
        let (order, marks) = (self.order.as_ref(), self.marks.as_ref());
        let mut place = usize::try_from(self.cursor.load(Relaxed)).unwrap_or(0);
        // One bit for each group whose marks have changed.
        let mut changed = 0_u32;
        for _ in 0..marks.len().min(SCAN) {
            if place >= marks.len() {
                place = 0;
            }
            let position = order.get(place).and_then(|position| usize::try_from(*position).ok());
            let healthy = position.and_then(|position| list.healthy(position));
            if let (Some(mark), Some(healthy)) = (marks.get(place), healthy)
                && mark.load(Relaxed) != healthy
                && mark.swap(healthy, Relaxed) != healthy
            {
                changed |= self.mark_changed(place, healthy);
            }
            place += 1;
        }
        self.cursor.store(u32::try_from(place).unwrap_or(0), Relaxed);
        for (number, group) in self.groups.iter().enumerate() {
            if changed & (1 << number) != 0 {
                group.recount(marks);
            }
        }
    }

    /// Counts a changed mark. Returns the bit of its group.
    fn mark_changed(&self, place: usize, usable: bool) -> u32 {
        let Some(number) = self.groups.iter().position(|group| place < group.end()) else { return 0 };
        if let Some(group) = self.groups.get(number) {
            group.changed(usable);
        }
        1 << number
    }

    /// Draws the group of a selection ([S10](crate::rules#S10)). A group whose usable servers were all tried in this
    /// call takes no part.
    fn draw(&self, selection: Option<&Selection<'_>>, random: &mut dyn FnMut() -> u32) -> usize {
        if self.groups.len() <= 1 {
            return 0;
        }
        let (mut shares, mut left) = ([0; LEVELS], WHOLE);
        for (share, (number, group)) in shares.iter_mut().zip(self.groups.iter().enumerate()) {
            let is_tried = selection.is_some_and(|selection| self.is_tried(number, group, selection));
            *share = if is_tried { 0 } else { group.share().min(left) };
            left -= *share;
            if left == 0 {
                break;
            }
        }
        let sum: u64 = shares.iter().sum();
        // The usual case needs no draw: one level takes everything.
        if let Some(only) = shares.iter().position(|share| *share == sum).filter(|_| sum > 0) {
            return only;
        }
        let mut drawn = (u64::from(random()) * sum) >> 32;
        let past = |share: &u64| match drawn.checked_sub(*share) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        };
        shares.iter().position(past).unwrap_or(0)
    }

    /// Returns whether the call has tried all usable servers of a group. A server that was tried and is no longer usable,
    /// or no longer in the list, does not count.
    fn is_tried(&self, number: usize, group: &Group, selection: &Selection<'_>) -> bool {
        let tried = selection.tried.iter().enumerate().filter(|(index, attempt)| {
            let before = selection.tried.get(..*index).unwrap_or_default();
            let is_new = before.iter().all(|before| before.server() != attempt.server());
            is_new && self.marked_group(attempt.server()) == Some(number)
        });
        !selection.tried.is_empty() && tried.count() >= usize::try_from(group.usable()).unwrap_or(usize::MAX)
    }

    /// Returns the number of a server's group, if the server is in the list and is marked as usable.
    fn marked_group(&self, server: ServerId) -> Option<usize> {
        if !self.servers.knows(server) {
            return None;
        }
        let is_usable = self.marks.as_ref().get(self.place(server.slot())?)?.load(Relaxed);
        self.group_at(server.slot()).filter(|_| is_usable)
    }

    /// Returns the positions of all servers that the balancer of the group `drawn` does not offer: the servers of the
    /// other groups, and then the reserves. `origin` determines where each group begins.
    fn others(&self, drawn: usize, actives: [usize; LEVELS], origin: u32) -> impl Iterator<Item = (u8, usize)> + '_ {
        let order = self.order.as_ref();
        let groups = move || (0_u8..).zip(self.groups.iter().zip(actives));
        let at = move |group: &Group, place: usize| {
            order.get(group.start + place).and_then(|position| usize::try_from(*position).ok())
        };
        let used = groups().filter(move |(number, _)| usize::from(*number) != drawn);
        let used = used.flat_map(move |(number, (group, active))| {
            let len = u32::try_from(active).ok().and_then(NonZeroU32::new);
            let places = len.into_iter().flat_map(move |len| InTurn::from_origin(len, origin));
            places.filter_map(move |place| Some((number, at(group, usize::try_from(place).ok()?)?)))
        });
        let reserves = groups().flat_map(move |(number, (group, active))| {
            (active..group.len).filter_map(move |place| Some((number, at(group, place)?)))
        });
        used.chain(reserves)
    }
}

impl<B: Balancer, S: Storage, const LEVELS: usize> Grouped<B, S, LEVELS> {
    /// Tells the balancer of a server's group that an attempt starts there. `ticket` is that balancer's note. A server
    /// that is in no group can join one before its attempt ends. So the prototype records this attempt in the server's
    /// statistics.
    fn started_in_its_group<L: ServerList<Stats = B::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<B::Ticket>,
        now: Instant,
    ) {
        match self.of_server(list, server) {
            Some((_, balancer, part)) => balancer.started(&part, server, ticket, now),
            None => self.prototype.started(list, server, None, now),
        }
    }
}

impl<B: Balancer + Clone, S: Storage, const LEVELS: usize> Balancer for Grouped<B, S, LEVELS> {
    type Stats = B::Stats;
    type Ticket = GroupTicket<B::Ticket>;

    fn stats(&self) -> B::Stats {
        self.prototype.stats()
    }

    fn weighing(&self) -> Weighing {
        self.prototype.weighing()
    }

    fn needs_request_code(&self) -> bool {
        self.prototype.needs_request_code()
    }

    fn may_choose(&self, slot: u16) -> bool {
        self.group_at(slot).is_some_and(|number| self.balancer(number).is_some_and(|it| it.may_choose(slot)))
    }

    fn choosable(&self) -> Option<&[u32]> {
        Some(self.order.as_ref())
    }

    fn arrange<L: Roster<Stats = B::Stats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.arrange_groups(list)
    }

    fn offers<'a, L: ServerList<Stats = B::Stats> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<Self::Ticket>> + 'a {
        let Search { list, selection } = search;
        self.refresh(&list, selection.now);
        let drawn = self.draw(Some(selection), random);
        let mut actives = [0; LEVELS];
        for (active, group) in actives.iter_mut().zip(&self.groups) {
            *active = group.active();
        }
        let others = self.others(drawn, actives, random());
        let group = u8::try_from(drawn).unwrap_or(u8::MAX);
        let own = self.groups.get(drawn).zip(self.balancer(drawn)).zip(actives.get(drawn));
        let own = own.map(|((group, balancer), active)| {
            let part = Part { active: *active, ..self.part(list, group) };
            // A balancer may also offer servers of the reserve. These are left out here, since they come last.
            let is_used = move |offer: &Offer<B::Ticket>| {
                part.position(offer.candidate.server.slot()).is_some_and(|position| position < part.active)
            };
            balancer.offers(Search { list: part, selection }, random).filter(is_used)
        });
        let own = own.into_iter().flatten().map(move |Offer { candidate, ticket }| {
            let ticket = GroupTicket { group, ticket: Some(ticket) };
            Offer { candidate, ticket }
        });
        own.chain(others.filter_map(move |(group, position)| {
            Some(Offer { candidate: list.at(position)?, ticket: GroupTicket { group, ticket: None } })
        }))
    }

    #[inline(never)]
    fn first_offer<L: ServerList<Stats = B::Stats> + Copy>(
        &self,
        search: Search<'_, L>,
        random: &mut dyn FnMut() -> u32,
    ) -> Option<Offer<Self::Ticket>> {
        let Search { list, selection } = search;
        self.refresh(&list, selection.now);
        let drawn = self.draw(Some(selection), random);
        let (group, balancer) = self.groups.get(drawn).zip(self.balancer(drawn))?;
        let search = Search { list: self.part(list, group), selection };
        let first = balancer.first_offer(search, random).filter(|offer| search.takes(&offer.candidate));
        // If the call does not take the first offer, it takes another server of the same group. A search that began
        // again would draw again, and groups with servers that are down would get too few calls.
        let taken = first.or_else(|| balancer.offers(search, random).find(|offer| search.takes(&offer.candidate)));
        let Offer { candidate, ticket } = taken?;
        let group = u8::try_from(drawn).unwrap_or(u8::MAX);
        Some(Offer { candidate, ticket: GroupTicket { group, ticket: Some(ticket) } })
    }

    fn commit(&self, ticket: Self::Ticket, insist: bool) -> bool {
        match (self.balancer(ticket.group.into()), ticket.ticket) {
            (Some(balancer), Some(ticket)) => balancer.commit(ticket, insist),
            _ => true,
        }
    }

    fn started<L: ServerList<Stats = B::Stats>>(
        &self,
        list: &L,
        server: ServerId,
        ticket: Option<Self::Ticket>,
        now: Instant,
    ) {
        self.started_in_its_group(list, server, ticket.and_then(|it| it.ticket), now);
    }

    fn call_started<L: ServerList<Stats = B::Stats>>(&self, list: &L, now: Instant, probe: &mut dyn FnMut(ServerId)) {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of the mix will do")]
        let drawn = self.draw(None, &mut || mix(now.as_micros()) as u32);
        if let Some((group, balancer)) = self.groups.get(drawn).zip(self.balancer(drawn)) {
            balancer.call_started(&self.part(list, group), now, probe);
        }
    }

    fn probed<L: ServerList<Stats = B::Stats>>(&self, list: &L, server: ServerId, answer: ProbeAnswer, now: Instant) {
        if let Some((_, balancer, part)) = self.of_server(list, server) {
            balancer.probed(&part, server, answer, now);
        }
    }

    fn finished<L: ServerList<Stats = B::Stats>>(&self, list: &L, attempt: &Finished) {
        match self.of_server(list, attempt.sent.server) {
            Some((_, balancer, part)) => balancer.finished(&part, attempt),
            // The server has left its group, or a call has named the server (S8). Its statistics stay true.
            None => self.prototype.finished(list, attempt),
        }
    }
}

impl<B: Clone, S: Storage, const LEVELS: usize> Clone for Grouped<B, S, LEVELS> {
    /// Makes a copy that begins with the present state of this balancer.
    fn clone(&self) -> Self {
        let mut marks = S::Flags::default();
        // The new buffer has room for as many marks as the old one.
        let _ = marks.refill(self.marks.as_ref().iter().map(|mark| AtomicBool::new(mark.load(Relaxed))));
        // The counts are computed from the copied marks, since the marks of this balancer may have changed in the
        // meantime.
        let group = |group: &Group| Group::new(group.start, group.len, group.size, marks.as_ref());
        let groups = self.groups.iter().map(group).collect();
        Self {
            grouping: self.grouping,
            client: self.client,
            prototype: self.prototype.clone(),
            balancers: self.balancers.clone(),
            groups,
            order: self.order.clone(),
            places: self.places.clone(),
            marks,
            servers: self.servers.clone(),
            refreshed: AtomicU32::new(self.refreshed.load(Relaxed)),
            cursor: AtomicU32::new(self.cursor.load(Relaxed)),
        }
    }
}

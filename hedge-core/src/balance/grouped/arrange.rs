//! Makes the groups of a list ([`Known`]).

use core::fmt::{self, Write};

use super::super::hash::Murmur3;
use super::super::ring::RingError;
use super::super::{ArrangeError, Balancer, Buffer, Roster, ServerList, Storage, TagWords};
use super::{Group, Grouped, Grouping, Part, ring};
use crate::atomic::AtomicBool;
use crate::id::ServerId;

/// The rank of the level of a server whose tag cannot be read. This level comes last.
const UNREADABLE: u32 = u32::MAX;

/// What is known about the servers of the list. The tag and the address of a server that stays in the list are not read
/// again.
#[derive(Clone, Debug)]
pub(super) struct Known<S: Storage> {
    /// For each slot: 1 plus the generation of the last server that was read in this slot. It is 0 if no server was
    /// read.
    marks: S::Weights,
    /// For each slot: the hash of the server's address. It is computed only if [`Grouping::subset`] is set.
    hashes: S::Weights,
    /// For each slot: the rank of the server's level. Levels of lower rank are used first.
    ranks: S::Weights,
    /// For each position in the list: the number of the server's level.
    levels: S::Weights,
    /// For each position in the list: the hash of the server's address.
    keys: S::Weights,
}

impl<S: Storage> Default for Known<S> {
    fn default() -> Self {
        let new = S::Weights::default;
        Self { marks: new(), hashes: new(), ranks: new(), levels: new(), keys: new() }
    }
}

impl<S: Storage> Known<S> {
    /// Returns whether this server was the last one that was read in its slot.
    pub(super) fn knows(&self, server: ServerId) -> bool {
        self.marks.as_ref().get(usize::from(server.slot())).is_some_and(|known| *known == mark_of(server))
    }

    /// For each server that is new in the list: reads its tag if `grouping.locality` is set, and computes the hash of
    /// its address if `grouping.subset` is set.
    fn read<L: Roster>(&mut self, list: &L, grouping: &Grouping) -> Result<(), ArrangeError> {
        for row in [&mut self.marks, &mut self.hashes, &mut self.ranks] {
            resize(row, list.slots())?;
        }
        let rows = (self.marks.as_mut(), self.hashes.as_mut(), self.ranks.as_mut());
        for position in 0..list.len() {
            let Some(found) = list.at(position) else { continue };
            let (slot, mark) = (usize::from(found.server.slot()), mark_of(found.server));
            let (Some(known), Some(hash), Some(rank)) =
                (rows.0.get_mut(slot), rows.1.get_mut(slot), rows.2.get_mut(slot))
            else {
                continue;
            };
            if *known != mark {
                *rank = grouping
                    .locality
                    .map_or(0, |locality| rank_of(list.tag(position), locality.zone.as_ref().map(super::Zone::as_str)));
                if grouping.subset.is_some() {
                    *hash = hash_of(list, position)?;
                }
                *known = mark;
            }
        }
        Ok(())
    }
}

/// The rank and the size of each level.
type Levels<const LEVELS: usize> = heapless::Vec<(u32, usize), LEVELS>;

/// Returns 1 plus the generation of a server. [`Known::marks`] contains this number once the server was read.
fn mark_of(server: ServerId) -> u32 {
    u32::from(server.generation()) + 1
}

/// Returns the rank of a server's level: first by priority, and then the client's own zone before the others.
fn rank_of(tag: &str, own: Option<&str>) -> u32 {
    let Ok(words) = TagWords::parse(tag) else { return UNREADABLE };
    let elsewhere = own.is_some() && words.zone != own;
    // Priorities from 2147483646 on count as the same priority.
    words.priority.min((UNREADABLE >> 1) - 1) << 1 | u32::from(elsewhere)
}

fn hash_of<L: Roster>(list: &L, position: usize) -> Result<u32, ArrangeError> {
    struct Hashing(Murmur3);

    impl Write for Hashing {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }

    let mut hashing = Hashing(Murmur3::new());
    let slot = list.at(position).map_or(0, |found| found.server.slot());
    list.write_address(position, &mut hashing).map_err(|_| RingError::Endpoint { slot })?;
    Ok(hashing.0.finish())
}

/// Changes the length of a row to `len`. New items are 0.
fn resize(row: &mut impl Buffer<u32>, len: usize) -> Result<(), ArrangeError> {
    if row.as_ref().len() == len {
        return Ok(());
    }
    let before = core::mem::take(row);
    row.refill(before.as_ref().iter().copied().chain(core::iter::repeat(0)).take(len))
}

/// Returns the ranks of the levels, the lowest first. If there are more than `N`, the highest are left out.
fn ranks_of<const N: usize>(ranks: impl Iterator<Item = u32>) -> heapless::Vec<u32, N> {
    let mut found = heapless::Vec::<u32, N>::new();
    for rank in ranks {
        if !found.contains(&rank)
            && found.push(rank).is_err()
            && let Some(highest) = found.iter_mut().max().filter(|highest| rank < **highest)
        {
            *highest = rank;
        }
    }
    found.sort_unstable();
    found
}

impl<B: Balancer + Clone, S: Storage, const LEVELS: usize> Grouped<B, S, LEVELS> {
    /// Makes the groups of a list. Then lets the balancer of each group arrange its group.
    pub(super) fn arrange_groups<L: Roster<Stats = B::Stats>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.servers.read(list, &self.grouping)?;
        let sizes = self.order_levels(list)?;
        let sizes = self.cut_subsets(list, &sizes)?;
        self.note_places(list)?;
        self.groups.clear();
        let marks = self.order.as_ref().iter().map(|position| {
            // A later look refreshes the mark.
            let healthy = usize::try_from(*position).ok().and_then(|at| list.healthy(at));
            AtomicBool::new(healthy.unwrap_or(false))
        });
        self.marks.refill(marks)?;
        let subset = self.grouping.subset.map_or(usize::MAX, |subset| usize::try_from(subset.size.get()).unwrap_or(1));
        let mut start = 0;
        for (_, len) in &sizes {
            // There are at most `LEVELS` sizes.
            let _ = self.groups.push(Group::new(start, *len, subset, self.marks.as_ref()));
            start += len;
        }
        self.arrange_balancers(list, &sizes)
    }

    /// Orders the positions by level. Returns the rank and the size of each level.
    fn order_levels<L: ServerList>(&mut self, list: &L) -> Result<Levels<LEVELS>, ArrangeError> {
        let (len, servers) = (u32::try_from(list.len()).unwrap_or(u32::MAX), &mut self.servers);
        let mut sizes = heapless::Vec::new();
        if self.grouping.locality.is_none() {
            self.order.refill(0..len)?;
            let _ = sizes.push((0, list.len()));
            return Ok(sizes);
        }
        let rank = |position| by_slot(list, position, servers.ranks.as_ref());
        let ranks = ranks_of::<LEVELS>((0..list.len()).map(rank));
        let last = ranks.len().saturating_sub(1);
        let level = |position| {
            let rank = rank(position);
            u32::try_from(ranks.iter().position(|known| *known == rank).unwrap_or(last)).unwrap_or(0)
        };
        servers.levels.refill((0..list.len()).map(level))?;
        let levels = servers.levels.as_ref();
        let of_level = |level: u32| (0..len).zip(levels).filter(move |(_, there)| **there == level).map(|(at, _)| at);
        let count = u32::try_from(ranks.len()).unwrap_or(0);
        self.order.refill((0..count).flat_map(of_level))?;
        for (level, rank) in (0..count).zip(ranks) {
            let _ = sizes.push((rank, levels.iter().filter(|there| **there == level).count()));
        }
        Ok(sizes)
    }

    /// Cuts each level to the subset of this client and its reserve. Returns the new sizes.
    fn cut_subsets<L: ServerList>(&mut self, list: &L, sizes: &[(u32, usize)]) -> Result<Levels<LEVELS>, ArrangeError> {
        let Some(subset) = self.grouping.subset else { return Ok(sizes.iter().copied().collect()) };
        let servers = &mut self.servers;
        let hashes = servers.hashes.as_ref();
        servers.keys.refill((0..list.len()).map(|position| by_slot(list, position, hashes)))?;
        let keys = servers.keys.as_ref();
        let hash = |server: u32| usize::try_from(server).ok().and_then(|at| keys.get(at)).copied().unwrap_or(0);
        let with_reserve = usize::try_from(subset.size.get()).unwrap_or(usize::MAX).saturating_mul(2);
        let (mut from, mut to) = (0, 0);
        let mut cut = heapless::Vec::new();
        for (rank, size) in sizes {
            let Some(level) = self.order.as_mut().get_mut(from..from + size) else { break };
            let len = ring::arc(level, self.client, with_reserve, hash);
            // The loop moves the subset and the reserve of this level directly behind those of the earlier levels.
            for step in 0..len {
                let server = self.order.as_ref().get(from + step).copied();
                if let Some((server, place)) = server.zip(self.order.as_mut().get_mut(to + step)) {
                    *place = server;
                }
            }
            (from, to) = (from + size, to + len);
            let _ = cut.push((*rank, len));
        }
        let whole = core::mem::take(&mut self.order);
        self.order.refill(whole.as_ref().iter().copied().take(to))?;
        Ok(cut)
    }

    /// Fills `places`: for each slot, stores 1 plus the index of its server in `order`, or 0 if the server is in no
    /// group.
    fn note_places<L: ServerList>(&mut self, list: &L) -> Result<(), ArrangeError> {
        self.places.refill(core::iter::repeat_n(0, list.slots()))?;
        let places = self.places.as_mut();
        for (place, position) in (1..).zip(self.order.as_ref()) {
            let found = usize::try_from(*position).ok().and_then(|position| list.at(position));
            if let Some(slot) = found.and_then(|found| places.get_mut(usize::from(found.server.slot()))) {
                *slot = place;
            }
        }
        Ok(())
    }

    /// Has the balancers arrange their levels. A level that stays keeps its balancer, whatever other levels do
    /// ([S7](crate::rules#S7)).
    fn arrange_balancers<L: Roster<Stats = B::Stats>>(
        &mut self,
        list: &L,
        levels: &[(u32, usize)],
    ) -> Result<(), ArrangeError> {
        let mut before = core::mem::take(&mut self.balancers);
        for (rank, _) in levels {
            let place = before.iter().position(|(known, _)| known == rank);
            let stays = place.map(|place| before.swap_remove(place));
            let _ = self.balancers.push(stays.unwrap_or_else(|| (*rank, self.prototype.clone())));
        }
        for ((_, balancer), group) in self.balancers.iter_mut().zip(&self.groups) {
            let order = self.order.as_ref().get(group.start..group.end()).unwrap_or_default();
            let (places, start) = (self.places.as_ref(), group.start);
            balancer.arrange(&Part { list, order, places, start, active: group.len })?;
        }
        Ok(())
    }
}

/// Returns the item of `row` for the server at this position of the list. `row` is indexed by slot. Returns 0 if there
/// is no such item.
fn by_slot<L: ServerList>(list: &L, position: usize, row: &[u32]) -> u32 {
    let found = list.at(position).and_then(|found| row.get(usize::from(found.server.slot())));
    found.copied().unwrap_or(0)
}

//! A list that shows only the servers of one group: [`Part`].

use core::fmt;

use super::super::{Candidate, Load, Roster, ServerList};
use crate::id::ServerId;

/// The servers of one group. Its positions count from the group's first server. Servers from position `active` on
/// belong to the reserve and are not used now. They are shown as not usable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a, L> {
    pub(super) list: L,
    /// The positions of the group's servers in `list`.
    pub(super) order: &'a [u32],
    /// For each slot: 1 plus the place of its server in the list of the servers of all groups (one group after the
    /// other), or 0 if the server is in no group.
    pub(super) places: &'a [u32],
    /// The place of the group's first server.
    pub(super) start: usize,
    pub(super) active: usize,
}

impl<L> Part<'_, L> {
    /// Returns the position of a server in this group. Returns `None` if the server is not in this group.
    pub(super) fn position(&self, slot: u16) -> Option<usize> {
        let place = usize::try_from(self.places.get(usize::from(slot))?.checked_sub(1)?).ok()?;
        place.checked_sub(self.start).filter(|position| *position < self.order.len())
    }

    const fn seen(&self, position: usize, candidate: Candidate) -> Candidate {
        Candidate { usable: candidate.usable && position < self.active, ..candidate }
    }

    fn outer(&self, position: usize) -> Option<usize> {
        usize::try_from(*self.order.get(position)?).ok()
    }
}

impl<L: ServerList> ServerList for Part<'_, L> {
    type Stats = L::Stats;

    fn len(&self) -> usize {
        self.active
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        Some(self.seen(position, self.list.at(self.outer(position)?)?))
    }

    fn healthy(&self, position: usize) -> Option<bool> {
        self.list.healthy(self.outer(position)?).map(|healthy| healthy && position < self.active)
    }

    fn slots(&self) -> usize {
        self.list.slots()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        Some(self.seen(self.position(slot)?, self.list.in_slot(slot)?))
    }

    #[inline]
    fn load(&self, server: ServerId) -> Option<Load<'_, L::Stats>> {
        self.list.load(server)
    }
}

impl<L: Roster> Roster for Part<'_, &L> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        self.list.write_address(self.outer(position).ok_or(fmt::Error)?, out)
    }

    fn tag(&self, position: usize) -> &str {
        self.outer(position).map_or("", |position| self.list.tag(position))
    }
}

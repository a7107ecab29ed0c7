//! A list that shows a balancer only the balancer's own part of the statistics: [`StatsView`].

use core::fmt;

use super::{Candidate, Load, Roster, ServerList};
use crate::id::ServerId;

/// A list as one balancer sees it. The function `part` returns that balancer's part of a server's statistics.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatsView<L, F> {
    pub(super) list: L,
    pub(super) part: F,
}

impl<L, F, S> ServerList for StatsView<L, F>
where
    L: ServerList,
    F: Fn(&L::Stats) -> Option<&S>,
{
    type Stats = S;

    fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        self.list.at(position)
    }

    fn healthy(&self, position: usize) -> Option<bool> {
        self.list.healthy(position)
    }

    fn slots(&self) -> usize {
        self.list.slots()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        self.list.in_slot(slot)
    }

    #[inline]
    fn load(&self, server: ServerId) -> Option<Load<'_, S>> {
        let Load { stats, in_flight, weight } = self.list.load(server)?;
        Some(Load { stats: (self.part)(stats)?, in_flight, weight })
    }

    fn stats_in_slot(&self, slot: u16) -> Option<&S> {
        (self.part)(self.list.stats_in_slot(slot)?)
    }
}

impl<L, F, S> Roster for StatsView<&L, F>
where
    L: Roster,
    F: Fn(&L::Stats) -> Option<&S>,
{
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        self.list.write_address(position, out)
    }

    fn tag(&self, position: usize) -> &str {
        self.list.tag(position)
    }
}

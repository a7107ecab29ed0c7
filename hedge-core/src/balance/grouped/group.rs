//! One group of servers, and how many of its servers are usable: [`Group`].

use crate::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// The number that stands for all calls. The share of a level is stated in parts of this number.
pub(super) const WHOLE: u64 = 1 << 16;

/// One group of servers. Its counts are as old as the marks from which they are computed.
#[derive(Debug)]
pub(super) struct Group {
    /// The index of the group's first server in the list of the servers of all groups.
    pub(super) start: usize,
    /// How many servers the group has, with the reserve.
    pub(super) len: usize,
    /// How many usable servers the group should use. The other servers are the reserve.
    pub(super) size: usize,
    /// How many servers are marked as usable, with the reserve.
    usable: AtomicU32,
    /// How many servers are used, counted from the first server on. This is the smallest number that includes `size`
    /// usable servers. If there is no reserve, or if too few servers are usable, all servers are used.
    active: AtomicU32,
}

impl Group {
    /// Makes a group of `len` servers that uses `size` of them. `marks` says which servers are usable.
    pub(super) fn new(start: usize, len: usize, size: usize, marks: &[AtomicBool]) -> Self {
        let group = Self { start, len, size: size.min(len), usable: AtomicU32::new(0), active: AtomicU32::new(0) };
        let usable = group.marks(marks).filter(|usable| *usable).count();
        group.usable.store(u32::try_from(usable).unwrap_or(u32::MAX), Relaxed);
        group.recount(marks);
        group
    }

    pub(super) fn usable(&self) -> u32 {
        // Two threads can change a count at the same time. It never stays wrong, but it can be below 0 for a moment.
        let usable = self.usable.load(Relaxed);
        if usable > u32::MAX >> 1 { 0 } else { usable }
    }

    pub(super) fn active(&self) -> usize {
        usize::try_from(self.active.load(Relaxed)).unwrap_or(0).min(self.len)
    }

    /// Returns the place behind the group's last server.
    pub(super) const fn end(&self) -> usize {
        self.start + self.len
    }

    /// Records that the mark of one server of the group has changed. `usable` is the new value of the mark.
    pub(super) fn changed(&self, usable: bool) {
        self.usable.fetch_add(if usable { 1 } else { u32::MAX }, Relaxed);
    }

    /// Computes again how many servers the group uses.
    pub(super) fn recount(&self, marks: &[AtomicBool]) {
        let nth = self.marks(marks).enumerate().filter(|(_, usable)| *usable).map(|(position, _)| position + 1);
        let active = match self.size.checked_sub(1) {
            // Without a reserve, all servers are used, whatever their health.
            Some(before) if self.size < self.len => nth.into_iter().nth(before).unwrap_or(self.len),
            _ => self.len,
        };
        self.active.store(u32::try_from(active).unwrap_or(u32::MAX), Relaxed);
    }

    /// Returns the share of all calls that this level can take, in parts of [`WHOLE`]. It is the share of usable servers
    /// times 1.4, which is Envoy's overprovisioning factor.
    pub(super) fn share(&self) -> u64 {
        let len = u64::try_from(self.len).unwrap_or(u64::MAX).max(1);
        u64::from(self.usable()) * WHOLE * 7 / (len * 5)
    }

    fn marks<'a>(&self, marks: &'a [AtomicBool]) -> impl Iterator<Item = bool> + 'a {
        let marks = marks.get(self.start..self.end()).unwrap_or_default();
        marks.iter().map(|mark| mark.load(Relaxed))
    }
}

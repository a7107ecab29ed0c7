//! Gives ids to the new servers of a list: [`Ids`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hedge_core::id::ServerId;

use crate::node::Node;

/// The smallest value of [`Ids::prune_at`].
const PRUNE_AT_LEAST: usize = 64;

/// Gives ids to the new servers of a list. An id is a slot and a generation. When a slot is used again, it gets another
/// generation. Generations have 16 bits and wrap around, so an old id could occur again. Therefore a generation is
/// skipped while a call, a report, a body or a check still holds the earlier server with this id
/// ([L20](hedge_core::rules#L20)).
pub(crate) struct Ids<K, S> {
    /// The maximum number of slots.
    capacity: usize,
    /// The next generation of each slot, indexed by slot.
    generations: Vec<u16>,
    /// The servers that have left the list and that something may still hold.
    left: HashMap<ServerId, Weak<Node<K, S>>>,
    /// The limit for `left`: when it has this many entries, the entries of servers that nothing holds any more are
    /// removed.
    prune_at: usize,
}

impl<K, S> Ids<K, S> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, generations: Vec::new(), left: HashMap::new(), prune_at: PRUNE_AT_LEAST }
    }

    /// Returns one free id for each slot that is not `taken`, the lowest slot first.
    pub(crate) fn free<'a>(&'a self, taken: &'a [bool]) -> impl Iterator<Item = ServerId> + 'a {
        let slots = (0..=u16::MAX).take(self.capacity);
        slots
            .filter(|slot| !taken.get(usize::from(*slot)).is_some_and(|taken| *taken))
            .filter_map(|slot| self.next(slot))
    }

    /// Returns the next free id of a slot. Returns `None` if every id of the slot belongs to a server that something
    /// still holds.
    pub(crate) fn next(&self, slot: u16) -> Option<ServerId> {
        let next = self.generations.get(usize::from(slot)).copied().unwrap_or_default();
        (0..=u16::MAX).map(|step| ServerId::new(slot, next.wrapping_add(step))).find(|id| !self.is_held(*id))
    }

    /// Records a new list. `new` are the ids of its new servers, and `gone` are the servers that have left.
    pub(crate) fn changed(&mut self, new: &[ServerId], gone: &[Arc<Node<K, S>>]) {
        for id in new {
            let slot = usize::from(id.slot());
            if self.generations.len() <= slot {
                self.generations.resize(slot + 1, 0);
            }
            if let Some(next) = self.generations.get_mut(slot) {
                *next = id.generation().wrapping_add(1);
            }
        }
        if self.left.len() >= self.prune_at {
            self.left.retain(|_, node| node.strong_count() > 0);
            self.prune_at = PRUNE_AT_LEAST.max(2 * self.left.len());
        }
        self.left.extend(gone.iter().map(|node| (node.id(), Arc::downgrade(node))));
    }

    fn is_held(&self, id: ServerId) -> bool {
        self.left.get(&id).is_some_and(|node| node.strong_count() > 0)
    }
}

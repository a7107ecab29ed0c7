//! The ids of new servers in a list: [`Ids`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hedge_core::id::ServerId;

use crate::node::Node;

const PRUNE_AT_LEAST: usize = 64;

/// The ids of a list. When a slot is used again, its generation is another one. Generations wrap around, so a
/// generation is skipped as long as anything holds the server that had it: a call, its report, a body or a check
/// ([L20](hedge_core::rules#L20)).
pub(crate) struct Ids<K, S> {
    /// The maximum number of slots.
    capacity: usize,
    /// The next generation of each slot.
    generations: Vec<u16>,
    /// The servers that have left the list and may still be held.
    left: HashMap<ServerId, Weak<Node<K, S>>>,
    /// Once `left` has this many entries, those that nothing holds are removed.
    prune_at: usize,
}

impl<K, S> Ids<K, S> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, generations: Vec::new(), left: HashMap::new(), prune_at: PRUNE_AT_LEAST }
    }

    /// Ids in the slots that are not `taken`, the lowest first.
    pub(crate) fn free<'a>(&'a self, taken: &'a [bool]) -> impl Iterator<Item = ServerId> + 'a {
        let slots = (0..=u16::MAX).take(self.capacity);
        slots
            .filter(|slot| !taken.get(usize::from(*slot)).is_some_and(|taken| *taken))
            .filter_map(|slot| self.next(slot))
    }

    /// The next free id in a slot; `None` if all ids of the slot are held.
    pub(crate) fn next(&self, slot: u16) -> Option<ServerId> {
        let next = self.generations.get(usize::from(slot)).copied().unwrap_or_default();
        (0..=u16::MAX).map(|step| ServerId::new(slot, next.wrapping_add(step))).find(|id| !self.is_held(*id))
    }

    /// Records a new list: all its ids, and the servers that have left.
    pub(crate) fn changed(&mut self, now: impl Iterator<Item = ServerId>, gone: &[Arc<Node<K, S>>]) {
        for id in now {
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

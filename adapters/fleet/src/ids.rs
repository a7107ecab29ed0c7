//! Which ids servers are given that come into a list: [`Ids`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hedge_core::id::ServerId;

use crate::node::Node;

const PRUNE_AT_LEAST: usize = 64;

/// The ids of a list. A slot is given again as another generation. Generations come round: one is passed over as long as
/// anything may still speak of the server that had it, a call, its report, a body or a check (L20).
pub(crate) struct Ids<K, S> {
    /// How many slots there may be.
    capacity: usize,
    /// The next generation of each slot.
    generations: Vec<u16>,
    /// The servers that have left, as long as anything holds them.
    left: HashMap<ServerId, Weak<Node<K, S>>>,
    /// How many there must be before it is worth looking for such as nothing holds.
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

    /// The next id in a slot; `None` if all are held.
    pub(crate) fn next(&self, slot: u16) -> Option<ServerId> {
        let next = self.generations.get(usize::from(slot)).copied().unwrap_or_default();
        (0..=u16::MAX).map(|step| ServerId::new(slot, next.wrapping_add(step))).find(|id| !self.is_held(*id))
    }

    /// A new list is there: all its ids, and who has left.
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

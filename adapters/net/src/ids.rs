//! Which ids servers are given that come into a list: [`Ids`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use hedge_core::id::ServerId;

use crate::list::MAX_SERVERS;
use crate::node::Node;

const PRUNE_AT_LEAST: usize = 64;

/// The ids of a list. A slot is given again as another generation. Generations come round: one is passed over as long as
/// anything may still speak of the server that had it, a call, its report, a body or a check (L20).
#[derive(Default)]
pub(crate) struct Ids {
    /// The next generation of each slot.
    generations: Vec<u16>,
    /// The servers that have left, and whether anything holds them.
    left: HashMap<ServerId, Weak<()>>,
    /// How many there must be before it is worth looking for such as nothing holds.
    prune_at: usize,
}

impl Ids {
    /// Ids in the slots that are not `taken`, the lowest first.
    pub(crate) fn free<'a>(&'a self, taken: &'a HashSet<u16>) -> impl Iterator<Item = ServerId> + 'a {
        (0..MAX_SERVERS).filter(|slot| !taken.contains(slot)).filter_map(|slot| {
            let next = self.generations.get(usize::from(slot)).copied().unwrap_or_default();
            (0..=u16::MAX).map(|step| ServerId::new(slot, next.wrapping_add(step))).find(|id| !self.is_held(*id))
        })
    }

    /// A new list is there: all its ids, and who has left.
    pub(crate) fn changed(&mut self, now: impl Iterator<Item = ServerId>, gone: &[Arc<Node>]) {
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
            self.left.retain(|_, held| held.strong_count() > 0);
            self.prune_at = PRUNE_AT_LEAST.max(2 * self.left.len());
        }
        self.left.extend(gone.iter().map(|node| (node.id, node.is_held())));
    }

    fn is_held(&self, id: ServerId) -> bool {
        self.left.get(&id).is_some_and(|held| held.strong_count() > 0)
    }
}

//! The balancer `wr`: weighted random.

use core::num::NonZeroU32;

use super::la::{LaTree, WeightedDraws};
use super::{ArrangeError, Balancer, Offer, Roster, Search, ServerList, Storage, Weighing};

/// Chooses servers at random. The probability of each server is proportional to its weight ([S2](crate::rules#S2)).
/// Fallbacks are drawn in the same way among the remaining servers. After 16 servers, the others follow in a scattered
/// order.
///
/// Cost of a choice: two draws from the call's own generator, and 2 log n loads. Nothing is written. Memory: 16 bytes
/// for each slot.
#[derive(Clone, Debug)]
pub struct WeightedRandom<S: Storage> {
    weighing: Weighing,
    tree: LaTree<S::Nodes>,
}

impl<S: Storage> WeightedRandom<S> {
    /// Makes a balancer for servers whose tags are weights.
    #[must_use]
    pub fn new() -> Self {
        Self { weighing: Weighing::Tag, tree: LaTree::new(S::Nodes::default(), 0) }
    }

    /// Returns this balancer with a default weight: a server whose tag is not a weight gets `default`.
    #[must_use]
    pub fn or_weight(self, default: NonZeroU32) -> Self {
        Self { weighing: Weighing::TagOr(default), ..self }
    }
}

impl<S: Storage> Default for WeightedRandom<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Storage> Balancer for WeightedRandom<S> {
    type Stats = ();
    type Ticket = ();

    fn stats(&self) {}

    fn weighing(&self) -> Weighing {
        self.weighing
    }

    fn arrange<L: Roster<Stats = ()>>(&mut self, list: &L) -> Result<(), ArrangeError> {
        let weight = |slot| {
            let load = list.in_slot(u16::try_from(slot).ok()?).and_then(|found| list.load(found.server));
            Some(load?.weight.get().into())
        };
        self.tree.refill((0..list.slots()).map(|slot| weight(slot).unwrap_or(0)))
    }

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        WeightedDraws::new(search, &self.tree, random, None, |_| true)
    }
}

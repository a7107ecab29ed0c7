//! `wr`: weighted random.

use core::num::NonZeroU32;

use super::la::{Draws, LaTree};
use super::{ArrangeError, Balancer, Look, Offer, Room, Roster, ServerList, Weighing};

/// Chooses at random, each server with a probability in proportion to its weight (S2). Fallbacks are drawn in the same
/// way among the rest. After 16 servers the others follow, scattered.
///
/// Cost: two draws from the call's own generator, and 2 log n loads a choice; nothing is written. 16 bytes a slot.
#[derive(Clone, Debug)]
pub struct WeightedRandom<R: Room> {
    weighing: Weighing,
    tree: LaTree<R::Nodes>,
}

impl<R: Room> WeightedRandom<R> {
    /// A balancer of servers whose tags are weights.
    #[must_use]
    pub fn new() -> Self {
        Self { weighing: Weighing::Tag, tree: LaTree::new(R::Nodes::default(), 0) }
    }

    /// The same balancer, in which a server whose tag is no weight weighs `default`.
    #[must_use]
    pub fn or_weight(self, default: NonZeroU32) -> Self {
        Self { weighing: Weighing::TagOr(default), ..self }
    }
}

impl<R: Room> Default for WeightedRandom<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Room> Balancer for WeightedRandom<R> {
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
        look: Look<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        Draws::new(look, &self.tree, random, None, |_| true)
    }
}

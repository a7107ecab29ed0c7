//! Draws servers by weight, each server at most once: [`WeightedDraws`].

use super::{LaNode, LaPick, LaTree};
use crate::balance::select::InOrder;
use crate::balance::{Candidate, Offer, Order, Search, ServerList};

/// How many servers a selection draws by weight. The other servers follow in another order.
const LEFT_OUT: usize = 16;
/// How many times a draw is repeated if it is not valid, that is, if [`LaPick::offset`] is not below the present weight
/// of the drawn server.
const REDRAWS: usize = 3;

/// Draws servers by weight from a tree of their slots, each server at most once. After 16 servers, the other servers
/// follow in a scattered order.
pub(in crate::balance) struct WeightedDraws<'a, L, S, F> {
    search: Search<'a, L>,
    tree: &'a LaTree<S>,
    random: &'a mut dyn FnMut() -> u32,
    /// The number for the first draw. `None`: the first draw uses a random number.
    first: Option<u64>,
    /// A function that returns whether a draw is still valid under the server's present weight.
    holds: F,
    left_out: heapless::Vec<u32, LEFT_OUT>,
    rest: Option<InOrder<L>>,
}

impl<'a, L, S, F> WeightedDraws<'a, L, S, F>
where
    L: ServerList + Copy,
    S: AsRef<[LaNode]>,
    F: FnMut(LaPick) -> bool,
{
    pub(in crate::balance) const fn new(
        search: Search<'a, L>,
        tree: &'a LaTree<S>,
        random: &'a mut dyn FnMut() -> u32,
        first: Option<u64>,
        holds: F,
    ) -> Self {
        Self { search, tree, random, first, holds, left_out: heapless::Vec::new(), rest: None }
    }

    fn draw(&mut self) -> Option<LaPick> {
        let mut pick = None;
        for _ in 0..=REDRAWS {
            let bits = self.first.take().unwrap_or_else(|| {
                let (high, low) = ((self.random)(), (self.random)());
                u64::from(high) << 32 | u64::from(low)
            });
            let drawn = self.tree.pick(bits, &self.left_out)?;
            pick = Some(drawn);
            if (self.holds)(drawn) {
                break;
            }
        }
        pick
    }

    /// Returns the next server by weight. Returns `None` once the other servers should follow.
    fn by_weight(&mut self) -> Option<Candidate> {
        while !self.left_out.is_full() {
            let drawn = self.draw()?.position;
            // There is room, since the loop runs only while the list is not full.
            let _ = self.left_out.push(drawn);
            let found = u16::try_from(drawn).ok().and_then(|slot| self.search.list.in_slot(slot));
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl<L, S, F> Iterator for WeightedDraws<'_, L, S, F>
where
    L: ServerList + Copy,
    S: AsRef<[LaNode]>,
    F: FnMut(LaPick) -> bool,
{
    type Item = Offer<()>;

    fn next(&mut self) -> Option<Offer<()>> {
        let offer = |candidate| Offer { candidate, ticket: () };
        if self.rest.is_none() {
            if let Some(found) = self.by_weight() {
                return Some(offer(found));
            }
            self.rest = Some(self.search.in_order(|len| Order::random(len, self.random)));
        }
        let left_out = &self.left_out;
        let mut rest = self.rest.as_mut()?.map(|(_, candidate)| candidate);
        rest.find(|candidate| !left_out.contains(&candidate.server.slot().into())).map(offer)
    }
}

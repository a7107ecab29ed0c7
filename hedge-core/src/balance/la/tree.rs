//! A Fenwick tree of weights, for choosing servers by weight: [`LaTree`]. Many threads may change the tree at the same
//! time.

use core::fmt;
use core::iter::successors;

use super::super::decay::mul_high;
use super::super::{ArrangeError, Buffer};
use crate::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use crate::random::{GOLDEN, mix};

/// The largest weight that counts. A sum of 65,536 such weights fits into 64 bits.
const LARGEST: u64 = 1 << 47;

/// A Fenwick tree (Fenwick 1994) for a weighted choice among servers. Each server has a place in the tree, which is a
/// node of `S`. `S` is an array, a slice or a vector.
///
/// Threads share the tree through `&self`, without a lock. While weights change, a sum may contain some weights from
/// before a change and some from after it. The result of a pick is still one of the places, and every sum is exact
/// again once the changes are done. Places without a server weigh 0. At first, all places weigh 0.
///
/// ```
/// use hedge_core::balance::la::{LaNode, LaTree};
///
/// let tree = LaTree::new([const { LaNode::new() }; 4], 1);
/// tree.set(1, 3_000);
/// tree.set(2, 1_000);
/// assert_eq!(tree.pick(0, &[]).map(|pick| pick.position), Some(1));
/// assert_eq!(tree.pick(u64::MAX, &[]).map(|pick| pick.position), Some(2));
/// assert_eq!(tree.pick(u64::MAX, &[1, 2]), None);
/// ```
pub struct LaTree<S> {
    nodes: S,
    turn: AtomicU32,
    draw: AtomicU64,
}

/// A server's place in a [`LaTree`]: 16 bytes.
#[derive(Debug, Default)]
pub struct LaNode {
    weight: AtomicU64,
    /// The Fenwick sum: the sum of the `lowest_bit(i)` weights that end at this node. The node's number i counts from
    /// 1.
    sum: AtomicU64,
}

impl Clone for LaNode {
    /// Makes a copy of the current values.
    fn clone(&self) -> Self {
        Self { weight: AtomicU64::new(self.weight.load(SeqCst)), sum: AtomicU64::new(self.sum.load(SeqCst)) }
    }
}

impl LaNode {
    /// Makes a place without a server.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(0)
    }

    /// Makes a place of this weight. Its sum is 0.
    const fn of(weight: u64) -> Self {
        Self { weight: AtomicU64::new(weight), sum: AtomicU64::new(0) }
    }
}

/// The place that a draw has selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaPick {
    /// The number of the place.
    pub position: u32,
    /// The distance of the draw from the beginning of the place's weight. The pick is valid only while the weight is
    /// above this.
    pub offset: u64,
}

impl<S: Buffer<LaNode>> LaTree<S> {
    /// Replaces the weights of all places. The sequence of draws continues.
    ///
    /// # Errors
    /// Returns an error if there are more weights than places. The tree is then empty.
    pub fn refill(&mut self, weights: impl Iterator<Item = u64>) -> Result<(), ArrangeError> {
        self.replace(weights.map(|weight| LaNode::of(weight.min(LARGEST))))?;
        self.add_up();
        Ok(())
    }

    /// Changes the number of places, and replaces the weights. `weight` gets the number of each place and its present
    /// weight, which is 0 for a new place, and returns the new weight. The sequence of draws continues. If the number
    /// of places stays the same, the tree is changed in place.
    ///
    /// # Errors
    /// Returns an error if there is no room for so many places. The tree is then empty.
    pub fn reweigh(&mut self, places: usize, mut weight: impl FnMut(u32, u64) -> u64) -> Result<(), ArrangeError> {
        if self.nodes.as_ref().len() != places {
            let old = core::mem::take(&mut self.nodes);
            let known = |place| old.as_ref().get(place).map_or_else(LaNode::new, LaNode::clone);
            self.replace((0..places).map(known))?;
        }
        for (position, node) in (0..).zip(self.nodes.as_mut()) {
            *node = LaNode::of(weight(position, node.weight.load(SeqCst)).min(LARGEST));
        }
        self.add_up();
        Ok(())
    }

    fn replace(&mut self, nodes: impl Iterator<Item = LaNode>) -> Result<(), ArrangeError> {
        self.nodes.refill(nodes).inspect_err(|_| self.nodes = S::default())
    }

    /// Computes the sums from the weights. All sums must be 0 before.
    fn add_up(&mut self) {
        // The loop takes linear time. When it reaches a sum, the sum is complete, and is then added to the next larger
        // sum that contains it. No other thread sees the tree yet, so plain loads and stores will do.
        for number in 1..=self.len() {
            let Some(node) = self.node(number - 1) else { break };
            let sum = node.sum.load(SeqCst) + node.weight.load(SeqCst);
            node.sum.store(sum, Relaxed);
            if let Some(next) = number.checked_add(lowest_bit(number)).and_then(|next| self.node(next - 1)) {
                next.sum.store(next.sum.load(SeqCst) + sum, Relaxed);
            }
        }
    }
}

impl<S: AsRef<[LaNode]>> LaTree<S> {
    /// Makes a tree with `nodes` as its places. The nodes must be new. The sequence of draws is determined by `seed`.
    pub const fn new(nodes: S, seed: u64) -> Self {
        Self { nodes, turn: AtomicU32::new(0), draw: AtomicU64::new(mix(seed)) }
    }

    /// Sets the weight of a place. A weight above 2^47 counts as 2^47. Does nothing if there is no such place.
    pub fn set(&self, position: u32, weight: u64) {
        let weight = weight.min(LARGEST);
        let Some(node) = self.node(position) else { return };
        // Usually the weight does not change. This check saves the write.
        if node.weight.load(SeqCst) == weight {
            return;
        }
        // Each thread gets the difference of its own change from `swap`. These differences add up to the total change,
        // even if other threads change the weight at the same time.
        let change = weight.wrapping_sub(node.weight.swap(weight, SeqCst));
        if change == 0 {
            return;
        }
        // The loop adds the difference to each sum that contains this place.
        let mut number = position + 1;
        while let Some(node) = self.node(number - 1) {
            node.sum.fetch_add(change, Relaxed);
            let Some(next) = number.checked_add(lowest_bit(number)) else { return };
            number = next;
        }
    }

    /// Returns the weight of a place. Returns 0 if there is no such place.
    pub fn weight(&self, position: u32) -> u64 {
        self.node(position).map_or(0, |node| node.weight.load(SeqCst))
    }

    /// Returns the mean weight of the other `servers - 1` servers. Returns 0 if there are no others.
    pub fn mean_of_others(&self, position: u32, servers: u32) -> u64 {
        let others = self.prefix_sum(self.len()).saturating_sub(self.weight(position));
        others.checked_div(u64::from(servers.saturating_sub(1))).unwrap_or(0)
    }

    /// Returns the place that 64 random bits select by weight. The places in `without` are left out. Returns `None` if
    /// the remaining weights are all 0.
    ///
    /// Work: 2 log n loads, and up to log n + 2 more loads for each place in `without`.
    pub fn pick(&self, random: u64, without: &[u32]) -> Option<LaPick> {
        let out: u64 = ascending(without).map(|position| self.weight(position)).sum();
        let total = self.prefix_sum(self.len()).saturating_sub(out);
        if total == 0 {
            return None;
        }
        let mut drawn = mul_high(total, random);
        // The loop skips the places that are left out, in ascending order. Each such place at or before the draw moves
        // the draw on by the weight of the place.
        for position in ascending(without) {
            if drawn < self.prefix_sum(position) {
                break;
            }
            drawn += self.weight(position);
        }
        Some(self.find(drawn))
    }

    /// Returns the number for the next pick. Calling this changes nothing. The numbers are a low-discrepancy sequence
    /// (Weyl's sequence with the golden ratio): even a few successive numbers cover the whole range evenly.
    ///
    /// Random numbers are not good enough here. The weight of a server grows with its throughput. So a server that gets
    /// more calls by chance also gets a larger weight, and then even more calls. After half a minute, ten equal servers
    /// that are drawn at random have from 2 to 32 % of the calls. With this sequence they have from 8 to 12 %.
    pub fn draw(&self) -> u64 {
        self.draw.load(SeqCst)
    }

    /// Moves the sequence to its next number. This costs one atomic addition.
    pub fn next_draw(&self) {
        self.draw.fetch_add(GOLDEN, Relaxed);
    }

    /// Returns the place whose weight should be computed again next. Successive calls visit each place once per round.
    pub fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Relaxed).checked_rem(self.len()).unwrap_or(0)
    }

    /// Returns the place at an offset in the sum of all weights, by binary search in the Fenwick sums.
    fn find(&self, mut offset: u64) -> LaPick {
        let last = self.len() - 1;
        let (mut position, mut step) = (0, highest_bit(self.len()));
        while step > 0 {
            // This is the sum of the `step` weights from `position` on. If the offset is beyond this sum, all these
            // places are skipped at once.
            let sum = self.sum(position + step);
            if position + step <= last && sum <= offset {
                offset -= sum;
                position += step;
            }
            step /= 2;
        }
        LaPick { position, offset }
    }

    /// Returns the sum of the weights of the first `count` places.
    fn prefix_sum(&self, count: u32) -> u64 {
        let mut count = count.min(self.len());
        let mut total = 0u64;
        while count > 0 {
            total = total.saturating_add(self.sum(count));
            count -= lowest_bit(count);
        }
        total
    }

    /// Returns the sum of a node. Nodes are numbered from 1. If two threads change one weight, the later change may be
    /// added first. Then the sum can be negative for a moment; a negative sum counts as 0.
    fn sum(&self, number: u32) -> u64 {
        let sum =
            number.checked_sub(1).and_then(|position| self.node(position)).map_or(0, |node| node.sum.load(SeqCst));
        sum.cast_signed().max(0).unsigned_abs()
    }

    fn node(&self, position: u32) -> Option<&LaNode> {
        usize::try_from(position).ok().and_then(|position| self.nodes.as_ref().get(position))
    }

    fn len(&self) -> u32 {
        u32::try_from(self.nodes.as_ref().len()).unwrap_or(u32::MAX)
    }
}

impl<S: Clone> Clone for LaTree<S> {
    /// Makes a copy that begins with the present state of this tree.
    fn clone(&self) -> Self {
        let (turn, draw) = (self.turn.load(Relaxed), self.draw.load(SeqCst));
        Self { nodes: self.nodes.clone(), turn: AtomicU32::new(turn), draw: AtomicU64::new(draw) }
    }
}

impl<S: AsRef<[LaNode]>> fmt::Debug for LaTree<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes.as_ref().iter().map(|node| node.weight.load(SeqCst))).finish()
    }
}

const fn lowest_bit(number: u32) -> u32 {
    number & number.wrapping_neg()
}

const fn highest_bit(number: u32) -> u32 {
    if number == 0 { 0 } else { 1 << number.ilog2() }
}

/// Returns the positions in ascending order, each once. This takes quadratic time, so it is only for a few positions.
fn ascending(positions: &[u32]) -> impl Iterator<Item = u32> {
    let after = |last: u32| positions.iter().copied().filter(move |position| *position > last).min();
    successors(positions.iter().copied().min(), move |last| after(*last))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use std::vec::Vec;

    fn tree(weights: &[u64]) -> LaTree<Vec<LaNode>> {
        let tree = LaTree::new(weights.iter().map(|_| LaNode::new()).collect::<Vec<_>>(), 1);
        for (position, weight) in (0..).zip(weights) {
            tree.set(position, *weight);
        }
        tree
    }

    #[test]
    fn s7_a_tree_that_is_filled_at_once_is_as_one_that_was_set() {
        const SEED: u64 = 4;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for places in 0..70 {
            let weights: Vec<u64> = (0..places).map(|_| rng.u64(0..1 << 50)).collect();
            let mut filled: LaTree<heapless::Vec<LaNode, 69>> = LaTree::new(heapless::Vec::new(), 1);
            filled.refill(weights.iter().copied()).unwrap();
            let set = tree(&weights);
            for count in 0..=places {
                assert_eq!(filled.prefix_sum(count), set.prefix_sum(count), "{count} of {places}, seed {SEED}");
            }
            // The same tree in place, and with another number of places.
            for (places, more) in [(places, 0), (places / 2, 1), (69, 2)] {
                let known: Vec<u64> = (0..places).map(|position| filled.weight(position)).collect();
                filled.reweigh(places as usize, |position, weight| weight / 2 + u64::from(position) + more).unwrap();
                let weights = known.iter().zip(0..).map(|(weight, position)| weight / 2 + position + more);
                let set = tree(&weights.collect::<Vec<_>>());
                assert_eq!(filled.len(), places);
                for count in 0..=places {
                    assert_eq!(filled.prefix_sum(count), set.prefix_sum(count), "{count} of {places}, seed {SEED}");
                }
            }
        }
        let mut small: LaTree<heapless::Vec<LaNode, 2>> = LaTree::new(heapless::Vec::new(), 1);
        assert_eq!(small.refill([1, 2, 3].into_iter()), Err(ArrangeError::Room { servers: 2 }));
        assert_eq!(small.pick(0, &[]), None);
        small.refill([1, 2].into_iter()).unwrap();
        assert_eq!(small.reweigh(3, |_, weight| weight), Err(ArrangeError::Room { servers: 2 }));
        assert_eq!(small.pick(0, &[]), None);
    }

    #[test]
    fn s3_a_pick_is_where_a_walk_along_the_weights_ends() {
        const SEED: u64 = 3;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for servers in 1..40 {
            let mut weights: Vec<u64> = (0..servers).map(|_| rng.u64(0..4) * rng.u64(0..1 << 40)).collect();
            let tree = tree(&weights);
            for _ in 0..100 {
                let (changed, weight) = (rng.u32(0..servers), rng.u64(0..1 << 40));
                weights[changed as usize] = weight;
                tree.set(changed, weight);
                let without: Vec<u32> = (0..rng.u32(0..4)).map(|_| rng.u32(0..servers + 1)).collect();
                let rest = || (0..).zip(&weights).filter(|(position, _)| !without.contains(position));
                let total: u64 = rest().map(|(_, weight)| weight).sum();
                let random = rng.u64(..);
                let mut drawn = mul_high(total, random);
                let expected = rest().find_map(|(position, weight)| match drawn.checked_sub(*weight) {
                    None => Some(LaPick { position, offset: drawn }),
                    Some(rest) => {
                        drawn = rest;
                        None
                    }
                });
                assert_eq!(tree.pick(random, &without), expected, "{weights:?} without {without:?}, seed {SEED}");
            }
        }
    }

    #[test]
    fn s3_the_mean_of_others_is_of_servers_and_not_of_places() {
        let tree = tree(&[1_000, 5_000, 0, 3_000, 0]);
        assert_eq!(tree.mean_of_others(1, 3), 2_000);
        assert_eq!(tree.mean_of_others(2, 4), 3_000, "of one that weighs nothing");
        assert_eq!(tree.mean_of_others(0, 1), 0);
        assert_eq!((tree.next_turn(), tree.next_turn()), (0, 1));
    }

    #[test]
    fn s3_weights_beyond_all_measure_still_add_up() {
        let tree = tree(&[u64::MAX; 1_000]);
        assert_eq!(tree.weight(7), LARGEST);
        assert_eq!(tree.mean_of_others(0, 1_000), LARGEST);
        assert_eq!(tree.pick(u64::MAX, &[]).map(|pick| pick.position), Some(999));
        tree.set(1_000, 1);
        assert!(LaTree::new([], 1).pick(1, &[]).is_none());
    }

    #[test]
    fn s3_threads_that_change_weights_leave_exact_sums() {
        let tree = Arc::new(tree(&[0; 9]));
        let change = |seed| {
            let tree = tree.clone();
            thread::spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..20_000 {
                    tree.set(rng.u32(0..9), rng.u64(0..1 << 40));
                    assert!(tree.pick(rng.u64(..), &[]).is_none_or(|pick| pick.position < 9));
                }
            })
        };
        for thread in [1, 2].map(change) {
            thread.join().unwrap();
        }
        let mut total = 0;
        for position in 0..9 {
            assert_eq!(tree.prefix_sum(position), total);
            total += tree.weight(position);
        }
        assert_eq!(tree.prefix_sum(9), total);
    }
}

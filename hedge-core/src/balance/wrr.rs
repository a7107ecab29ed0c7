//! `wrr`: weighted round robin.

use super::{seeds::mix, weight::Weights, weight::stride};
use crate::atomic::{AtomicU64, Ordering};

/// How many servers one selection can leave out and still be exact.
const LEFT_OUT: usize = 16;

/// Chooses each server exactly as often as its weight says, spread out (S2).
///
/// All servers together are a cycle of as many units as their weights add up to. A pick goes a stride further, and answers
/// whose unit it comes to: as the stride is coprime with the cycle, a whole round of picks comes to each unit once. (brpc's
/// algorithm; where a pick falls in a server's units is kept, and so is what is left of them.)
///
/// A server that cannot be used is left out and the pick made again without it, from where it began; after 16 of those in
/// one selection the rest follow in list order.
///
/// Cost: a load to look, a compare-and-swap to commit; a pick passes over some two servers. 8 bytes.
#[derive(Debug)]
pub struct WeightedRoundRobin {
    /// The position above, and what is left of its server's units below.
    state: AtomicU64,
}

/// A server that `wrr` offers, and how it goes on if that one is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where it stands in the list.
    pub position: u32,
    from: u64,
    to: u64,
}

impl WeightedRoundRobin {
    /// A balancer that starts somewhere.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of the mix will do")]
    pub fn new(seed: u64) -> Self {
        Self::starting_at(mix(seed) as u32)
    }

    /// A balancer that starts at position `start`, modulo the number of servers.
    #[must_use]
    pub fn starting_at(start: u32) -> Self {
        Self { state: AtomicU64::new(Turn { position: start, left: 0 }.word()) }
    }

    /// The servers in the order in which this pick would choose them.
    pub fn steps<'w, W: AsRef<[u32]>>(&self, weights: &'w Weights<W>) -> Steps<'w, W> {
        Steps { weights, from: self.state.load(Ordering::Relaxed), left_out: heapless::Vec::new(), plain: None }
    }

    /// Goes on from a step that was taken. False, with nothing changed, if another call did so since the look and `insist`
    /// is false; who insists then has its server beside the sequence.
    pub fn commit(&self, step: Step, insist: bool) -> bool {
        self.state.compare_exchange(step.from, step.to, Ordering::Relaxed, Ordering::Relaxed).is_ok() || insist
    }
}

/// The order in which `wrr` offers servers in one selection: each position once.
#[derive(Debug)]
pub struct Steps<'w, W> {
    weights: &'w Weights<W>,
    from: u64,
    left_out: heapless::Vec<u32, LEFT_OUT>,
    /// The next position once too many were left out.
    plain: Option<u32>,
}

impl<W: AsRef<[u32]>> Iterator for Steps<'_, W> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let servers = u32::try_from(self.weights.len()).ok().filter(|servers| *servers > 0)?;
        if self.left_out.is_full() || self.left_out.len() == self.weights.len() {
            return self.in_list_order(servers);
        }
        let out = self.left_out.iter().map(|position| u64::from(self.weights.at(*position)));
        let total = self.weights.total() - out.sum::<u64>();
        let stride = match self.left_out.len() {
            0 => self.weights.stride(),
            out => stride(total, (self.weights.len() - out) as u64),
        };
        if stride == 0 {
            // All that is left weighs nothing.
            return self.in_list_order(servers);
        }
        let (position, to) = self.go(servers, stride);
        // There is room, as it is not full.
        let _ = self.left_out.push(position);
        Some(Step { position, from: self.from, to })
    }
}

impl<W: AsRef<[u32]>> Steps<'_, W> {
    /// Goes a stride through the units of the servers that are not left out; answers where it ends, and the turn after it.
    fn go(&self, servers: u32, mut stride: u64) -> (u32, u64) {
        let from = Turn::of(self.from);
        // The list may have changed since.
        let mut position = from.position % servers;
        let weight = self.weights.at(position);
        let mut units = u64::from(if from.left > 0 { from.left.min(weight) } else { weight });
        loop {
            if !self.left_out.contains(&position) {
                if units > stride {
                    let left = u32::try_from(units - stride).unwrap_or(u32::MAX);
                    return (position, Turn { position, left }.word());
                }
                stride -= units;
            }
            let next = if position + 1 == servers { 0 } else { position + 1 };
            if stride == 0 {
                return (position, Turn { position: next, left: 0 }.word());
            }
            position = next;
            units = self.weights.at(position).into();
        }
    }

    /// The positions that were not offered, beginning behind the turn, for a list that is nearly all down.
    fn in_list_order(&mut self, servers: u32) -> Option<Step> {
        let begin = Turn::of(self.from).position % servers;
        loop {
            let given = self.plain.unwrap_or(0);
            if given == servers {
                return None;
            }
            self.plain = Some(given + 1);
            let position = u32::try_from((u64::from(begin) + u64::from(given)) % u64::from(servers)).ok()?;
            if !self.left_out.contains(&position) {
                let to = Turn { position: if position + 1 == servers { 0 } else { position + 1 }, left: 0 }.word();
                return Some(Step { position, from: self.from, to });
            }
        }
    }
}

/// What is packed in [`WeightedRoundRobin::state`].
#[derive(Clone, Copy)]
struct Turn {
    position: u32,
    /// Of the units of the server at `position`; 0: all of them.
    left: u32,
}

impl Turn {
    const fn of(word: u64) -> Self {
        Self { position: (word >> 32) as u32, left: (word & 0xFFFF_FFFF) as u32 }
    }

    const fn word(self) -> u64 {
        (self.position as u64) << 32 | self.left as u64
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn pick(wrr: &WeightedRoundRobin, weights: &Weights<Vec<u32>>, down: &[u32]) -> Option<u32> {
        let step = wrr.steps(weights).find(|step| !down.contains(&step.position))?;
        assert!(wrr.commit(step, false));
        Some(step.position)
    }

    #[test]
    fn s2_each_server_gets_exactly_its_weight_from_wherever_it_starts() {
        const SEED: u64 = 3;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for case in 0..200 {
            let weights: Vec<u32> = (0..rng.usize(1..40)).map(|_| rng.u32(1..60)).collect();
            let wrr = WeightedRoundRobin::new(case);
            let list = Weights::new(weights.clone());
            for _ in 0..3 {
                let mut counts = vec![0; weights.len()];
                for _ in 0..list.total() {
                    counts[pick(&wrr, &list, &[]).unwrap() as usize] += 1;
                }
                assert_eq!(counts, weights, "seed {SEED}, case {case}");
            }
        }
    }

    #[test]
    fn s6_a_selection_offers_each_server_once() {
        for servers in [1, 2, 5, 15, 16, 17, 60] {
            let list = Weights::new((0..servers).map(|weight| weight % 5).collect::<Vec<u32>>());
            let wrr = WeightedRoundRobin::starting_at(7);
            let mut offered: Vec<u32> = wrr.steps(&list).map(|step| step.position).collect();
            offered.sort_unstable();
            assert_eq!(offered, (0..servers).collect::<Vec<_>>());
        }
        assert_eq!(WeightedRoundRobin::new(1).steps(&Weights::new([0_u32; 0])).count(), 0);
    }

    #[test]
    fn s2_what_is_down_is_left_out_and_the_others_keep_their_proportions() {
        let list = Weights::new(vec![6, 3, 1]);
        let wrr = WeightedRoundRobin::starting_at(0);
        let mut counts = [0; 3];
        for _ in 0..700 {
            counts[pick(&wrr, &list, &[1]).unwrap() as usize] += 1;
        }
        assert_eq!(counts, [600, 0, 100]);
        assert_eq!(pick(&wrr, &list, &[0, 1, 2]), None);
    }

    #[test]
    fn s7_a_list_that_shrinks_is_no_trouble() {
        let wrr = WeightedRoundRobin::starting_at(0);
        let long = Weights::new(vec![9; 12]);
        assert!((0..7).all(|_| pick(&wrr, &long, &[]).is_some()));
        let short = Weights::new(vec![1, 2]);
        let counts = (0..300).fold([0; 2], |mut counts, _| {
            counts[pick(&wrr, &short, &[]).unwrap() as usize] += 1;
            counts
        });
        assert!((99..=101).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn s2_a_lost_race_changes_nothing() {
        let list = Weights::new(vec![1, 1, 1]);
        let wrr = WeightedRoundRobin::starting_at(0);
        let look = || wrr.steps(&list).next().unwrap();
        let stale = look();
        assert!(wrr.commit(look(), false));
        let next = look();
        assert!(!wrr.commit(stale, false) && look() == next);
        assert!(wrr.commit(stale, true) && look() == next, "beside the sequence");
    }
}

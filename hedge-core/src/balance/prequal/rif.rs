//! The client's estimate of how many requests are in flight (RIF) at the servers: [`RifEstimate`].

use crate::atomic::{AtomicU32, Ordering::Relaxed};

/// The number of last answers from which the quantile is computed.
const ANSWERS: u32 = 64;
/// The value for an answer that has not come yet.
const NONE: u32 = u32::MAX;

/// The requests in flight of the last 64 answers, and the number of requests in flight from which on a probe is hot.
///
/// The quantile is exact. It is found bit by bit, beginning with the highest bit. Each bit of the largest answer takes
/// 64 comparisons. This is done when an answer comes in, so that a choice only loads the result.
#[derive(Debug)]
pub(super) struct RifEstimate {
    recent: [AtomicU32; ANSWERS as usize],
    next: AtomicU32,
    /// The smallest number of requests in flight at which a probe is hot.
    hot: AtomicU32,
}

impl RifEstimate {
    pub(super) const fn new() -> Self {
        let recent = [const { AtomicU32::new(NONE) }; ANSWERS as usize];
        Self { recent, next: AtomicU32::new(0), hot: AtomicU32::new(NONE) }
    }

    /// Records an answer. `rif` is its number of requests in flight. Then computes from which number on a probe is hot:
    /// a probe is hot if its number is above the quantile of the answers. At a quantile of 0 every probe is hot. At
    /// 1000 no probe is hot.
    pub(super) fn add(&self, rif: u32, quantile_permille: u32) {
        let index = usize::try_from(self.next.fetch_add(1, Relaxed) % ANSWERS).unwrap_or(0);
        if let Some(oldest) = self.recent.get(index) {
            oldest.store(rif, Relaxed);
        }
        let hot = match quantile_permille {
            0 => 0,
            1_000.. => NONE,
            _ => self.quantile(quantile_permille).saturating_add(1),
        };
        self.hot.store(hot, Relaxed);
    }

    pub(super) fn is_hot(&self, rif: u32) -> bool {
        rif >= self.hot.load(Relaxed)
    }

    /// Returns the quantile: the smallest answer such that at least `permille` thousandths of all answers are not above
    /// it.
    fn quantile(&self, permille: u32) -> u32 {
        let mut recent = [NONE; ANSWERS as usize];
        let (mut known, mut largest) = (0, 0);
        for (copy, answer) in recent.iter_mut().zip(&self.recent) {
            *copy = answer.load(Relaxed);
            if *copy != NONE {
                known += 1;
                largest = largest.max(*copy);
            }
        }
        let rank = (known * permille).div_ceil(1_000);
        let mut found = 0;
        for bit in (0..u32::BITS - largest.leading_zeros()).rev() {
            // The quantile has this bit if fewer answers than `rank` are below `higher`.
            let higher = found | 1 << bit;
            let below: u32 = recent.iter().map(|answer| u32::from(*answer < higher)).sum();
            if below < rank {
                found = higher;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_quantile_is_that_of_the_last_answers() {
        const SEED: u64 = 11;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for most in [1, 2, 7, 300, 0xFF_FFFF] {
            let estimate = RifEstimate::new();
            let mut answers = Vec::new();
            for count in 1..200_usize {
                answers.push(rng.u32(0..=most));
                estimate.add(answers[count - 1], 841);
                let mut last = answers[count.saturating_sub(64)..].to_vec();
                last.sort_unstable();
                let rank = (last.len() * 841).div_ceil(1_000);
                let quantile = last[rank - 1];
                assert!(!estimate.is_hot(quantile), "{quantile} of {last:?}, seed {SEED}");
                assert!(estimate.is_hot(quantile + 1), "{quantile} of {last:?}, seed {SEED}");
            }
        }
    }

    #[test]
    fn at_the_ends_everything_is_hot_or_nothing() {
        let estimate = RifEstimate::new();
        estimate.add(5, 0);
        assert!(estimate.is_hot(0));
        estimate.add(5, 1_000);
        assert!(!estimate.is_hot(0xFF_FFFF));
    }
}

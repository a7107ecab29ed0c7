//! Randomness from an explicit seed: same seed, same inputs, same outputs.

use crate::atomic::{AtomicU32, Ordering};

/// Weyl increment of splitmix64: the odd number nearest 2^64 divided by the golden ratio.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The source of the random generators of a channel's calls: one seed, and a counter that gives each call its own
/// stream.
#[derive(Debug)]
pub struct Seeds {
    seed: u64,
    next: AtomicU32,
}

impl Seeds {
    /// Seeds that follow from `seed` alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU32::new(0) }
    }

    /// The next seed: one atomic addition.
    #[must_use]
    pub fn next(&self) -> u64 {
        let sequence = u64::from(self.next.fetch_add(1, Ordering::Relaxed));
        mix(self.seed.wrapping_add(sequence.wrapping_mul(GOLDEN)))
    }
}

/// splitmix64's finaliser (Steele, Lea, Flood 2014): neighbouring seeds become unrelated ones.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A call's own generator, seeded when it is first needed: a call that needs no random number pays nothing for it.
#[derive(Clone, Debug)]
pub struct Random {
    rng: Option<fastrand::Rng>,
}

impl Random {
    /// A generator that has not been seeded yet.
    #[must_use]
    pub const fn unseeded() -> Self {
        Self { rng: None }
    }

    /// 32 random bits.
    pub fn next(&mut self, seeds: &Seeds) -> u32 {
        self.rng.get_or_insert_with(|| fastrand::Rng::with_seed(seeds.next())).u32(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_get_different_streams_and_a_seed_gives_the_same_ones() {
        let draw = |seeds: &Seeds| [0; 4].map(|_| Random::unseeded().next(seeds));
        let (one, other) = (draw(&Seeds::new(1)), draw(&Seeds::new(1)));
        assert_eq!(one, other);
        assert_ne!(one, draw(&Seeds::new(2)));
        assert!(one.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

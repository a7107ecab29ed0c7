//! Random numbers from an explicit seed. The same seed and the same inputs give the same results.

use crate::atomic::{AtomicU32, Ordering};

/// The number that splitmix64 adds at each step: the odd number nearest to 2^64 divided by the golden ratio.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The source of the random generators of a channel's calls. It consists of one seed and a counter. The counter gives
/// each call its own random numbers.
#[derive(Debug)]
pub struct Seeds {
    seed: u64,
    next: AtomicU32,
}

impl Seeds {
    /// Makes a source whose seeds are determined by `seed` alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU32::new(0) }
    }

    /// Returns the next seed. This costs one atomic addition.
    #[must_use]
    pub fn next(&self) -> u64 {
        let sequence = u64::from(self.next.fetch_add(1, Ordering::Relaxed));
        mix(self.seed.wrapping_add(sequence.wrapping_mul(GOLDEN)))
    }
}

/// Returns `z` with its bits mixed, by the last step of splitmix64 (Steele, Lea, Flood 2014). This step turns
/// neighbouring seeds into unrelated seeds.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A call's own random generator. The generator is seeded at its first use. So it costs nothing in a call that draws no
/// number.
#[derive(Clone, Debug)]
pub struct Random {
    rng: Option<fastrand::Rng>,
}

impl Random {
    /// Makes a generator that is not seeded yet.
    #[must_use]
    pub const fn unseeded() -> Self {
        Self { rng: None }
    }

    /// Returns 32 random bits. The first draw seeds the generator from `seeds`.
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

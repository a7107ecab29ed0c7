//! Random waits: [`Jitter`].

use std::hash::{BuildHasher as _, RandomState};

use hedge_core::random::{Random, Seeds};
use hedge_core::time::Duration;

/// Draws waits, so that clients that were started together do not ask a source at the same times.
#[derive(Debug)]
pub(crate) struct Jitter {
    seeds: Seeds,
    random: Random,
}

impl Jitter {
    /// Makes one whose seed differs from all others.
    pub(crate) fn new() -> Self {
        Self { seeds: Seeds::new(RandomState::new().hash_one(0_u8)), random: Random::unseeded() }
    }

    /// Draws a wait between 0.8 and 1.2 times this one.
    pub(crate) fn around(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.8 + 0.4 * self.part())
    }

    /// Draws a wait between this one and 1.2 times this one.
    #[cfg(feature = "dns")]
    pub(crate) fn after(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + 0.2 * self.part())
    }

    /// A number from 0 to 1.
    fn part(&mut self) -> f64 {
        f64::from(self.random.next(&self.seeds)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n6_waits_are_spread_around_the_interval() {
        let (mut jitter, second) = (Jitter::new(), Duration::from_secs(1));
        let waits: Vec<_> = (0..1_000).map(|_| jitter.around(second)).collect();
        assert!(waits.iter().all(|wait| (second.mul_f64(0.8)..=second.mul_f64(1.2)).contains(wait)));
        let early = waits.iter().filter(|wait| **wait < second).count();
        assert!((400..600).contains(&early), "{early} of 1000 are early");
    }
}

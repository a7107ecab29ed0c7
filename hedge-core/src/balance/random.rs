//! `random`: any server, all alike.

use core::num::NonZeroU32;

use super::{Balancer, Candidates};

/// Chooses uniformly; so is the second choice among the rest, and further ones are scattered (S2).
///
/// Cost: three draws from the call's own generator, no shared state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RandomChoice;

impl Balancer for RandomChoice {
    fn candidates(&self, len: NonZeroU32, random: &mut dyn FnMut() -> u32) -> Candidates {
        let rest = NonZeroU32::new(len.get() - 1).unwrap_or(NonZeroU32::MIN);
        Candidates::scattered(len, below(len, random()), below(rest, random()), random())
    }
}

/// Maps 32 random bits to `0..n` by multiplication (Lemire 2019, without the rejection: the bias is below n / 2^32).
fn below(n: NonZeroU32, random: u32) -> u32 {
    let wide = u64::from(n.get()) * u64::from(random);
    u32::try_from(wide >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_first_and_second_choices_are_uniform() {
        const SEED: u64 = 42;
        let mut rng = fastrand::Rng::with_seed(SEED);
        let n = 5usize;
        let mut counts = [[0u32; 5]; 5];
        let draws = 100_000;
        for _ in 0..draws {
            let mut picks = RandomChoice.candidates(NonZeroU32::new(5).unwrap(), &mut || rng.u32(..));
            counts[picks.next().unwrap() as usize][picks.next().unwrap() as usize] += 1;
        }
        let expected = f64::from(draws) / (n * (n - 1)) as f64;
        for (first, row) in counts.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                if first == second {
                    assert_eq!(*count, 0);
                } else {
                    let off = (f64::from(*count) - expected).abs() / expected;
                    assert!(off < 0.06, "{first} then {second}: {count}, expected {expected}, seed {SEED}");
                }
            }
        }
    }
}

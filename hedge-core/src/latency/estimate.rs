//! Estimates the distribution of latencies from answers and from abandoned attempts. An abandoned attempt gives only a
//! lower bound of a latency (a censored sample). The estimate is the product-limit estimate (Kaplan and Meier, 1958).
//!
//! The estimate is computed in the form "redistribute to the right" (Efron, 1967). Every sample begins with the same
//! weight. An abandoned attempt would have answered later. Therefore its weight is divided equally among all samples in
//! later buckets. Below the first abandoned attempt, the estimate equals the plain counts. Within a bucket, answers
//! come before abandoned attempts, as is usual for equal times. The weight that is left in the last bucket with samples
//! stays there. So if that bucket has only abandoned attempts, the estimate is too short.
//!
//! The estimate is right under one condition: the reason to abandon an attempt does not depend on how much longer that
//! attempt would have taken. A backup's answer and a deadline meet this condition.

use core::num::NonZeroU64;

use super::Quantile;

/// The exponent of the initial weight: each sample begins with the weight 2^`ONE_BITS`. If there are very many samples,
/// the exponent is smaller.
const ONE_BITS: u32 = 20;

/// The number of samples in a bucket, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cell {
    /// How many attempts were answered with a latency in this bucket.
    pub(super) answered: u64,
    /// How many attempts were abandoned at an age in this bucket.
    pub(super) abandoned: u64,
}

impl Cell {
    /// The largest value of a count. Counts saturate at this value.
    pub(super) const MOST: u64 = 1 << 40;

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            answered: self.answered.saturating_add(other.answered).min(Self::MOST),
            abandoned: self.abandoned.saturating_add(other.abandoned).min(Self::MOST),
        }
    }
}

/// The state of the estimate while it goes through the buckets, from the shortest latency on. Weights stay below 2^63,
/// since there are fewer than 2^49 samples and their total weight never changes.
pub(super) struct ProductLimit {
    /// The number of samples in the next bucket and in all later buckets.
    ahead: u64,
    /// The present weight of each of these samples.
    weight: u64,
    /// The weight of all samples before the next bucket.
    passed: u64,
    /// The weight of all samples.
    whole: NonZeroU64,
    /// The exponent of the initial weight: each sample began with the weight 2^`one_bits`.
    one_bits: u32,
}

impl ProductLimit {
    /// Returns the state before the first bucket. Returns `None` if there are no samples.
    pub(super) fn of(cells: impl Iterator<Item = Cell>) -> Option<Self> {
        let ahead = NonZeroU64::new(cells.map(|cell| cell.answered + cell.abandoned).sum())?;
        let one_bits = ONE_BITS.min(ahead.leading_zeros().saturating_sub(1));
        let whole = NonZeroU64::new(ahead.get() << one_bits)?;
        Some(Self { ahead: ahead.get(), weight: 1 << one_bits, passed: 0, whole, one_bits })
    }

    /// Moves past the next bucket. Returns the weight of all samples up to the end of that bucket.
    pub(super) fn pass(&mut self, cell: Cell) -> u64 {
        if cell == Cell::default() {
            return self.passed;
        }
        // Other threads may add samples at the same time. So more samples may be passed than there were at the
        // beginning.
        let beyond = self.ahead.saturating_sub(cell.answered);
        self.ahead = beyond.saturating_sub(cell.abandoned);
        match NonZeroU64::new(self.ahead) {
            None => self.passed = self.whole.get(),
            Some(ahead) => {
                let passed = self.passed.saturating_add(cell.answered.saturating_mul(self.weight));
                self.passed = passed.min(self.whole.get());
                if cell.abandoned > 0 {
                    // The weight is rounded up, so that no rank is missed because of rounding.
                    self.weight = self.weight.saturating_mul(beyond).saturating_add(ahead.get() - 1) / ahead;
                }
            }
        }
        self.passed
    }

    /// Returns the weight of a quantile's share of the samples. The share is a whole number of samples, and at least
    /// one sample.
    fn rank(&self, quantile: Quantile) -> u64 {
        let samples = self.whole.get() >> self.one_bits;
        (samples * u64::from(quantile.ten_thousandths())).div_ceil(Quantile::WHOLE.into()).max(1) << self.one_bits
    }

    /// Returns the weight beyond `passed`, as a share of the whole weight in units of 2^-31.
    pub(super) fn left(&self, passed: u64) -> u32 {
        let shift = self.whole.leading_zeros();
        let left = (self.whole.get() - passed.min(self.whole.get())) << shift >> 1;
        // The whole weight is shifted until its highest bit is set. Then its upper half is precise enough as a divisor.
        // If all weight is left, the quotient can be a little more than 2^31.
        NonZeroU64::new(self.whole.get() << shift >> 32)
            .map_or(0, |whole| u32::try_from((left / whole).min(1 << 31)).unwrap_or(0))
    }
}

/// Returns the bucket that contains a quantile. This is the first bucket that, together with all buckets before it, has
/// the quantile's share of the samples. Returns `None` if there are no samples.
pub(super) fn bucket_at(cells: impl Iterator<Item = Cell> + Clone, quantile: Quantile) -> Option<usize> {
    let mut estimate = ProductLimit::of(cells.clone())?;
    let rank = estimate.rank(quantile);
    cells.into_iter().position(|cell| estimate.pass(cell) >= rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(counts: &[(u64, u64)]) -> impl Iterator<Item = Cell> + Clone {
        counts.iter().map(|(answered, abandoned)| Cell { answered: *answered, abandoned: *abandoned })
    }

    /// Returns the share that is left after each bucket, in thousandths.
    fn curve(counts: &[(u64, u64)]) -> impl Iterator<Item = u64> {
        let mut estimate = ProductLimit::of(cells(counts)).unwrap();
        cells(counts).map(move |cell| {
            let passed = estimate.pass(cell);
            (u64::from(estimate.left(passed)) * 1_000 + (1 << 30)) >> 31
        })
    }

    #[test]
    fn without_what_was_abandoned_it_is_what_was_counted() {
        assert!(curve(&[(50, 0), (0, 0), (30, 0), (20, 0)]).eq([500, 500, 200, 0]));
        for (ten_thousandths, bucket) in [(0, 0), (5_000, 0), (5_001, 2), (8_000, 2), (8_001, 3), (10_000, 3)] {
            let quantile = Quantile::new(ten_thousandths).unwrap();
            assert_eq!(bucket_at(cells(&[(50, 0), (0, 0), (30, 0), (20, 0)]), quantile), Some(bucket), "{quantile}");
        }
        assert_eq!(bucket_at(cells(&[(0, 0)]), Quantile::P50), None);
    }

    /// The data are the leukaemia patients of Freireich and others (1963) who were given 6-MP, as in textbooks on
    /// survival. "Answered" means a relapse, "abandoned" means that a patient left the study. The buckets are the weeks
    /// 6, 7, 9, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 34 and 35.
    #[test]
    fn it_is_what_the_textbooks_tabulate() {
        let weeks = [
            (3, 1),
            (1, 0),
            (0, 1),
            (1, 1),
            (0, 1),
            (1, 0),
            (1, 0),
            (0, 1),
            (0, 1),
            (0, 1),
            (1, 0),
            (1, 0),
            (0, 1),
            (0, 2),
            (0, 1),
            (0, 1),
        ];
        // As in the textbooks, except for the last week, where the remaining weight stays.
        let expected = [857, 807, 807, 753, 753, 690, 627, 627, 627, 627, 538, 448, 448, 448, 448, 0];
        assert!(curve(&weeks).eq(expected));
        // The median is week 23.
        assert_eq!(bucket_at(cells(&weeks), Quantile::P50), Some(11));
    }

    #[test]
    fn any_counts_at_all_are_answered() {
        let full = [(Cell::MOST, Cell::MOST); 240];
        assert!(curve(&full).all(|left| left <= 1_000));
        assert_eq!(bucket_at(cells(&full), Quantile::new(10_000).unwrap()), Some(239));
        let answers = [(Cell::MOST, 0); 240];
        assert_eq!(bucket_at(cells(&answers), Quantile::P50), Some(119), "rather than what has overflowed");
        assert_eq!(bucket_at(cells(&[(0, 7), (0, 3)]), Quantile::P50), Some(1), "nothing but lower bounds");
        assert_eq!(bucket_at(cells(&[(0, 0), (1, 0)]), Quantile::new(0).unwrap()), Some(1));
    }
}

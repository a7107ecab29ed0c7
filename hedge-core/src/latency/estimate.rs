//! The distribution of latencies, estimated from answers and from lower bounds (censored samples): the product-limit
//! estimate (Kaplan and Meier, 1958).
//!
//! It is computed in the form "redistribute to the right" (Efron, 1967). Every sample begins with the same weight. An
//! abandoned attempt would have answered later, so it hands its weight on to all samples in later buckets, in equal parts.
//! So the estimate below the first abandoned attempt is exactly what was counted. Within a bucket, answers come before
//! abandoned attempts, as is usual for equal times. The weight that is left in the last bucket that is not empty stays
//! there, so the estimate errs to the short side where only abandoned attempts lie beyond.
//!
//! The estimate is right as long as the reason to abandon an attempt does not depend on how much longer it would have
//! taken. A backup's answer and a deadline do not depend on that.

use core::num::NonZeroU64;

use super::Quantile;

/// The weight that a sample begins with is 2 to this power, or less if there are too many samples for it.
const ONE_BITS: u32 = 20;

/// What a bucket holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cell {
    /// How many attempts took so long.
    pub(super) answered: u64,
    /// How many attempts were abandoned when they had taken so long.
    pub(super) abandoned: u64,
}

impl Cell {
    /// Counts saturate here.
    pub(super) const MOST: u64 = 1 << 40;

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            answered: self.answered.saturating_add(other.answered).min(Self::MOST),
            abandoned: self.abandoned.saturating_add(other.abandoned).min(Self::MOST),
        }
    }
}

/// The state of the estimate while it passes the buckets from the shortest on. Weights stay below 2^63: there are fewer
/// than 2^49 samples, and their weight in all never changes.
pub(super) struct ProductLimit {
    /// Samples in this bucket and beyond.
    ahead: u64,
    /// The weight of each of them.
    weight: u64,
    /// The weight of everything before this bucket.
    passed: u64,
    /// The weight of all samples.
    whole: NonZeroU64,
    /// The weight that a sample begins with, as a power of two.
    one_bits: u32,
}

impl ProductLimit {
    /// The state before the first bucket; `None` without samples.
    pub(super) fn of(cells: impl Iterator<Item = Cell>) -> Option<Self> {
        let ahead = NonZeroU64::new(cells.map(|cell| cell.answered + cell.abandoned).sum())?;
        let one_bits = ONE_BITS.min(ahead.leading_zeros().saturating_sub(1));
        let whole = NonZeroU64::new(ahead.get() << one_bits)?;
        Some(Self { ahead: ahead.get(), weight: 1 << one_bits, passed: 0, whole, one_bits })
    }

    /// Passes the next bucket. Returns the weight of everything up to its end.
    pub(super) fn pass(&mut self, cell: Cell) -> u64 {
        if cell == Cell::default() {
            return self.passed;
        }
        // Other threads may add samples meanwhile, so that more samples are passed than there were at the beginning.
        let beyond = self.ahead.saturating_sub(cell.answered);
        self.ahead = beyond.saturating_sub(cell.abandoned);
        match NonZeroU64::new(self.ahead) {
            None => self.passed = self.whole.get(),
            Some(ahead) => {
                let passed = self.passed.saturating_add(cell.answered.saturating_mul(self.weight));
                self.passed = passed.min(self.whole.get());
                if cell.abandoned > 0 {
                    // Rounded up, so that no rank is missed by what rounding takes away.
                    self.weight = self.weight.saturating_mul(beyond).saturating_add(ahead.get() - 1) / ahead;
                }
            }
        }
        self.passed
    }

    /// The weight of a quantile's share of the samples, which is a whole number of samples and at least one.
    fn rank(&self, quantile: Quantile) -> u64 {
        let samples = self.whole.get() >> self.one_bits;
        (samples * u64::from(quantile.ten_thousandths())).div_ceil(Quantile::WHOLE.into()).max(1) << self.one_bits
    }

    /// The weight beyond `passed`, as a share of the whole in units of 2^-31.
    pub(super) fn left(&self, passed: u64) -> u32 {
        let shift = self.whole.leading_zeros();
        let left = (self.whole.get() - passed.min(self.whole.get())) << shift >> 1;
        // The whole is shifted until its topmost bit is set, so that its upper half is precise enough to divide by. If all
        // is left, the quotient can be a little more than 2^31.
        NonZeroU64::new(self.whole.get() << shift >> 32)
            .map_or(0, |whole| u32::try_from((left / whole).min(1 << 31)).unwrap_or(0))
    }
}

/// The bucket that a quantile lies in: the first one that, together with all before it, holds that share of the samples.
/// `None` without samples.
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

    /// What is left after each bucket, in thousandths.
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

    /// The leukaemia patients of Freireich and others (1963) on 6-MP, as textbooks on survival tabulate them. "Answered" is
    /// a relapse, "abandoned" is a patient who left the study, in the weeks 6, 7, 9, 10, 11, 13, 16, 17, 19, 20, 22, 23,
    /// 25, 32, 34, 35.
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
        // As in the tables, except for the last week, where the remaining weight stays.
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

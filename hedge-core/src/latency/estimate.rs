//! What latencies were, from those that were seen and those that were only seen to be longer: the product-limit
//! estimate (Kaplan, Meier 1958).
//!
//! In its "redistribute to the right" form (Efron 1967): every sample weighs the same, and what was abandoned in a
//! bucket hands its weight on to all that lie in the buckets beyond. So what lies before the first that was abandoned
//! is exactly what was counted. Within a bucket, answers come before what was abandoned, as for equal times; and
//! whatever weight is left in the last bucket that holds anything stays there, so that the estimate errs to the short
//! side where nothing but abandoned attempts lie beyond.
//!
//! The estimate is right as long as what ends a wait does not depend on how long the rest of it would have been. A
//! backup's answer and a deadline do not.

use core::num::NonZeroU64;

use super::Quantile;

/// The weight of a sample that nothing was handed to, in fixed point, as a power of two, while there is room for it.
const ONE_BITS: u32 = 20;

/// What a bucket holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cell {
    /// How many took so long.
    pub(super) answered: u64,
    /// How many were abandoned when they had taken so long.
    pub(super) abandoned: u64,
}

impl Cell {
    /// More than that of either is not told apart.
    pub(super) const MOST: u64 = 1 << 40;

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            answered: self.answered.saturating_add(other.answered).min(Self::MOST),
            abandoned: self.abandoned.saturating_add(other.abandoned).min(Self::MOST),
        }
    }
}

/// The estimate on its way through the buckets, from the left. Weights stay below 2^63: there are fewer than 2^49
/// samples, and together they always weigh as much as they are.
pub(super) struct ProductLimit {
    /// Samples in this bucket and beyond.
    ahead: u64,
    /// What each of them weighs.
    weight: u64,
    /// What all before this bucket weigh.
    passed: u64,
    /// What all weigh.
    whole: NonZeroU64,
    /// What one weighs at first, as a power of two.
    one_bits: u32,
}

impl ProductLimit {
    /// Before the first bucket; `None` without samples.
    pub(super) fn of(cells: impl Iterator<Item = Cell>) -> Option<Self> {
        let ahead = NonZeroU64::new(cells.map(|cell| cell.answered + cell.abandoned).sum())?;
        let one_bits = ONE_BITS.min(ahead.leading_zeros().saturating_sub(1));
        let whole = NonZeroU64::new(ahead.get() << one_bits)?;
        Some(Self { ahead: ahead.get(), weight: 1 << one_bits, passed: 0, whole, one_bits })
    }

    /// Passes the next bucket; answers what all up to its end weigh.
    pub(super) fn pass(&mut self, cell: Cell) -> u64 {
        if cell == Cell::default() {
            return self.passed;
        }
        // Others may count while this is underway: then more is passed than there was.
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

    /// What a quantile's share of the samples weighs: a whole number of them, and at least one.
    fn rank(&self, quantile: Quantile) -> u64 {
        let samples = self.whole.get() >> self.one_bits;
        (samples * u64::from(quantile.ten_thousandths())).div_ceil(Quantile::WHOLE.into()).max(1) << self.one_bits
    }

    /// What the weight `passed` leaves, as a share of the whole in 2^-31.
    pub(super) fn left(&self, passed: u64) -> u32 {
        let shift = self.whole.leading_zeros();
        let left = (self.whole.get() - passed.min(self.whole.get())) << shift >> 1;
        // The whole's leading bit is the topmost now: its upper half is precise enough to divide by. Of the whole
        // itself may be left a little more than 2^31.
        NonZeroU64::new(self.whole.get() << shift >> 32)
            .map_or(0, |whole| u32::try_from((left / whole).min(1 << 31)).unwrap_or(0))
    }
}

/// The bucket that a quantile lies in: the first that, with all before it, holds that share of the samples; `None`
/// without samples.
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

    /// The leukaemia patients of Freireich and others (1963) on 6-MP, as every textbook on survival tabulates them:
    /// answered is a relapse, abandoned is who left the study, in the weeks 6, 7, 9, 10, 11, 13, 16, 17, 19, 20, 22,
    /// 23, 25, 32, 34, 35.
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
        // But for the last, where what is left stays.
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

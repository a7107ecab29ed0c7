//! The counts of half a window. Each bucket has one word, with 18 bits for answers and 14 bits for abandoned attempts.
//!
//! When a bucket is half full, all counts are halved. Each count then stands for 2, 4, 8, ... samples. Of every 2, 4,
//! 8, ... new samples, one is drawn at random and counted.

use super::estimate::Cell;
use super::grid::{self, BUCKETS};
use crate::atomic::{AtomicU32, Ordering};
use crate::time::Micros;

/// The counts are halved at most this many times. After the last halving, a bucket is half full again at 2^39 answers
/// or 2^35 abandoned attempts.
const MOST_HALVINGS: u32 = 22;
/// The number of bits of [`Half::drawing`] that hold the number of halvings.
const EXPONENT_BITS: u32 = 5;
/// The largest number of samples that are counted outside of the buckets. The room above this number is for additions
/// that have already begun.
const MOST_OUTSIDE: u32 = u32::MAX / 16 * 15;

/// The kind of a sample: it is a latency, or a lower bound of a latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sample {
    /// The attempt was answered. The sample is the attempt's latency.
    Answered,
    /// The attempt was abandoned. The attempt's latency would have been longer than the sample.
    Abandoned,
}

impl Sample {
    /// Returns the bits of a bucket's word that count this kind of sample. Answers use the lower bits, abandoned
    /// attempts use the upper bits.
    const fn mask(self) -> u32 {
        match self {
            Self::Answered => (1 << 18) - 1,
            Self::Abandoned => !Self::Answered.mask(),
        }
    }

    /// Returns the number to add to a word for one sample of this kind.
    const fn one(self) -> u32 {
        self.mask() & self.mask().wrapping_neg()
    }

    /// Returns how many samples of this kind a word counts.
    const fn count_in(self, word: u32) -> u32 {
        (word & self.mask()) / self.one()
    }

    /// Returns the count from which on the counts have to be halved.
    const fn half_full(self) -> u32 {
        self.count_in(u32::MAX) / 2 + 1
    }

    /// Returns the count from which on no more samples are added. The room above it, a sixteenth, is for threads that
    /// have already checked the count and are about to add a sample.
    const fn most(self) -> u32 {
        self.count_in(u32::MAX) / 16 * 15
    }
}

/// The samples that were recorded in half a window.
pub(crate) struct Half {
    /// One word for each bucket: the count of answers and the count of abandoned attempts.
    words: [AtomicU32; BUCKETS],
    /// The longest latency of an answer, in microseconds.
    max: AtomicU32,
    /// The number of samples that the words do not count: halving removed them, they were not drawn, or their bucket
    /// was full. The first number is for answers, the second one for abandoned attempts.
    outside: [AtomicU32; 2],
    /// The lower bits hold the number of halvings. The upper bits hold the number of samples since the first halving.
    drawing: AtomicU32,
}

impl Half {
    #[expect(clippy::declare_interior_mutable_const, reason = "each use is a new one")]
    pub(crate) const NEW: Self = Self {
        words: [const { AtomicU32::new(0) }; BUCKETS],
        max: AtomicU32::new(0),
        outside: [AtomicU32::new(0), AtomicU32::new(0)],
        drawing: AtomicU32::new(0),
    };

    /// Counts a sample. Returns true if the counts should now be halved to make room.
    pub(crate) fn add(&self, span: Micros, sample: Sample) -> bool {
        let Some(word) = self.words.get(grid::bucket_of(span)) else { return false };
        let exponent = self.exponent();
        let count = sample.count_in(word.load(Ordering::Relaxed));
        if count < sample.most() && (exponent == 0 || self.draws()) {
            word.fetch_add(sample.one(), Ordering::Relaxed);
        } else {
            self.count_outside(sample, 1);
        }
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
        if sample == Sample::Answered && micros > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(micros, Ordering::Relaxed);
        }
        count >= sample.half_full() && exponent < MOST_HALVINGS
    }

    /// Returns the estimated number of samples in a bucket. The estimate is computed from the samples that were
    /// counted.
    pub(super) fn cell(&self, bucket: usize) -> Cell {
        let word = self.words.get(bucket).map_or(0, |word| word.load(Ordering::Relaxed));
        let of = |sample: Sample| u64::from(sample.count_in(word)) << self.exponent();
        Cell { answered: of(Sample::Answered), abandoned: of(Sample::Abandoned) }
    }

    /// Returns the number of samples: first the answers, then the abandoned attempts. Each number is exact up to 4 *
    /// 10^9.
    pub(crate) fn counts(&self) -> [u64; 2] {
        let [answered, abandoned] = self.outside.each_ref().map(|count| u64::from(count.load(Ordering::Relaxed)));
        self.words.iter().fold([answered, abandoned], |[answered, abandoned], word| {
            let word = word.load(Ordering::Relaxed);
            let of = |sample: Sample| u64::from(sample.count_in(word));
            [answered + of(Sample::Answered), abandoned + of(Sample::Abandoned)]
        })
    }

    /// Returns the longest latency of an answer.
    pub(crate) fn max(&self) -> Micros {
        Micros::from_micros(self.max.load(Ordering::Relaxed).into())
    }

    pub(super) fn clear(&self) {
        for word in self.words.iter().chain(&self.outside).chain([&self.max, &self.drawing]) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Halves every count, so that each counted sample stands for twice as many. If a bucket's count is odd, the
    /// remainder is carried to the next bucket. So half of a tail is left even if each of its buckets has only one
    /// sample. Only one thread may call this at a time.
    pub(crate) fn halve_counts(&self) {
        if self.exponent() >= MOST_HALVINGS {
            return;
        }
        self.drawing.fetch_add(1, Ordering::Relaxed);
        for sample in [Sample::Answered, Sample::Abandoned] {
            let mut over = 0;
            for word in &self.words {
                let count = sample.count_in(word.load(Ordering::Relaxed));
                let half = (count + over) / 2;
                over = (count + over) % 2;
                if half < count {
                    // There is no underflow, since other threads can only add at the same time.
                    word.fetch_sub((count - half) * sample.one(), Ordering::Relaxed);
                    self.count_outside(sample, count - half);
                }
            }
        }
    }

    /// Returns whether at least one bucket is half full.
    pub(super) fn is_half_full(&self) -> bool {
        self.words.iter().any(|word| {
            let word = word.load(Ordering::Relaxed);
            [Sample::Answered, Sample::Abandoned].iter().any(|sample| sample.count_in(word) >= sample.half_full())
        })
    }

    /// Returns how many times the words were halved.
    fn exponent(&self) -> u32 {
        self.drawing.load(Ordering::Relaxed) & ((1 << EXPONENT_BITS) - 1)
    }

    /// Returns whether this sample is counted. Of every group of 2^exponent consecutive samples, one is counted. A hash
    /// of the group's number chooses which one. A fixed position would miss latencies that come in a regular order.
    fn draws(&self) -> bool {
        let drawing = self.drawing.fetch_add(1 << EXPONENT_BITS, Ordering::Relaxed);
        let (exponent, sample) = (drawing & ((1 << EXPONENT_BITS) - 1), drawing >> EXPONENT_BITS);
        let mixed = (sample >> exponent).wrapping_mul(0x9E37_79B9);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x846C_A68B);
        let drawn = (u64::from(mixed) << exponent) >> 32;
        u64::from(sample & ((1 << exponent) - 1)) == drawn
    }

    fn count_outside(&self, sample: Sample, count: u32) {
        let [answered, abandoned] = &self.outside;
        let outside = if sample == Sample::Answered { answered } else { abandoned };
        if outside.load(Ordering::Relaxed) < MOST_OUTSIDE {
            outside.fetch_add(count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Micros = Micros::from_micros(5);

    #[test]
    fn what_does_not_fit_is_in_no_bucket_but_counted_and_nothing_wraps() {
        let half = Half::NEW;
        for sample in [Sample::Answered, Sample::Abandoned] {
            (0..300_000).for_each(|_| {
                half.add(FIVE, sample);
            });
        }
        let cell = half.cell(5);
        assert_eq!([cell.answered, cell.abandoned], [Sample::Answered.most(), Sample::Abandoned.most()].map(u64::from));
        assert_eq!((half.cell(4), half.cell(6)), (Cell::default(), Cell::default()));
        assert_eq!(half.counts(), [300_000; 2]);
        assert!(half.is_half_full());
        while half.is_half_full() {
            half.halve_counts();
        }
        assert_eq!(half.counts(), [300_000; 2]);
        half.clear();
        assert_eq!((half.counts(), half.cell(5), half.exponent()), ([0; 2], Cell::default(), 0));
    }

    #[test]
    fn halving_keeps_every_share_and_every_count() {
        let half = Half::NEW;
        (0..1_000).for_each(|_| {
            half.add(FIVE, Sample::Answered);
        });
        // Each bucket of the tail has one sample. If each count were halved by itself, the tail would vanish.
        for octave in 4..32 {
            half.add(Micros::from_micros(1 << octave), Sample::Answered);
            half.add(Micros::from_micros(1 << octave), Sample::Abandoned);
        }
        half.halve_counts();
        half.halve_counts();
        assert_eq!(half.counts(), [1_028, 28]);
        let of_tail = (6..BUCKETS).map(|bucket| half.cell(bucket));
        let tail = of_tail.fold(Cell::default(), Cell::plus);
        assert_eq!((half.cell(5).answered, tail.answered, tail.abandoned), (1_000, 28, 28));
    }

    #[test]
    fn after_halving_samples_weigh_what_those_before_did() {
        let half = Half::NEW;
        (0..8).for_each(|_| {
            half.add(FIVE, Sample::Answered);
        });
        (0..3).for_each(|_| half.halve_counts());
        // Latencies alternate, as if from two servers. If exactly every eighth sample were counted, only one of the
        // servers would be seen.
        for turn in 0..80_000_u64 {
            half.add(Micros::from_micros(6 + turn % 2), Sample::Answered);
        }
        assert_eq!((half.cell(5).answered, half.counts()), (8, [80_008, 0]));
        let [six, seven] = [6, 7].map(|bucket| half.cell(bucket).answered);
        assert_eq!(six + seven, 80_000, "one of every eight");
        assert!(six.abs_diff(seven) < 2_400, "{six} and {seven}");
    }

    #[test]
    fn halving_has_an_end() {
        let half = Half::NEW;
        (0..40).for_each(|_| half.halve_counts());
        assert_eq!(half.exponent(), MOST_HALVINGS);
        while half.cell(5).answered < u64::from(Sample::Answered.half_full()) << MOST_HALVINGS {
            half.words[5].fetch_add(Sample::Answered.half_full(), Ordering::Relaxed);
        }
        assert!(half.is_half_full() && !half.add(FIVE, Sample::Answered), "nobody is sent to make room");
        half.outside[0].store(u32::MAX, Ordering::Relaxed);
        (0..1_000).for_each(|_| {
            half.add(FIVE, Sample::Answered);
        });
        assert!(half.counts()[0] > u64::from(u32::MAX), "no count wraps");
    }
}

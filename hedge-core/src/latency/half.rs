//! The counts of half a window: one word per bucket, with 18 bits for answers and 14 for abandoned attempts.
//!
//! When there is no room left, all counts are halved. Each count then stands for 2, 4, 8, ... samples, and of so many new
//! samples one is drawn at random and counted.

use super::estimate::Cell;
use super::grid::{self, BUCKETS};
use crate::atomic::{AtomicU32, Ordering};
use crate::time::Micros;

/// How often the counts can be halved. By then a bucket has counted 2^39 samples.
const MOST_HALVINGS: u32 = 22;
/// The bits of [`Half::drawing`] that hold how often the counts were halved.
const EXPONENT_BITS: u32 = 5;
/// From this number on, no more samples are counted outside of the buckets. The rest is room for additions under way.
const MOST_OUTSIDE: u32 = u32::MAX / 16 * 15;

/// What is known of a latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sample {
    /// The latency itself.
    Answered,
    /// A lower bound: the latency is longer.
    Abandoned,
}

impl Sample {
    /// The bits of a bucket's word that count this kind: answers in the lower ones, abandoned attempts in the upper ones.
    const fn mask(self) -> u32 {
        match self {
            Self::Answered => (1 << 18) - 1,
            Self::Abandoned => !Self::Answered.mask(),
        }
    }

    /// One sample of this kind, as it is added to a word.
    const fn one(self) -> u32 {
        self.mask() & self.mask().wrapping_neg()
    }

    /// How many of this kind a word holds.
    const fn count_in(self, word: u32) -> u32 {
        (word & self.mask()) / self.one()
    }

    /// The count from which on the half has to be halved.
    const fn half_full(self) -> u32 {
        self.count_in(u32::MAX) / 2 + 1
    }

    /// The count from which on no more are added. The sixteenth above it is room for threads that have looked at the count
    /// already and are about to add.
    const fn most(self) -> u32 {
        self.count_in(u32::MAX) / 16 * 15
    }
}

/// What was recorded in half a window.
pub(crate) struct Half {
    /// One word for each bucket. It holds how many answers and how many abandoned attempts the bucket counts.
    words: [AtomicU32; BUCKETS],
    /// The longest answer, in microseconds.
    max: AtomicU32,
    /// How many samples the words do not hold, since they were halved away or not drawn: answers, abandoned.
    outside: [AtomicU32; 2],
    /// From the lowest bit: how often the words were halved, and how many samples have come since.
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

    /// Counts a sample. True if the counts should be halved to make room.
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

    /// How many samples of a bucket there were, estimated from those that were drawn.
    pub(super) fn cell(&self, bucket: usize) -> Cell {
        let word = self.words.get(bucket).map_or(0, |word| word.load(Ordering::Relaxed));
        let of = |sample: Sample| u64::from(sample.count_in(word)) << self.exponent();
        Cell { answered: of(Sample::Answered), abandoned: of(Sample::Abandoned) }
    }

    /// How many samples there were, exactly: answers, abandoned.
    pub(crate) fn counts(&self) -> [u64; 2] {
        let [answered, abandoned] = self.outside.each_ref().map(|count| u64::from(count.load(Ordering::Relaxed)));
        self.words.iter().fold([answered, abandoned], |[answered, abandoned], word| {
            let word = word.load(Ordering::Relaxed);
            let of = |sample: Sample| u64::from(sample.count_in(word));
            [answered + of(Sample::Answered), abandoned + of(Sample::Abandoned)]
        })
    }

    /// The longest answer.
    pub(crate) fn max(&self) -> Micros {
        Micros::from_micros(self.max.load(Ordering::Relaxed).into())
    }

    pub(super) fn clear(&self) {
        for word in self.words.iter().chain(&self.outside).chain([&self.max, &self.drawing]) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Halves every count, and lets each stand for twice as many samples. The remainder of a bucket is carried to the next
    /// bucket, so that half of a tail of single samples is left. Only one thread may do this at a time.
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
                    // Other threads only add meanwhile.
                    word.fetch_sub((count - half) * sample.one(), Ordering::Relaxed);
                    self.count_outside(sample, count - half);
                }
            }
        }
    }

    /// Whether some bucket is half full.
    pub(super) fn is_half_full(&self) -> bool {
        self.words.iter().any(|word| {
            let word = word.load(Ordering::Relaxed);
            [Sample::Answered, Sample::Abandoned].iter().any(|sample| sample.count_in(word) >= sample.half_full())
        })
    }

    /// How often the words were halved.
    fn exponent(&self) -> u32 {
        self.drawing.load(Ordering::Relaxed) & ((1 << EXPONENT_BITS) - 1)
    }

    /// Whether this sample is counted. Of every group of 2^exponent consecutive samples one is, at a position that a hash
    /// of the group's number chooses. A fixed position would miss latencies that come in a regular order.
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
        // A tail of single samples. Halved by itself, each would become nothing.
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
        // Alternating, as from two servers: a fixed choice of every eighth would see one of them only.
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

//! Half a window's counts: a word a bucket, 18 bits for answers and 14 for what was abandoned.

use super::estimate::Cell;
use super::grid::{self, BUCKETS};
use crate::atomic::{AtomicU32, Ordering};
use crate::time::Duration;

/// What is known of a latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sample {
    /// It was so long.
    Answered,
    /// It is longer.
    Abandoned,
}

impl Sample {
    /// The bits of a bucket's word that count it: answers below, what was abandoned above.
    const fn mask(self) -> u32 {
        match self {
            Self::Answered => (1 << 18) - 1,
            Self::Abandoned => !Self::Answered.mask(),
        }
    }

    /// One of it in a word.
    const fn one(self) -> u32 {
        self.mask() & self.mask().wrapping_neg()
    }

    /// How many a word holds.
    const fn count_in(self, word: u32) -> u32 {
        (word & self.mask()) / self.one()
    }

    /// From how many on its half has to be halved.
    const fn crowd(self) -> u32 {
        self.count_in(u32::MAX) / 2 + 1
    }

    /// From how many on there is room only for those that have looked already: as many threads as that at most.
    const fn most(self) -> u32 {
        self.count_in(u32::MAX) / 16 * 15
    }
}

/// What was recorded in half a window.
pub(super) struct Half {
    /// By bucket.
    words: [AtomicU32; BUCKETS],
    /// The longest answer, in microseconds.
    max: AtomicU32,
    /// How many samples were taken out of the words to make room: answers, abandoned.
    relieved: [AtomicU32; 2],
}

impl Half {
    #[expect(clippy::declare_interior_mutable_const, reason = "each use is a new one")]
    pub(super) const NEW: Self = Self {
        words: [const { AtomicU32::new(0) }; BUCKETS],
        max: AtomicU32::new(0),
        relieved: [AtomicU32::new(0), AtomicU32::new(0)],
    };

    /// Counts a sample; whether there should be more room.
    pub(super) fn add(&self, span: Duration, sample: Sample) -> bool {
        let Some(word) = self.words.get(grid::bucket_of(span)) else { return false };
        let count = sample.count_in(word.load(Ordering::Relaxed));
        if count < sample.most() {
            word.fetch_add(sample.one(), Ordering::Relaxed);
        }
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
        if sample == Sample::Answered && micros > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(micros, Ordering::Relaxed);
        }
        count >= sample.crowd()
    }

    pub(super) fn cell(&self, bucket: usize) -> Cell {
        let word = self.words.get(bucket).map_or(0, |word| word.load(Ordering::Relaxed));
        Cell { answered: Sample::Answered.count_in(word), abandoned: Sample::Abandoned.count_in(word) }
    }

    pub(super) fn clear(&self) {
        let [answered, abandoned] = &self.relieved;
        for word in self.words.iter().chain([&self.max, answered, abandoned]) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Halves every count. What one leaves over goes to the next, so that a tail of ones becomes half as many.
    pub(super) fn relieve(&self) {
        for (sample, relieved) in [Sample::Answered, Sample::Abandoned].into_iter().zip(&self.relieved) {
            let (mut over, mut taken) = (0, 0);
            for word in &self.words {
                let count = sample.count_in(word.load(Ordering::Relaxed));
                let half = (count + over) / 2;
                over = (count + over) % 2;
                // Others only add meanwhile.
                word.fetch_sub((count - half) * sample.one(), Ordering::Relaxed);
                taken += count - half;
            }
            relieved.store(relieved.load(Ordering::Relaxed).saturating_add(taken), Ordering::Relaxed);
        }
    }

    /// The longest answer.
    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.max.load(Ordering::Relaxed).into())
    }

    /// How many samples were counted that the buckets do not hold any more.
    pub(super) fn relieved(&self) -> [u64; 2] {
        self.relieved.each_ref().map(|count| count.load(Ordering::Relaxed).into())
    }

    /// Whether some bucket is half full.
    pub(super) fn is_crowded(&self) -> bool {
        self.words.iter().any(|word| {
            let word = word.load(Ordering::Relaxed);
            [Sample::Answered, Sample::Abandoned].iter().any(|sample| sample.count_in(word) >= sample.crowd())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_counted_and_nothing_wraps() {
        let (half, five) = (Half::NEW, Duration::from_micros(5));
        for sample in [Sample::Answered, Sample::Abandoned] {
            (0..300_000).for_each(|_| {
                half.add(five, sample);
            });
        }
        let cell = half.cell(5);
        assert_eq!((cell.answered, cell.abandoned), (Sample::Answered.most(), Sample::Abandoned.most()));
        assert_eq!((half.cell(4), half.cell(6)), (Cell::default(), Cell::default()));
        assert!(half.is_crowded());
        while half.is_crowded() {
            half.relieve();
        }
        assert_eq!(half.relieved()[0] + u64::from(half.cell(5).answered), u64::from(Sample::Answered.most()));
    }
}

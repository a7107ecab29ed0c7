//! What was granted over a sliding window, some of which is given back: [`Grants`].

use super::ratio::WHOLE;
use crate::atomic::{AtomicU64, Ordering};
use crate::time::Instant;
use crate::window::{Moment, SlidingCount};

/// A count of grants. What is given back goes on counting, as a window's counts only grow, but is there for the next who asks
/// in its bucket.
#[derive(Debug)]
pub(super) struct Grants<const N: usize> {
    counted: SlidingCount<N>,
    /// The bucket above, and how many of its grants were given back below.
    spare: AtomicU64,
    /// How many ever were given back and not granted again.
    unused: AtomicU64,
}

/// How many of one bucket can be spare: more are lost to whoever asks.
const MOST_SPARE: u64 = 0xFFFF;

impl<const N: usize> Grants<N> {
    pub(super) fn new(counted: SlidingCount<N>) -> Self {
        Self { counted, spare: AtomicU64::new(0), unused: AtomicU64::new(0) }
    }

    pub(super) const fn counted(&self) -> &SlidingCount<N> {
        &self.counted
    }

    /// How many ever, but for those that were given back; wraps.
    pub(super) fn used_at(&self, moment: Moment) -> u64 {
        let unused = self.unused.load(Ordering::SeqCst);
        self.counted.ever_at(moment).wrapping_sub(unused)
    }

    /// Whether any was given back lately.
    pub(super) fn has_spare(&self) -> bool {
        self.spare.load(Ordering::SeqCst) != 0
    }

    /// One that was granted at `now` is not used. It counts all the same once its bucket is over.
    pub(super) fn give_back(&self, now: Instant) {
        self.unused.fetch_add(1, Ordering::SeqCst);
        let bucket = self.bucket(now);
        let _ = self.spare.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            Some(bucket << 16 | (spare_of(word, bucket) + 1).min(MOST_SPARE))
        });
    }

    /// Grants one that was given back, if all that are in use, this one included, come to at most what `most` answers for how
    /// many they are without it. It counts already.
    pub(super) fn take_spare(&self, now: Instant, most: impl Fn(u64) -> u64) -> bool {
        let bucket = self.bucket(now);
        // None left is 0, so that who finds that need not look further.
        let take = |word| {
            let spare = spare_of(word, bucket);
            let left = spare.checked_sub(1)?;
            let in_use = self.counted.covering(now).saturating_sub(spare);
            let fits = (in_use + 1) * u64::from(WHOLE) <= most(in_use);
            fits.then_some(if left == 0 { 0 } else { bucket << 16 | left })
        };
        let is_taken = self.spare.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if is_taken {
            self.unused.fetch_sub(1, Ordering::SeqCst);
        }
        is_taken
    }

    /// Modulo 2^48, which is enough to tell a bucket from others that live.
    const fn bucket(&self, now: Instant) -> u64 {
        self.counted.bucket_of(now) & (u64::MAX >> 16)
    }
}

/// How many of a bucket's grants are spare.
const fn spare_of(word: u64, bucket: u64) -> u64 {
    if word >> 16 == bucket { word & MOST_SPARE } else { 0 }
}

//! Grants over a sliding window, some of which are given back: [`Grants`].

use super::ratio::WHOLE;
use crate::atomic::{AtomicU64, Ordering};
use crate::time::Instant;
use crate::window::{ScaledInstant, SlidingCount};

/// A count of grants. A grant that is given back goes on counting, since a window's counts only grow. The next
/// request within the same bucket gets it.
#[derive(Debug)]
pub(super) struct Grants<const N: usize> {
    counted: SlidingCount<N>,
    /// A bucket in the upper bits, and how many of its grants were returned and are free in the lower 16.
    returned: AtomicU64,
    /// How many were ever given back and not granted again.
    unused: AtomicU64,
}

/// How many returned grants of one bucket are kept. If more are given back, the next requests do not get them.
const MOST_RETURNED: u64 = 0xFFFF;

impl<const N: usize> Grants<N> {
    pub(super) fn new(counted: SlidingCount<N>) -> Self {
        Self { counted, returned: AtomicU64::new(0), unused: AtomicU64::new(0) }
    }

    /// A count of the same window that goes on from here.
    pub(super) fn copy(&self) -> Self {
        // A grant that is given back or taken again meanwhile counts as used at most once too often.
        let returned = AtomicU64::new(self.returned.load(Ordering::SeqCst));
        let unused = AtomicU64::new(self.unused.load(Ordering::SeqCst));
        Self { counted: self.counted.copy(), returned, unused }
    }

    /// Counts a grant that is not used, so that the window has begun.
    pub(super) fn begin(&self, now: Instant) {
        self.counted.add(now, 1);
        self.unused.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) const fn counted(&self) -> &SlidingCount<N> {
        &self.counted
    }

    /// How many were ever granted, without those that were given back; wraps.
    pub(super) fn used_at(&self, at: ScaledInstant) -> u64 {
        let unused = self.unused.load(Ordering::SeqCst);
        self.counted.ever_at(at).wrapping_sub(unused)
    }

    /// Whether there may be a returned grant.
    pub(super) fn has_returned(&self) -> bool {
        self.returned.load(Ordering::SeqCst) != 0
    }

    /// Gives back a grant of `now` that is not used. Once its bucket is over it can no longer be taken, but the window
    /// still counts it.
    pub(super) fn give_back(&self, now: Instant) {
        self.unused.fetch_add(1, Ordering::SeqCst);
        let bucket = self.bucket(now);
        let _ = self.returned.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            Some(bucket << 16 | (returned_of(word, bucket) + 1).min(MOST_RETURNED))
        });
    }

    /// Takes a returned grant, if all grants in use, this one included, come to at most what `most` answers for their number
    /// without it. The window counts it already.
    pub(super) fn take_returned(&self, now: Instant, most: impl Fn(u64) -> u64) -> bool {
        let bucket = self.bucket(now);
        // If none is left the word is 0, so that `has_returned` is false.
        let take = |word| {
            let returned = returned_of(word, bucket);
            let left = returned.checked_sub(1)?;
            let in_use = self.counted.covering(now).saturating_sub(returned);
            let fits = (in_use + 1) * u64::from(WHOLE) <= most(in_use);
            fits.then_some(if left == 0 { 0 } else { bucket << 16 | left })
        };
        let is_taken = self.returned.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if is_taken {
            self.unused.fetch_sub(1, Ordering::SeqCst);
        }
        is_taken
    }

    /// A bucket's number modulo 2^48, which is enough to tell apart all buckets in use.
    const fn bucket(&self, now: Instant) -> u64 {
        self.counted.bucket_of(now) & (u64::MAX >> 16)
    }
}

/// How many of a bucket's grants were returned and are free.
const fn returned_of(word: u64, bucket: u64) -> u64 {
    if word >> 16 == bucket { word & MOST_RETURNED } else { 0 }
}

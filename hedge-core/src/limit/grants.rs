//! Counts permissions (grants) over a sliding window: [`Grants`]. A grant can be given back.

use super::ratio::WHOLE;
use crate::atomic::{AtomicU64, Ordering};
use crate::time::Instant;
use crate::window::{ScaledInstant, SlidingCount};

/// A count of grants. A window cannot subtract, so it still counts a grant that was given back. But the next request
/// within the same bucket gets that grant again.
#[derive(Debug)]
pub(super) struct Grants<const N: usize> {
    counted: SlidingCount<N>,
    /// The grants of one bucket that were given back and can be taken again. The upper 48 bits are the number of the
    /// bucket. The lower 16 bits are the number of grants.
    returned: AtomicU64,
    /// How many grants, since the start, were given back and not taken again.
    unused: AtomicU64,
}

/// The largest number of returned grants of a bucket that can be taken again. Further returned grants are lost.
const MOST_RETURNED: u64 = 0xFFFF;

impl<const N: usize> Grants<N> {
    pub(super) fn new(counted: SlidingCount<N>) -> Self {
        Self { counted, returned: AtomicU64::new(0), unused: AtomicU64::new(0) }
    }

    /// Makes a count of the same window that continues from this count.
    pub(super) fn copy(&self) -> Self {
        // If a grant is given back or taken again during the copying, the copy may count an unused grant as used. This
        // error never allows too much.
        let returned = AtomicU64::new(self.returned.load(Ordering::SeqCst));
        let unused = AtomicU64::new(self.unused.load(Ordering::SeqCst));
        Self { counted: self.counted.copy(), returned, unused }
    }

    /// Counts one grant, so that the window is not empty. The grant is marked as unused, so [`Self::used_at`] does not
    /// count it.
    pub(super) fn begin(&self, now: Instant) {
        self.counted.add(now, 1);
        self.unused.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) const fn counted(&self) -> &SlidingCount<N> {
        &self.counted
    }

    /// Returns how many grants were used since the start. Grants that were given back do not count. The number wraps.
    pub(super) fn used_at(&self, at: ScaledInstant) -> u64 {
        let unused = self.unused.load(Ordering::SeqCst);
        self.counted.ever_at(at).wrapping_sub(unused)
    }

    /// Returns whether there may be a returned grant that can be taken.
    pub(super) fn has_returned(&self) -> bool {
        self.returned.load(Ordering::SeqCst) != 0
    }

    /// Gives back an unused grant that was made at `now`. The grant can be taken again until its bucket is over. The
    /// window counts the grant in any case.
    pub(super) fn give_back(&self, now: Instant) {
        self.unused.fetch_add(1, Ordering::SeqCst);
        let bucket = self.bucket(now);
        let _ = self.returned.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            Some(bucket << 16 | (returned_of(word, bucket) + 1).min(MOST_RETURNED))
        });
    }

    /// Takes a returned grant if the bound allows it. Returns whether a grant was taken. `most` gets the number of the
    /// other grants in use, and returns the bound for these grants and this grant together, in millionths of a grant.
    /// The window already counts the returned grant.
    pub(super) fn take_returned(&self, now: Instant, most: impl Fn(u64) -> u64) -> bool {
        let bucket = self.bucket(now);
        // When the last returned grant is taken, the word becomes 0, so that `has_returned` is false.
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

    /// Returns the number of the bucket of `now`, modulo 2^48. All buckets in use have different numbers.
    const fn bucket(&self, now: Instant) -> u64 {
        self.counted.bucket_of(now) & (u64::MAX >> 16)
    }
}

/// Returns how many returned grants of this bucket can be taken.
const fn returned_of(word: u64, bucket: u64) -> u64 {
    if word >> 16 == bucket { word & MOST_RETURNED } else { 0 }
}

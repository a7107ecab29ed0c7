//! What was granted over a sliding window, some of which is given back: [`Grants`].

use crate::atomic::{AtomicU64, Ordering};
use crate::time::Instant;
use crate::window::{Claim, SlidingCount};

/// A count of grants. What is given back goes on counting, as a window's counts only grow, but is there for the next who asks
/// in its bucket.
#[derive(Debug)]
pub(super) struct Grants<const N: usize> {
    counted: SlidingCount<N>,
    /// The bucket above, and how many of its grants were given back below.
    spare: AtomicU64,
}

/// How many of one bucket can be spare: more are lost to whoever asks.
const MOST_SPARE: u64 = 0xFFFF;

impl<const N: usize> Grants<N> {
    pub(super) fn new(counted: SlidingCount<N>) -> Self {
        Self { counted, spare: AtomicU64::new(0) }
    }

    pub(super) const fn counted(&self) -> &SlidingCount<N> {
        &self.counted
    }

    /// Grants one if so many in the window, this one included, are allowed.
    ///
    /// One that was given back goes first: another limit that refuses all that this one grants would use this one up.
    pub(super) fn grant(&self, now: Instant, allows: impl Fn(u64) -> bool) -> bool {
        if self.spare.load(Ordering::SeqCst) != 0 && self.take_spare(now, &allows) {
            return true;
        }
        match self.counted.claim(now, |granted| allows(granted.saturating_add(1))) {
            Claim::Granted => true,
            Claim::Refused => false,
            Claim::TooMuch => {
                self.give_back(now);
                false
            }
        }
    }

    /// One that was granted at `now` is not used. It counts all the same once its bucket is over.
    pub(super) fn give_back(&self, now: Instant) {
        let bucket = self.bucket(now);
        let _ = self.spare.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            Some(bucket << 16 | (spare_of(word, bucket) + 1).min(MOST_SPARE))
        });
    }

    /// Grants one that was given back: it counts already.
    #[cold]
    fn take_spare(&self, now: Instant, allows: impl Fn(u64) -> bool) -> bool {
        let bucket = self.bucket(now);
        if spare_of(self.spare.load(Ordering::SeqCst), bucket) == 0 || !allows(self.counted.covering(now)) {
            return false;
        }
        // None left is 0, so that who finds that need not look further.
        let take = |word| match spare_of(word, bucket) {
            0 => None,
            1 => Some(0),
            spare => Some(bucket << 16 | (spare - 1)),
        };
        self.spare.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
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

//! The burst of a ratio limit, which pays where a window does not: [`Savings`].

use super::ratio::WHOLE;
use crate::atomic::{AtomicU64, Ordering};

/// An account that begins full. Grants draw on it, completed calls pay in, and it never holds more than its maximum. So
/// over any time, what is granted from it is at most what calls paid in, and once the maximum.
///
/// It is brought up to date only when a window does not pay for a grant: then all grants and calls since the last time are
/// booked at once. If grants have drawn more than there was, the account is empty and not in debt, since the window has
/// paid for those grants.
#[derive(Debug)]
pub(super) struct Savings {
    /// The value that `taken` had when the account was full (see [`Self::left`]), in millionths; wraps. So the balance is
    /// the maximum less what `taken` has grown since.
    full: AtomicU64,
    /// The most that it holds, in whole grants.
    most: u32,
}

impl Savings {
    pub(super) const fn new(most: u32) -> Self {
        Self { full: AtomicU64::new(0), most }
    }

    /// An account that holds `saved` millionths, or its maximum if that is less, at this value of `taken`.
    pub(super) fn holding(most: u32, saved: u64, taken: u64) -> Self {
        let savings = Self::new(most);
        let missing = savings.most() - saved.min(savings.most());
        savings.full.store(taken.wrapping_sub(missing), Ordering::Relaxed);
        savings
    }

    /// The most that it holds, in millionths.
    pub(super) fn most(&self) -> u64 {
        u64::from(self.most) * u64::from(WHOLE)
    }

    /// The value of `taken` when the account was full. It must be read before `taken` is computed, so that what another
    /// thread draws in between counts.
    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::SeqCst)
    }

    /// How much is left, in millionths. `taken` is what all grants have ever drawn, less what all calls have ever paid in.
    pub(super) fn left(&self, full: u64, taken: u64) -> u64 {
        let missing = taken.wrapping_sub(full);
        if missing <= self.most() {
            self.most() - missing
        } else if missing > u64::MAX / 2 {
            // `missing` is negative: calls have paid in more than there is room for.
            self.fill(full, taken)
        } else {
            self.settle(full, taken.wrapping_sub(self.most()));
            0
        }
    }

    /// Makes the account full again.
    pub(super) fn fill(&self, full: u64, taken: u64) -> u64 {
        self.settle(full, taken);
        self.most()
    }

    fn settle(&self, full: u64, settled: u64) {
        if settled != full {
            // If this fails, another thread has stored as much.
            let _ = self.full.compare_exchange(full, settled, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}

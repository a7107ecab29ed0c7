//! What is saved up for calls that a window does not pay for: [`Savings`].

use super::ratio::WHOLE;
use crate::atomic::{AtomicU64, Ordering};

/// A stock that is full to begin with. Grants take from it, calls bring, and it never holds more than its most: over any time,
/// what is granted from it is what calls brought, and once its most.
///
/// It is looked at only when a window does not pay for a grant, and then takes in all grants and calls since the last look at
/// once. What was taken beyond what there was is forgiven: the window paid for that.
#[derive(Debug)]
pub(super) struct Savings {
    /// What grants had taken and calls had not brought when it was full, in millionths; wraps.
    full: AtomicU64,
    /// The most that it holds, in whole grants.
    most: u32,
}

impl Savings {
    pub(super) const fn new(most: u32) -> Self {
        Self { full: AtomicU64::new(0), most }
    }

    /// The most that it holds, in millionths.
    pub(super) fn most(&self) -> u64 {
        u64::from(self.most) * u64::from(WHOLE)
    }

    /// What was taken and not brought when it was last full. To be read before that is counted now: what another takes
    /// meanwhile counts.
    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::SeqCst)
    }

    /// How much is left, in millionths. `taken` is what all grants that there ever were have taken and calls have not brought.
    pub(super) fn left(&self, full: u64, taken: u64) -> u64 {
        let missing = taken.wrapping_sub(full);
        if missing <= self.most() {
            self.most() - missing
        } else if missing > u64::MAX / 2 {
            // Less than nothing: calls have brought more than there is room for.
            self.fill(full, taken)
        } else {
            self.settle(full, taken.wrapping_sub(self.most()));
            0
        }
    }

    /// It is full again.
    pub(super) fn fill(&self, full: u64, taken: u64) -> u64 {
        self.settle(full, taken);
        self.most()
    }

    fn settle(&self, full: u64, settled: u64) {
        if settled != full {
            // One who comes first knows as much.
            let _ = self.full.compare_exchange(full, settled, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}

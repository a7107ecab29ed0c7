//! The burst of a ratio limit: [`Savings`]. The savings allow backups when the calls in a window do not allow them.

use super::ratio::WHOLE;
use crate::atomic::{AtomicU64, Ordering};

/// An account that is full at the beginning. Backups take from the account, and completed calls add to it. The account
/// never holds more than its maximum. So over any period, backups take at most the maximum plus the amount that calls
/// have added.
///
/// The account is updated only when the calls in a window do not allow a backup. Then all backups and calls since the
/// last update are booked at once. If the backups took more than the account held, the account becomes empty and has no
/// debt: the calls in the window had allowed the other backups.
#[derive(Debug)]
pub(super) struct Savings {
    /// The value of `taken` (see [`Self::left`]) at which the account was full, in millionths. The value wraps. The
    /// balance is the maximum minus the growth of `taken` since then.
    full: AtomicU64,
    /// The maximum of the account, in whole grants.
    most: u32,
}

impl Savings {
    pub(super) const fn new(most: u32) -> Self {
        Self { full: AtomicU64::new(0), most }
    }

    /// Makes an account that holds `saved` millionths of a backup at this value of `taken`, but not more than its
    /// maximum.
    pub(super) fn holding(most: u32, saved: u64, taken: u64) -> Self {
        let savings = Self::new(most);
        let missing = savings.most() - saved.min(savings.most());
        savings.full.store(taken.wrapping_sub(missing), Ordering::Relaxed);
        savings
    }

    /// Returns the maximum of the account, in millionths.
    pub(super) fn most(&self) -> u64 {
        u64::from(self.most) * u64::from(WHOLE)
    }

    /// Returns the value of `taken` at which the account was full. Call this function before you compute `taken`. Then
    /// `taken` includes a backup that another thread gets at the same time.
    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::SeqCst)
    }

    /// Returns the balance, in millionths of a backup. `taken` is the number of all backups since the start, minus the
    /// number of backups that completed calls have added since the start.
    pub(super) fn left(&self, full: u64, taken: u64) -> u64 {
        let missing = taken.wrapping_sub(full);
        if missing <= self.most() {
            self.most() - missing
        } else if missing > u64::MAX / 2 {
            // Here `missing` is negative: calls have added more than the account can hold.
            self.fill(full, taken)
        } else {
            self.settle(full, taken.wrapping_sub(self.most()));
            0
        }
    }

    /// Makes the account full at this value of `taken`. `full` is the value of `taken` at which it was full before.
    /// Returns the new balance, in millionths.
    pub(super) fn fill(&self, full: u64, taken: u64) -> u64 {
        self.settle(full, taken);
        self.most()
    }

    fn settle(&self, full: u64, settled: u64) {
        if settled != full {
            // If this exchange fails, another thread has stored the same state or a later one.
            let _ = self.full.compare_exchange(full, settled, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}

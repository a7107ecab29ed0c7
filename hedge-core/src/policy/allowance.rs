//! An account of permissions that grows with each completed call: [`Allowance`].

use crate::atomic::{AtomicU32, Ordering};

/// The number that means one permission. The account counts in millionths.
const ONE: u32 = 1_000_000;

/// An account of permissions. Each completed call adds a share of one permission, and each use takes a whole
/// permission. So over any period, the number of uses is at most the bound plus the sum of the shares that were added
/// during that time.
///
/// Cost: the account takes 12 bytes. Adding is one load while the account is full, which is usual. Otherwise it is one
/// load and one compare-and-swap. Taking a permission is one load and one compare-and-swap.
#[derive(Debug)]
pub(crate) struct Allowance {
    held: AtomicU32,
    most: u32,
    share: u32,
}

impl Allowance {
    /// Makes a full account. It holds at most `bound` permissions. `bound` must be at most 4294, so that the account
    /// does not overflow. Each call adds `millionths` millionths of a permission.
    pub(crate) const fn new(bound: u32, millionths: u32) -> Self {
        let most = bound * ONE;
        Self { held: AtomicU32::new(most), most, share: millionths }
    }

    /// Adds the share of one completed call.
    pub(crate) fn pay(&self) {
        self.add(self.share);
    }

    /// Takes one permission. If less than one permission is left, returns false and changes nothing.
    pub(crate) fn draw(&self) -> bool {
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| held.checked_sub(ONE)).is_ok()
    }

    /// Gives back a permission that was taken and not used.
    pub(crate) fn give_back(&self) {
        self.add(ONE);
    }

    fn add(&self, millionths: u32) {
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            Some(held.saturating_add(millionths).min(self.most)).filter(|more| *more != held)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_no_more_is_drawn_than_was_paid_and_saved() {
        let allowance = Allowance::new(2, 300_000);
        let drawn = || (0..100).take_while(|_| allowance.draw()).count();
        assert_eq!(drawn(), 2);
        (0..3).for_each(|_| allowance.pay());
        assert_eq!(drawn(), 0, "three times 0.3");
        allowance.pay();
        assert_eq!(drawn(), 1, "and 0.2 are left");
        (0..100).for_each(|_| allowance.pay());
        assert_eq!(drawn(), 2, "no more is saved");
        allowance.give_back();
        assert_eq!(drawn(), 1);
    }
}

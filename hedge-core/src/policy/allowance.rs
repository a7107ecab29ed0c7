//! A share of calls, saved up to a bound: [`Allowance`].

use crate::atomic::{AtomicU32, Ordering};

/// What one costs, in millionths.
const ONE: u32 = 1_000_000;

/// An account. Each completed call pays in a share, and each use draws one. So over any time, at most the bound and the
/// share of the calls that completed meanwhile are drawn.
///
/// Cost: 12 bytes. Paying in is one load while the account is full, which is the usual case, and otherwise one
/// compare-and-swap. Drawing is one compare-and-swap.
#[derive(Debug)]
pub(crate) struct Allowance {
    held: AtomicU32,
    most: u32,
    share: u32,
}

impl Allowance {
    /// A full account. It holds at most `bound`, which is up to 4000, and each call pays in `millionths`.
    pub(crate) const fn new(bound: u32, millionths: u32) -> Self {
        let most = bound * ONE;
        Self { held: AtomicU32::new(most), most, share: millionths }
    }

    /// A call has completed.
    pub(crate) fn pay(&self) {
        self.add(self.share);
    }

    /// Takes one out; false, with nothing changed, if there is less.
    pub(crate) fn draw(&self) -> bool {
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| held.checked_sub(ONE)).is_ok()
    }

    /// Pays back one that was drawn and not used.
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

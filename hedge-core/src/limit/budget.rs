//! One budget for retries and backups: [`Budget`] ([B5](crate::rules#B5)).

use crate::atomic::{AtomicU64, Ordering};
use crate::bounded::{Bounded, BoundedSpan, Decimal};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupPolicy, Ended};
use crate::time::Instant;
use crate::window::SlidingCount;

/// The price of an extra attempt. Amounts in the account are in thousandths of an extra attempt.
const ATTEMPT: u32 = 1_000;
/// The largest step back of the clock that counts as standing still, in milliseconds of 1024 microseconds: 67 s.
const LATE: u64 = 1 << 16;

/// The number of extra attempts that each completed call adds to the budget, in \[0, 10\].
pub type BudgetShare = Decimal<0, 10_000_000>;
/// The number of extra attempts that a [`Budget`] can save up, in \[2, 16000\].
pub type BudgetBurst = Bounded<2, 16_000>;
/// The number of extra attempts that are added to the budget per second, even if no call is completed, in \[0, 1000\].
pub type BudgetMinimum = Bounded<0, 1_000>;
/// The largest number of extra attempts in a second, at least 1.
pub type BudgetMaximum = Bounded<1, 4_294_967_295>;

/// The options of a [`Budget`].
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BudgetOptions {
    /// How many extra attempts each completed call adds to the budget, rounded down to whole thousandths. Default 0.2,
    /// as in Finagle and Envoy.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::share"))]
    pub share: BudgetShare,
    /// How many extra attempts can be saved up. The account begins with this number. Default 100: Finagle keeps the
    /// additions of the last 10 s, and its minimum adds 10 per second.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::burst"))]
    pub burst: BudgetBurst,
    /// How many extra attempts are added to the budget per second, even if no call is completed. Default 10, as in
    /// Finagle. The real number is 2.4 % smaller, since a second counts as 1000 times 1024 microseconds.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::minimum_per_second"))]
    pub minimum_per_second: BudgetMinimum,
    /// The largest number of extra attempts in any second. Default `None`: only the account limits extra attempts.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::maximum_per_second"))]
    pub maximum_per_second: Option<BudgetMaximum>,
}

impl BudgetOptions {
    /// The defaults of Finagle.
    pub const DEFAULT: Self = Self {
        share: Decimal::of_thousandths::<200>(),
        burst: Bounded::of::<100>(),
        minimum_per_second: Bounded::of::<10>(),
        maximum_per_second: None,
    };
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An account for retries and backups ([B5](crate::rules#B5)), as in Finagle and Envoy. Completed calls add to the
/// account, and a fixed amount per second is added too. Each retry or backup takes from the account.
///
/// In any span of time: extra attempts ≤ burst + share × calls completed + minimum × seconds. No other limit of this
/// module has such a bound for retries.
///
/// Cost: a call's end is one compare-and-swap, or one load if the account is full. A permission is one
/// compare-and-swap, or two if a maximum per second is set. A refusal is one load, or a few loads if a maximum is set.
/// Memory: 136 bytes.
///
/// ```
/// use hedge_core::bounded::Bounded;
/// use hedge_core::limit::{Budget, BudgetOptions};
/// use hedge_core::policy::BackupPolicy;
/// use hedge_core::time::Instant;
///
/// let (burst, minimum_per_second) = (Bounded::of::<2>(), Bounded::of::<0>());
/// let budget = Budget::new(BudgetOptions { burst, minimum_per_second, ..BudgetOptions::DEFAULT });
/// let now = Instant::from_millis(50);
/// assert!(budget.may_retry(now).is_ok() && budget.may_back_up(now).is_ok(), "the burst");
/// assert!(budget.may_retry(now).is_err());
/// (0..5).for_each(|_| budget.completed(now));
/// assert!(budget.may_retry(now).is_ok(), "one in five");
/// ```
#[derive(Debug)]
pub struct Budget {
    /// The account in one word. Upper 40 bits: the instant up to which the amount per second has been added, in
    /// milliseconds modulo 2^40. Lower 24 bits: the balance, in thousandths.
    account: AtomicU64,
    most: u32,
    share: u32,
    /// How much is added to the account per millisecond, in thousandths of an extra attempt. This number equals the
    /// number of extra attempts per second.
    minimum: u32,
    maximum: Option<Maximum>,
}

/// The maximum number of extra attempts in any second, and the count of the extra attempts that were allowed.
#[derive(Debug)]
struct Maximum {
    per_second: u32,
    granted: SlidingCount<8>,
}

impl Budget {
    /// Makes an account that holds the full burst.
    #[must_use]
    pub fn new(options: BudgetOptions) -> Self {
        let minimum = options.minimum_per_second.get();
        let maximum = |most: BudgetMaximum| Maximum {
            per_second: most.get(),
            granted: SlidingCount::new(BoundedSpan::of_secs::<1>()),
        };
        // A span of time may begin and end anywhere in a millisecond. So the number of milliseconds that begin in the
        // span may be one more than the length of the span. The amount for this additional millisecond is subtracted
        // from the burst.
        let most = options.burst.get() * ATTEMPT - minimum;
        Self {
            account: AtomicU64::new(Account { at: 0, held: most }.word()),
            most,
            share: thousandths(options.share.get()),
            minimum,
            maximum: options.maximum_per_second.map(maximum),
        }
    }

    /// Makes an account with other options that continues from this account. This is for a channel whose options change
    /// while it runs. The new account keeps the balance, up to the new burst. It also keeps the count of extra attempts
    /// for the maximum per second. If the new burst is larger, the balance does not grow at once: completed calls and
    /// time add the difference.
    ///
    /// If other threads change this account during this method, these changes may be missing in the new account.
    #[must_use]
    pub fn replaced(&self, options: BudgetOptions, now: Instant) -> Self {
        let new = Self::new(options);
        // The amount for the time up to now is added at the old rate.
        let paid = Account::of(self.account.load(Ordering::SeqCst)).paid_until(millis(now), self.minimum, self.most);
        let account = AtomicU64::new(Account { held: paid.held.min(new.most), ..paid }.word());
        let maximum = match (new.maximum, &self.maximum) {
            (Some(new), Some(old)) => Some(Maximum { granted: old.granted.copy(), ..new }),
            (new, _) => new,
        };
        Self { account, maximum, ..new }
    }

    /// Counts a call that has ended. [`BackupPolicy::ended`] calls this.
    pub fn completed(&self, now: Instant) {
        self.deposit(now, self.share);
    }

    fn grant(&self, now: Instant) -> Result<(), Denial> {
        self.withdraw(now)?;
        match &self.maximum {
            Some(maximum) => self.grant_within(maximum, now),
            None => Ok(()),
        }
    }

    #[inline(never)]
    fn grant_within(&self, maximum: &Maximum, now: Instant) -> Result<(), Denial> {
        if maximum.granted.add_if(now, 1, |granted| granted < maximum.per_second.into()) {
            return Ok(());
        }
        self.deposit(now, ATTEMPT);
        Err(Denial::Budget)
    }

    fn deposit(&self, now: Instant, thousandths: u32) {
        // Nothing can be added to a full account, so nothing has to be written. This is the usual case, and it costs a
        // load instead of an exchange.
        let account = Account::of(self.account.load(Ordering::SeqCst));
        if account.held == self.most && !account.is_ahead(millis(now)) {
            return;
        }
        self.change(now, |held| Some(held.saturating_add(thousandths)));
    }

    fn withdraw(&self, now: Instant) -> Result<(), Denial> {
        let millis = millis(now);
        let mut word = self.account.load(Ordering::SeqCst);
        // Usually, the amount up to `now` has been added already. With this shortcut, there are only a few steps
        // between the load and the compare-and-swap.
        while Account::of(word).at == millis {
            if Account::of(word).held < ATTEMPT {
                return Err(Denial::Budget);
            }
            let paid = word - u64::from(ATTEMPT);
            match self.account.compare_exchange(word, paid, Ordering::Relaxed, Ordering::SeqCst) {
                Ok(_) => return Ok(()),
                Err(changed) => word = changed,
            }
        }
        self.withdraw_anew(now)
    }

    /// Does the same as [`withdraw`](Self::withdraw) if time has passed since the last change of the account: first
    /// adds the amount for this time, and then takes the price of an attempt.
    #[inline(never)]
    fn withdraw_anew(&self, now: Instant) -> Result<(), Denial> {
        if self.change(now, |held| held.checked_sub(ATTEMPT)) { Ok(()) } else { Err(Denial::Budget) }
    }

    /// Adds the amount for the time since the last change, then sets the balance to the result of `to`. If `to` returns
    /// `None`, this returns false and changes nothing.
    fn change(&self, now: Instant, to: impl Fn(u32) -> Option<u32>) -> bool {
        let now = millis(now);
        let changed = self.account.fetch_update(Ordering::Relaxed, Ordering::SeqCst, |word| {
            let account = Account::of(word).paid_until(now, self.minimum, self.most);
            to(account.held).map(|held| Account { held: held.min(self.most), ..account }.word())
        });
        match changed {
            Ok(_) => true,
            Err(word) if Account::of(word).is_ahead(now) => self.go_back(word, now),
            Err(_) => false,
        }
    }

    /// Sets the time of the account back to `now` after a failed withdrawal, if the clock is behind the account.
    /// Without this step, nothing would be added for a long time after a long step back of the clock. Returns false,
    /// because the withdrawal failed.
    #[cold]
    fn go_back(&self, word: u64, now: u64) -> bool {
        let moved = Account::of(word).paid_until(now, self.minimum, self.most).word();
        let _ = self.account.compare_exchange(word, moved, Ordering::SeqCst, Ordering::SeqCst);
        false
    }
}

impl BackupPolicy for Budget {
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.grant(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.grant(now)
    }

    fn take_back(&self, _: Extra, now: Instant) {
        // The attempt still counts for the maximum per second, so the maximum is never exceeded.
        self.deposit(now, ATTEMPT);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.completed(call.at);
    }
}

/// The content of [`Budget::account`] as separate numbers.
#[derive(Clone, Copy)]
struct Account {
    at: u64,
    held: u32,
}

impl Account {
    const AT_BITS: u32 = 40;
    const HELD_BITS: u32 = 24;
    /// The longest time that can have passed since `at`, in milliseconds. The difference between the present time and
    /// `at` is computed modulo 2^40. So it is larger than this value if the clock went back.
    const MOST_PASSED: u64 = (1 << (Self::AT_BITS - 1)) - 1;

    const fn of(word: u64) -> Self {
        Self { at: word >> Self::HELD_BITS, held: (word & ((1 << Self::HELD_BITS) - 1)) as u32 }
    }

    const fn word(self) -> u64 {
        self.at << Self::HELD_BITS | self.held as u64
    }

    /// Returns how much time has passed since `at`, in milliseconds modulo 2^40.
    const fn passed(self, now: u64) -> u64 {
        now.wrapping_sub(self.at) & ((1 << Self::AT_BITS) - 1)
    }

    /// Returns whether the clock has gone back, so that `at` is ahead of the clock.
    const fn is_ahead(self, now: u64) -> bool {
        self.passed(now) > Self::MOST_PASSED
    }

    #[cold]
    const fn gone_back(self, now: u64, most: u32) -> Self {
        let is_late = self.passed(now) >= (1 << Self::AT_BITS) - LATE;
        if is_late && self.held < most { self } else { Self { at: now, ..self } }
    }

    /// Returns the account after the amount for the time from `at` to `now` has been added. The 40 bits of `at` cover
    /// 35 years. If the difference is more than half of this range, `at` is ahead of `now`: the clock went back. After
    /// a small step back, nothing is added until the clock has passed `at` again. In two cases `at` becomes `now` and
    /// nothing is added: after a larger step back, and if the account was full (an account is full at the start).
    fn paid_until(self, now: u64, per_milli: u32, most: u32) -> Self {
        let passed = self.passed(now);
        if passed > Self::MOST_PASSED {
            return self.gone_back(now, most);
        }
        let held = u64::from(self.held).saturating_add(passed * u64::from(per_milli)).min(most.into());
        Self { at: now, held: u32::try_from(held).unwrap_or(most) }
    }
}

/// Returns the instant in milliseconds of 1024 microseconds each, which saves a division. With these longer
/// milliseconds, a little less is added, never more.
const fn millis(now: Instant) -> u64 {
    (now.as_micros() >> 10) & ((1 << Account::AT_BITS) - 1)
}

/// Returns the share in whole thousandths. It is rounded down, so that calls never add too much. 1e-6 is added first,
/// since the binary form of some shares is a little less than a whole thousandth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is in [0, 10]")]
const fn thousandths(share: f64) -> u32 {
    (share * ATTEMPT as f64 + 1e-6) as u32
}

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{BudgetBurst, BudgetMaximum, BudgetMinimum, BudgetShare};
    use crate::field::named::fields;

    fields! {
        share: required, "limits.budget.share", BudgetShare;
        burst: required, "limits.budget.burst", BudgetBurst;
        minimum_per_second: required, "limits.budget.minimum_per_second", BudgetMinimum;
        maximum_per_second: optional, "limits.budget.maximum_per_second", BudgetMaximum;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn granted(budget: &Budget, ms: u64) -> usize {
        (0..10_000).take_while(|_| budget.may_retry(at(ms)).is_ok()).count()
    }

    #[test]
    fn b5_a_full_account_stays_full_and_pays_no_more_than_the_burst() {
        let budget = Budget::new(BudgetOptions { burst: Bounded::of::<20>(), ..BudgetOptions::DEFAULT });
        for ms in [1, 5_000, 4_000, 90_000, 90_000] {
            (0..50).for_each(|_| budget.completed(at(ms)));
        }
        assert_eq!(granted(&budget, 90_000), 19, "the burst, less what a begun millisecond may pay");
        (0..5).for_each(|_| budget.completed(at(90_000)));
        assert_eq!(granted(&budget, 90_000), 1, "one in five");
    }

    #[test]
    fn b5_completed_calls_and_time_pay_and_the_burst_is_the_most() {
        let options = BudgetOptions {
            share: Decimal::of_thousandths::<250>(),
            burst: Bounded::of::<8>(),
            minimum_per_second: Bounded::of::<1>(),
            maximum_per_second: None,
        };
        let budget = Budget::new(options);
        assert_eq!(granted(&budget, 0), 7, "a thousandth less than the burst");
        (0..8).for_each(|_| budget.completed(at(0)));
        assert_eq!(granted(&budget, 0), 2);
        assert_eq!(granted(&budget, 3_100), 4, "one a second, and the fraction that was left");
        (0..1_000).for_each(|_| budget.completed(at(3_100)));
        assert_eq!(granted(&budget, 3_100), 7, "no more than the burst is saved up");
        assert_eq!(granted(&budget, 1 << 45), 7, "however long");
    }

    #[test]
    fn b5_retries_and_backups_draw_on_one_account_and_what_is_taken_back_is_there_again() {
        let options = BudgetOptions {
            share: Decimal::of_thousandths::<0>(),
            burst: Bounded::of::<2>(),
            minimum_per_second: Bounded::of::<0>(),
            maximum_per_second: None,
        };
        let budget = Budget::new(options);
        assert!(budget.may_back_up(at(0)).is_ok() && budget.may_retry(at(0)).is_ok());
        assert_eq!(budget.may_back_up(at(0)), Err(Denial::Budget));
        budget.take_back(Extra::Backup, at(0));
        assert!(budget.may_retry(at(0)).is_ok());
        assert_eq!(budget.may_retry(at(0)), Err(Denial::Budget));
    }

    #[test]
    fn b5_what_the_maximum_refuses_is_not_paid_for() {
        let options = BudgetOptions {
            share: Decimal::of_thousandths::<0>(),
            burst: Bounded::of::<10>(),
            minimum_per_second: Bounded::of::<0>(),
            maximum_per_second: Some(Bounded::of::<4>()),
        };
        let budget = Budget::new(options);
        assert_eq!([granted(&budget, 0), granted(&budget, 500), granted(&budget, 2_000)], [4, 0, 4]);
        budget.take_back(Extra::Retry, at(2_000));
        assert_eq!([granted(&budget, 2_000), granted(&budget, 4_000), granted(&budget, 6_000)], [0, 3, 0]);
    }

    #[test]
    fn b5_a_clock_that_goes_back_pays_nothing_twice() {
        let options = BudgetOptions {
            share: Decimal::of_thousandths::<0>(),
            burst: Bounded::of::<100>(),
            minimum_per_second: Bounded::of::<10>(),
            maximum_per_second: None,
        };
        let budget = Budget::new(options);
        assert_eq!(granted(&budget, 60_000), 99);
        assert_eq!(granted(&budget, 50_000), 0);
        assert_eq!(granted(&budget, 60_000), 0);
        assert_eq!(granted(&budget, 61_030), 11);
    }

    #[test]
    fn b5_a_clock_that_goes_back_a_lot_goes_on_paying_from_there() {
        let options = BudgetOptions {
            share: Decimal::of_thousandths::<0>(),
            burst: Bounded::of::<100>(),
            minimum_per_second: Bounded::of::<10>(),
            maximum_per_second: None,
        };
        let budget = Budget::new(options);
        assert_eq!(granted(&budget, 900_000), 99);
        assert_eq!(granted(&budget, 800_000), 0, "no time has passed");
        assert_eq!(granted(&budget, 801_030), 11, "a second, and the fraction that was left");
        assert_eq!(granted(&budget, 1), 0);
        assert_eq!(granted(&budget, 1_030), 10);
    }

    #[test]
    fn b5_time_is_counted_from_any_origin() {
        // The clocks begin at zero, at each power of two, at an instant in 2026 (counted from 1970), and near the
        // middle and the end of the 40 bits.
        let year_2026 = 1_770_000_000_000_000;
        let bits = (0..64).map(|bit| 1_u64 << bit);
        for origin in bits.chain([0, year_2026, (3 << 49) - 1, u64::MAX / 2, u64::MAX - 60_000_000]) {
            let options = BudgetOptions {
                share: Decimal::of_thousandths::<0>(),
                burst: Bounded::of::<2>(),
                minimum_per_second: Bounded::of::<10>(),
                maximum_per_second: Some(Bounded::of::<5>()),
            };
            let budget = Budget::new(options);
            let asked = |ms: u64| budget.may_retry(Instant::from_micros(origin + 1_000 * ms)).is_ok();
            let at_once = (0..10).filter(|_| asked(0)).count();
            assert_eq!(at_once, 1, "from {origin}: a thousandth less than the burst");
            let in_ten_seconds = (1..=10_000).filter(|ms| asked(*ms)).count();
            assert!((40..=51).contains(&in_ten_seconds), "from {origin}: {in_ten_seconds}, at most five a second");
        }
    }

    #[test]
    fn b5_shares_are_exact() {
        for share in [0.6, 0.7, 0.9] {
            let options = BudgetOptions {
                share: Decimal::new(share).unwrap(),
                burst: Bounded::of::<2>(),
                minimum_per_second: Bounded::of::<0>(),
                maximum_per_second: None,
            };
            let budget = Budget::new(options);
            let first = granted(&budget, 0);
            let granted: usize = (0..1_000)
                .map(|_| {
                    budget.completed(at(0));
                    granted(&budget, 0)
                })
                .sum();
            assert_eq!((first, granted as f64), (2, 1_000.0 * share));
        }
    }

    #[test]
    fn b5_a_share_is_never_rounded_up() {
        assert_eq!([thousandths(2.0 / 3.0), thousandths(0.000_9), thousandths(10.0)], [666, 0, 10_000]);
        assert!((0..=10_000).all(|n| thousandths(f64::from(n) / 1_000.0) == n), "what is in thousandths is kept");
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(size_of::<Budget>(), 136);
    }
}

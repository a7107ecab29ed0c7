//! One account for retries and backups: [`Budget`] ([B5](crate::rules#B5)).

use crate::atomic::{AtomicU64, Ordering};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupPolicy, Ended, LimitError};
use crate::time::{Instant, Micros};
use crate::window::SlidingCount;

/// What an extra attempt costs, in thousandths.
const ATTEMPT: u32 = 1_000;
/// The largest burst: in thousandths it fits in one word with the time.
const MOST: u32 = 16_000;
/// A clock that went back by up to this many milliseconds (67 s) counts as standing still.
const LATE: u64 = 1 << 16;

/// The options of a [`Budget`].
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BudgetOptions {
    /// How many extra attempts each completed call pays for, in \[0, 10\], rounded down to whole thousandths. Default 0.2,
    /// as in Finagle and Envoy.
    pub share: f64,
    /// The most extra attempts that are saved up, and how many there are at the start, in \[2, 16000\]. Default 100: what
    /// Finagle's minimum adds up to in the 10 s that it keeps.
    pub burst: u32,
    /// How many extra attempts a second are always paid for, in \[0, 1000\]. Default 10, as in Finagle. They are 2.4 %
    /// fewer in fact, since a second counts as 1000 times 1024 microseconds.
    pub minimum_per_second: u32,
    /// The most extra attempts in any second, at least 1. Default: as many as are paid for.
    pub maximum_per_second: Option<u32>,
}

impl BudgetOptions {
    /// Finagle's defaults.
    pub const DEFAULT: Self = Self { share: 0.2, burst: 100, minimum_per_second: 10, maximum_per_second: None };

    /// Checks that each option is in its range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), LimitError> {
        let Self { share, burst, minimum_per_second, maximum_per_second } = *self;
        if !(0.0 <= share && share <= 10.0) {
            return Err(LimitError::new("share", share, "[0, 10]"));
        }
        if burst < 2 || burst > MOST {
            return Err(LimitError::new("burst", burst as f64, "[2, 16000]"));
        }
        if minimum_per_second > 1_000 {
            return Err(LimitError::new("minimum_per_second", minimum_per_second as f64, "[0, 1000]"));
        }
        if let Some(0) = maximum_per_second {
            return Err(LimitError::new("maximum_per_second", 0.0, "[1, 4294967295]"));
        }
        Ok(())
    }
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An account that completed calls and time pay into, and that retries and backups draw on alike ([B5](crate::rules#B5)),
/// as in Finagle and Envoy.
///
/// In any window: extra attempts ≤ burst + share × calls completed + minimum × seconds. It is the only limit that bounds
/// retries.
///
/// Cost: a call's end is one compare-and-swap, and so is a grant. With a maximum per second a grant is two. A refusal is
/// one load, or a few with a maximum. 136 bytes.
///
/// ```
/// use hedge_core::limit::{Budget, BudgetOptions};
/// use hedge_core::policy::BackupPolicy;
/// use hedge_core::time::Instant;
///
/// let budget = Budget::new(BudgetOptions { burst: 2, minimum_per_second: 0, ..BudgetOptions::DEFAULT })?;
/// let now = Instant::from_millis(50);
/// assert!(budget.may_retry(now).is_ok() && budget.may_back_up(now).is_ok(), "the burst");
/// assert!(budget.may_retry(now).is_err());
/// (0..5).for_each(|_| budget.completed(now));
/// assert!(budget.may_retry(now).is_ok(), "one in five");
/// # Ok::<(), hedge_core::policy::LimitError>(())
/// ```
#[derive(Debug)]
pub struct Budget {
    /// Upper 40 bits: up to when time has paid, in milliseconds modulo 2^40. Lower 24 bits: the balance, in thousandths.
    account: AtomicU64,
    most: u32,
    share: u32,
    /// In thousandths per millisecond, which is the same number as attempts per second.
    minimum: u32,
    maximum: Option<Maximum>,
}

/// The most extra attempts in any second, and how many there were.
#[derive(Debug)]
struct Maximum {
    per_second: u32,
    granted: SlidingCount<8>,
}

impl Budget {
    /// An account that holds its burst.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: BudgetOptions) -> Result<Self, LimitError> {
        options.validate()?;
        let maximum = |per_second| Maximum { per_second, granted: SlidingCount::over(Micros::from_secs(1)) };
        // A window may begin and end anywhere in a millisecond, so one more of them may begin in it than it is long. That
        // one's payment is taken off the burst.
        let most = options.burst * ATTEMPT - options.minimum_per_second;
        Ok(Self {
            account: AtomicU64::new(Account { at: 0, held: most }.word()),
            most,
            share: thousandths(options.share),
            minimum: options.minimum_per_second,
            maximum: options.maximum_per_second.map(maximum),
        })
    }

    /// An account with other options that goes on from this one, for a channel whose options are replaced while it runs:
    /// what is saved up stays, up to the new burst, and so do the extra attempts that count for the maximum per second. A
    /// larger burst is not there at once, but is saved up.
    ///
    /// What other threads pay in or draw during this call may be missing in the new account.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn replaced(&self, options: BudgetOptions, now: Instant) -> Result<Self, LimitError> {
        let new = Self::new(options)?;
        // The time up to now is paid at the old rate.
        let paid = Account::of(self.account.load(Ordering::SeqCst)).paid_until(millis(now), self.minimum, self.most);
        let account = AtomicU64::new(Account { held: paid.held.min(new.most), ..paid }.word());
        let maximum = match (new.maximum, &self.maximum) {
            (Some(new), Some(old)) => Some(Maximum { granted: old.granted.copy(), ..new }),
            (new, _) => new,
        };
        Ok(Self { account, maximum, ..new })
    }

    /// Counts a call that has ended; [`BackupPolicy::ended`] does this.
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
        self.change(now, |held| Some(held.saturating_add(thousandths)));
    }

    fn withdraw(&self, now: Instant) -> Result<(), Denial> {
        let millis = millis(now);
        let mut word = self.account.load(Ordering::SeqCst);
        // The usual case: time has already paid up to now. So there are few steps between a load and its exchange.
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

    /// The same where time has passed, and pays first.
    #[inline(never)]
    fn withdraw_anew(&self, now: Instant) -> Result<(), Denial> {
        if self.change(now, |held| held.checked_sub(ATTEMPT)) { Ok(()) } else { Err(Denial::Budget) }
    }

    /// Pays in for the time that has passed, then changes the balance by `to`. False, with nothing changed, if `to`
    /// refuses.
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

    /// For a withdrawal that failed while the clock is behind the account. If the clock went back by a lot, the new time
    /// must be stored, or no time would ever pass.
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
        // It goes on counting for the maximum per second, which is so never exceeded.
        self.deposit(now, ATTEMPT);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.completed(call.at);
    }
}

/// What is packed in [`Budget::account`].
#[derive(Clone, Copy)]
struct Account {
    at: u64,
    held: u32,
}

impl Account {
    const AT_BITS: u32 = 40;
    const HELD_BITS: u32 = 24;
    /// The longest time that can have passed since `at`, in milliseconds. A longer time means that the clock went back.
    const MOST_PASSED: u64 = (1 << (Self::AT_BITS - 1)) - 1;

    const fn of(word: u64) -> Self {
        Self { at: word >> Self::HELD_BITS, held: (word & ((1 << Self::HELD_BITS) - 1)) as u32 }
    }

    const fn word(self) -> u64 {
        self.at << Self::HELD_BITS | self.held as u64
    }

    /// How long ago `at` is, in milliseconds modulo 2^40.
    const fn passed(self, now: u64) -> u64 {
        now.wrapping_sub(self.at) & ((1 << Self::AT_BITS) - 1)
    }

    /// Whether `at` is ahead of the clock, which has gone back.
    const fn is_ahead(self, now: u64) -> bool {
        self.passed(now) > Self::MOST_PASSED
    }

    #[cold]
    const fn gone_back(self, now: u64, most: u32) -> Self {
        let is_late = self.passed(now) >= (1 << Self::AT_BITS) - LATE;
        if is_late && self.held < most { self } else { Self { at: now, ..self } }
    }

    /// Returns the account after it was paid for the time from `at` to `now`. The 40 bits of `at` hold 35 years. A
    /// difference in the upper half of them means that `at` is ahead of `now`, so the clock went back. If the clock
    /// went back a little, the account is not paid until the clock is past `at` again. If the clock went back by more,
    /// or while the account was full, as it is at the start, `at` becomes `now` and nothing is paid.
    fn paid_until(self, now: u64, per_milli: u32, most: u32) -> Self {
        let passed = self.passed(now);
        if passed > Self::MOST_PASSED {
            return self.gone_back(now, most);
        }
        let held = u64::from(self.held).saturating_add(passed * u64::from(per_milli)).min(most.into());
        Self { at: now, held: u32::try_from(held).unwrap_or(most) }
    }
}

/// Milliseconds of 1024 microseconds each, so that nothing is divided. Longer milliseconds pay less, never more.
const fn millis(now: Instant) -> u64 {
    (now.as_micros() >> 10) & ((1 << Account::AT_BITS) - 1)
}

/// The share in whole thousandths, rounded down so that no more is granted than is paid for. A share that is a little less
/// than a whole thousandth in binary still counts as whole.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is in [0, 10]")]
const fn thousandths(share: f64) -> u32 {
    (share * ATTEMPT as f64 + 1e-6) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn granted(budget: &Budget, ms: u64) -> usize {
        (0..10_000).take_while(|_| budget.may_retry(at(ms)).is_ok()).count()
    }

    #[test]
    fn b5_completed_calls_and_time_pay_and_the_burst_is_the_most() {
        let options = BudgetOptions { share: 0.25, burst: 8, minimum_per_second: 1, maximum_per_second: None };
        let budget = Budget::new(options).unwrap();
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
        let options = BudgetOptions { share: 0.0, burst: 2, minimum_per_second: 0, maximum_per_second: None };
        let budget = Budget::new(options).unwrap();
        assert!(budget.may_back_up(at(0)).is_ok() && budget.may_retry(at(0)).is_ok());
        assert_eq!(budget.may_back_up(at(0)), Err(Denial::Budget));
        budget.take_back(Extra::Backup, at(0));
        assert!(budget.may_retry(at(0)).is_ok());
        assert_eq!(budget.may_retry(at(0)), Err(Denial::Budget));
    }

    #[test]
    fn b5_what_the_maximum_refuses_is_not_paid_for() {
        let options = BudgetOptions { share: 0.0, burst: 10, minimum_per_second: 0, maximum_per_second: Some(4) };
        let budget = Budget::new(options).unwrap();
        assert_eq!([granted(&budget, 0), granted(&budget, 500), granted(&budget, 2_000)], [4, 0, 4]);
        budget.take_back(Extra::Retry, at(2_000));
        assert_eq!([granted(&budget, 2_000), granted(&budget, 4_000), granted(&budget, 6_000)], [0, 3, 0]);
    }

    #[test]
    fn b5_a_clock_that_goes_back_pays_nothing_twice() {
        let options = BudgetOptions { share: 0.0, burst: 100, minimum_per_second: 10, maximum_per_second: None };
        let budget = Budget::new(options).unwrap();
        assert_eq!(granted(&budget, 60_000), 99);
        assert_eq!(granted(&budget, 50_000), 0);
        assert_eq!(granted(&budget, 60_000), 0);
        assert_eq!(granted(&budget, 61_030), 11);
    }

    #[test]
    fn b5_a_clock_that_goes_back_a_lot_goes_on_paying_from_there() {
        let options = BudgetOptions { share: 0.0, burst: 100, minimum_per_second: 10, maximum_per_second: None };
        let budget = Budget::new(options).unwrap();
        assert_eq!(granted(&budget, 900_000), 99);
        assert_eq!(granted(&budget, 800_000), 0, "no time has passed");
        assert_eq!(granted(&budget, 801_030), 11, "a second, and the fraction that was left");
        assert_eq!(granted(&budget, 1), 0);
        assert_eq!(granted(&budget, 1_030), 10);
    }

    #[test]
    fn b5_time_is_counted_from_any_origin() {
        // Origins: the start of a clock, 1970, the end of the 40 bits and half of it.
        let year_2026 = 1_770_000_000_000_000;
        let bits = (0..64).map(|bit| 1_u64 << bit);
        for origin in bits.chain([0, year_2026, (3 << 49) - 1, u64::MAX / 2, u64::MAX - 60_000_000]) {
            let options = BudgetOptions { share: 0.0, burst: 2, minimum_per_second: 10, maximum_per_second: Some(5) };
            let budget = Budget::new(options).unwrap();
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
            let options = BudgetOptions { share, burst: 2, minimum_per_second: 0, maximum_per_second: None };
            let budget = Budget::new(options).unwrap();
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
    fn b5_options_out_of_range_say_which_and_what() {
        let options = BudgetOptions::DEFAULT;
        for (options, text) in [
            (BudgetOptions { share: -0.1, ..options }, "share -0.1: must be in [0, 10]"),
            (BudgetOptions { burst: 1, ..options }, "burst 1: must be in [2, 16000]"),
            (BudgetOptions { burst: 16_001, ..options }, "burst 16001: must be in [2, 16000]"),
            (BudgetOptions { minimum_per_second: 1_001, ..options }, "minimum_per_second 1001: must be in [0, 1000]"),
            (
                BudgetOptions { maximum_per_second: Some(0), ..options },
                "maximum_per_second 0: must be in [1, 4294967295]",
            ),
        ] {
            assert_eq!(Budget::new(options).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(size_of::<Budget>(), 136);
    }
}

//! Tests that limits keep their counts when their options are replaced.

extern crate std;
use std::ops::Range;
use std::vec::Vec;

use super::{
    Budget, BudgetOptions, LimitOptions, Limits, RatioLimit, RatioMode, RatioOptions, TokenBucket, TokenOptions,
};
use crate::bounded::{Bounded, BoundedSpan, Decimal, Ratio};
use crate::outcome::Denial;
use crate::policy::BackupPolicy;
use crate::time::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn granted(limit: &impl BackupPolicy, now: Instant) -> u64 {
    (0..10_000).take_while(|_| limit.may_back_up(now).is_ok()).count() as u64
}

fn ratio(max_backup_ratio: f64) -> RatioOptions {
    RatioOptions { max_backup_ratio: Ratio::new(max_backup_ratio).unwrap(), ..RatioOptions::DEFAULT }
}

/// The instants at which calls ended and backups were granted, in milliseconds.
#[derive(Default)]
struct Seen {
    calls: Vec<u64>,
    backups: Vec<u64>,
}

impl Seen {
    /// Ends a call every 5 ms. After each call, asks for backups until the limit refuses.
    fn go_on(&mut self, limit: &RatioLimit, ms: Range<u64>) {
        for ms in ms.step_by(5) {
            limit.completed(at(ms));
            self.calls.push(ms);
            self.backups.extend((0..granted(limit, at(ms))).map(|_| ms));
        }
    }

    /// Returns how many calls and how many backups are in the window of 10 s that ends at `now`.
    fn window(&self, now: u64) -> (usize, usize) {
        let count = |times: &[u64]| times.iter().filter(|ms| now < **ms + 10_000 && **ms <= now).count();
        (count(&self.calls), count(&self.backups))
    }
}

/// Makes a limit of 10 % that allows no further backup: it has allowed its burst, and all backups that 1000 calls over
/// five seconds have earned.
fn exhausted() -> (RatioLimit, Seen) {
    let (limit, mut seen) = (RatioLimit::new(ratio(0.1)), Seen::default());
    seen.go_on(&limit, 0..5_000);
    assert!((105..=110).contains(&seen.backups.len()), "a tenth and the burst: {}", seen.backups.len());
    (limit, seen)
}

#[test]
fn b3_a_lower_ratio_holds_at_once_for_what_was_counted_and_gives_no_fresh_burst() {
    let (limit, mut seen) = exhausted();
    let limit = limit.replaced(ratio(0.05), at(5_000));
    assert_eq!(granted(&limit, at(5_000)), 0);
    let before = seen.backups.len();
    seen.go_on(&limit, 5_000..45_000);
    for backup in &seen.backups[before..] {
        let (calls, backups) = seen.window(*backup);
        assert!(20 * (backups - 10) <= calls, "{backups} backups and {calls} calls at {backup} ms");
    }
    let late = seen.backups.iter().filter(|ms| **ms >= 25_000).count();
    assert!((190..=200).contains(&late), "5 % of 4000 calls: {late}");
}

#[test]
fn b3_a_higher_ratio_allows_more_at_once() {
    let limit = exhausted().0.replaced(ratio(0.2), at(5_000));
    let more = granted(&limit, at(5_000));
    assert!((80..=100).contains(&more), "200 were earned, and about 110 granted: {more}");
}

#[test]
fn b3_the_same_options_change_nothing() {
    let (limit, _) = exhausted();
    let same = limit.replaced(ratio(0.1), at(5_000));
    assert_eq!(granted(&same, at(5_000)), 0);
    for ms in (5_000..20_000).step_by(10) {
        limit.completed(at(ms));
        same.completed(at(ms));
        assert_eq!(granted(&limit, at(ms)), granted(&same, at(ms)), "{ms}");
    }
}

#[test]
fn b3_a_burst_is_saved_up_and_not_given() {
    let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: Bounded::of::<4>(), ..ratio(0.1) });
    assert!((0..3).all(|_| limit.may_back_up(at(0)).is_ok()));
    let larger = limit.replaced(RatioOptions { burst: Bounded::of::<100>(), ..ratio(0.1) }, at(1));
    assert_eq!(granted(&larger, at(1)), 1, "what was left of the old burst");
    let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: Bounded::of::<100>(), ..ratio(0.1) });
    assert!(limit.may_back_up(at(0)).is_ok());
    let smaller = limit.replaced(RatioOptions { burst: Bounded::of::<5>(), ..ratio(0.1) }, at(1));
    assert_eq!(granted(&smaller, at(1)), 4, "5, of which one is in use");
}

#[test]
fn b3_another_window_begins_anew_without_a_fresh_burst() {
    for (saved, least, most) in [(0, 0, 0), (10, 8, 10)] {
        let (limit, _) = exhausted();
        for ms in 5_000..5_000 + saved * 10 {
            limit.completed(at(ms));
        }
        let options = RatioOptions { window: BoundedSpan::of_secs::<60>(), ..ratio(0.1) };
        let now = at(5_000 + saved * 10);
        let limit = limit.replaced(options, now);
        let at_once = granted(&limit, now);
        assert!((least..=most).contains(&at_once), "{saved} were saved up: {at_once}");
        (0..1_000).for_each(|_| limit.completed(at(8_000)));
        let earned = granted(&limit, at(8_000));
        assert!((95..=110).contains(&(earned + at_once)), "a tenth of the new window's calls, and the burst: {earned}");
    }
}

#[test]
fn b3_cached_looks_at_its_next_question() {
    let options = RatioOptions { mode: RatioMode::Cached, ..ratio(0.5) };
    let limit: RatioLimit = RatioLimit::new(options);
    (0..100).for_each(|_| limit.completed(at(1_000)));
    assert!((0..20).all(|_| limit.may_back_up(at(2_000)).is_ok()));
    let limit = limit.replaced(RatioOptions { max_backup_ratio: Ratio::of_percent::<10>(), ..options }, at(2_001));
    assert_eq!(limit.may_back_up(at(2_002)), Err(Denial::Ratio), "20 of 100, long before the interval is over");
}

#[test]
fn b5_what_is_saved_up_stays_up_to_the_new_burst() {
    let options = BudgetOptions {
        share: Decimal::of_thousandths::<500>(),
        burst: Bounded::of::<10>(),
        minimum_per_second: Bounded::of::<0>(),
        maximum_per_second: None,
    };
    let budget = Budget::new(options);
    assert!((0..4).all(|_| budget.may_retry(at(0)).is_ok()));
    let other = |burst, most: Option<u32>| {
        let burst = Bounded::new(burst).unwrap();
        let maximum_per_second = most.map(|most| Bounded::new(most).unwrap());
        let replaced = BudgetOptions { burst, maximum_per_second, ..options };
        granted(&budget.replaced(replaced, at(1)), at(1))
    };
    assert_eq!([other(100, None), other(10, None), other(3, None), other(100, Some(2))], [6, 6, 3, 2]);
}

#[test]
fn b5_the_time_until_a_change_is_paid_at_the_old_rate() {
    let options = BudgetOptions {
        share: Decimal::of_thousandths::<0>(),
        burst: Bounded::of::<1_000>(),
        minimum_per_second: Bounded::of::<0>(),
        maximum_per_second: None,
    };
    let budget = Budget::new(options);
    assert_eq!(granted(&budget, at(0)), 1_000);
    let replaced =
        budget.replaced(BudgetOptions { minimum_per_second: Bounded::of::<1_000>(), ..options }, at(100_000));
    assert_eq!(granted(&replaced, at(100_000)), 0);
    assert!((900..=1_000).contains(&granted(&replaced, at(101_000))), "a second at the new rate");
}

#[test]
fn b5_the_attempts_of_this_second_count_for_another_maximum() {
    let options = BudgetOptions { maximum_per_second: Some(Bounded::of::<5>()), ..BudgetOptions::DEFAULT };
    let budget = Budget::new(options);
    assert_eq!(granted(&budget, at(0)), 5);
    let replaced = budget.replaced(BudgetOptions { maximum_per_second: Some(Bounded::of::<7>()), ..options }, at(10));
    assert_eq!(granted(&replaced, at(10)), 2);
}

#[test]
fn b4_a_bucket_stays_as_full_in_proportion() {
    let of = |most| {
        let max_tokens = Bounded::new(most).unwrap();
        TokenOptions::Trpc { max_tokens, token_ratio: Bounded::of::<10>() }
    };
    let bucket = TokenBucket::new(of(100));
    let tokens = |options| bucket.replaced(options).tokens_milli();
    assert_eq!([tokens(of(1_000_000)), tokens(of(1))], [1_000_000_000, 1_000], "full");
    (0..6).for_each(|_| bucket.failed());
    assert_eq!([tokens(of(1_000_000)), tokens(of(10))], [400_000_000, 4_000]);
    assert_eq!(
        tokens(TokenOptions::Grpc {
            max_tokens: Bounded::of::<1_000>(),
            token_ratio: Decimal::of_thousandths::<100>()
        }),
        400_000
    );
    assert!(bucket.replaced(TokenOptions::TRPC).may_retry(at(0)).is_err(), "calls go on failing");
}

#[test]
fn b8_limits_are_replaced_together_and_what_was_off_begins_anew() {
    let limits = Limits::default();
    assert_eq!(granted(&limits, at(0)), 10);
    let replaced = |options| granted(&limits.replaced(options, at(1)), at(1));
    assert_eq!(replaced(LimitOptions::SAFE), 0);
    assert_eq!(replaced(LimitOptions { ratio: None, ..LimitOptions::SAFE }), 89, "what the budget has left");
    assert_eq!(replaced(LimitOptions::NONE), 10_000);
    let off = limits.replaced(LimitOptions::NONE, at(1));
    assert_eq!(granted(&off.replaced(LimitOptions::SAFE, at(2)), at(2)), 10);
}

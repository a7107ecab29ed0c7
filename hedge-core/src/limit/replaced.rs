//! Limits whose options are replaced keep what they have learned.

extern crate std;
use std::ops::Range;
use std::vec::Vec;

use super::{
    Budget, BudgetOptions, LimitOptions, Limits, RatioLimit, RatioMode, RatioOptions, TokenBucket, TokenOptions,
};
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
    RatioOptions { max_backup_ratio, ..RatioOptions::DEFAULT }
}

/// The instants of calls and of backups, in milliseconds.
#[derive(Default)]
struct Seen {
    calls: Vec<u64>,
    backups: Vec<u64>,
}

impl Seen {
    /// A call ends each 5 ms, and after each one as many backups as possible are asked for.
    fn go_on(&mut self, limit: &RatioLimit, ms: Range<u64>) {
        for ms in ms.step_by(5) {
            limit.completed(at(ms));
            self.calls.push(ms);
            self.backups.extend((0..granted(limit, at(ms))).map(|_| ms));
        }
    }

    /// Calls and backups in the window of 10 s that ends now.
    fn window(&self, now: u64) -> (usize, usize) {
        let count = |times: &[u64]| times.iter().filter(|ms| now < **ms + 10_000 && **ms <= now).count();
        (count(&self.calls), count(&self.backups))
    }
}

/// A limit of 10 % that has granted all that 1000 calls over five seconds have earned, and its burst.
fn exhausted() -> (RatioLimit, Seen) {
    let (limit, mut seen) = (RatioLimit::new(ratio(0.1)).unwrap(), Seen::default());
    seen.go_on(&limit, 0..5_000);
    assert!((105..=110).contains(&seen.backups.len()), "a tenth and the burst: {}", seen.backups.len());
    (limit, seen)
}

#[test]
fn b3_a_lower_ratio_holds_at_once_for_what_was_counted_and_gives_no_fresh_burst() {
    let (limit, mut seen) = exhausted();
    let limit = limit.replaced(ratio(0.05), at(5_000)).unwrap();
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
    let limit = exhausted().0.replaced(ratio(0.2), at(5_000)).unwrap();
    let more = granted(&limit, at(5_000));
    assert!((80..=100).contains(&more), "200 were earned, and about 110 granted: {more}");
}

#[test]
fn b3_the_same_options_change_nothing() {
    let (limit, _) = exhausted();
    let same = limit.replaced(ratio(0.1), at(5_000)).unwrap();
    assert_eq!(granted(&same, at(5_000)), 0);
    for ms in (5_000..20_000).step_by(10) {
        limit.completed(at(ms));
        same.completed(at(ms));
        assert_eq!(granted(&limit, at(ms)), granted(&same, at(ms)), "{ms}");
    }
}

#[test]
fn b3_a_burst_is_saved_up_and_not_given() {
    let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: 4, ..ratio(0.1) }).unwrap();
    assert!((0..3).all(|_| limit.may_back_up(at(0)).is_ok()));
    let larger = limit.replaced(RatioOptions { burst: 100, ..ratio(0.1) }, at(1)).unwrap();
    assert_eq!(granted(&larger, at(1)), 1, "what was left of the old burst");
    let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: 100, ..ratio(0.1) }).unwrap();
    assert!(limit.may_back_up(at(0)).is_ok());
    let smaller = limit.replaced(RatioOptions { burst: 5, ..ratio(0.1) }, at(1)).unwrap();
    assert_eq!(granted(&smaller, at(1)), 4, "5, of which one is in use");
}

#[test]
fn b3_another_window_begins_anew_without_a_fresh_burst() {
    for (saved, least, most) in [(0, 0, 0), (10, 8, 10)] {
        let (limit, _) = exhausted();
        for ms in 5_000..5_000 + saved * 10 {
            limit.completed(at(ms));
        }
        let options = RatioOptions { window_size_seconds: 60, ..ratio(0.1) };
        let now = at(5_000 + saved * 10);
        let limit = limit.replaced(options, now).unwrap();
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
    let limit: RatioLimit = RatioLimit::new(options).unwrap();
    (0..100).for_each(|_| limit.completed(at(1_000)));
    assert!((0..20).all(|_| limit.may_back_up(at(2_000)).is_ok()));
    let limit = limit.replaced(RatioOptions { max_backup_ratio: 0.1, ..options }, at(2_001)).unwrap();
    assert_eq!(limit.may_back_up(at(2_002)), Err(Denial::Ratio), "20 of 100, long before the interval is over");
}

#[test]
fn b5_what_is_saved_up_stays_up_to_the_new_burst() {
    let options = BudgetOptions { share: 0.5, burst: 10, minimum_per_second: 0, maximum_per_second: None };
    let budget = Budget::new(options).unwrap();
    assert!((0..4).all(|_| budget.may_retry(at(0)).is_ok()));
    let other = |burst, maximum_per_second| {
        let replaced = BudgetOptions { burst, maximum_per_second, ..options };
        granted(&budget.replaced(replaced, at(1)).unwrap(), at(1))
    };
    assert_eq!([other(100, None), other(10, None), other(3, None), other(100, Some(2))], [6, 6, 3, 2]);
}

#[test]
fn b5_the_time_until_a_change_is_paid_at_the_old_rate() {
    let options = BudgetOptions { share: 0.0, burst: 1_000, minimum_per_second: 0, maximum_per_second: None };
    let budget = Budget::new(options).unwrap();
    assert_eq!(granted(&budget, at(0)), 1_000);
    let replaced = budget.replaced(BudgetOptions { minimum_per_second: 1_000, ..options }, at(100_000)).unwrap();
    assert_eq!(granted(&replaced, at(100_000)), 0);
    assert!((900..=1_000).contains(&granted(&replaced, at(101_000))), "a second at the new rate");
}

#[test]
fn b5_the_attempts_of_this_second_count_for_another_maximum() {
    let options = BudgetOptions { maximum_per_second: Some(5), ..BudgetOptions::DEFAULT };
    let budget = Budget::new(options).unwrap();
    assert_eq!(granted(&budget, at(0)), 5);
    let replaced = budget.replaced(BudgetOptions { maximum_per_second: Some(7), ..options }, at(10)).unwrap();
    assert_eq!(granted(&replaced, at(10)), 2);
}

#[test]
fn b4_a_bucket_stays_as_full_in_proportion() {
    let of = |max_tokens| TokenOptions::Trpc { max_tokens, token_ratio: 10 };
    let bucket = TokenBucket::new(of(100)).unwrap();
    let tokens = |options| bucket.replaced(options).unwrap().tokens_milli();
    assert_eq!([tokens(of(1_000_000)), tokens(of(1))], [1_000_000_000, 1_000], "full");
    (0..6).for_each(|_| bucket.failed());
    assert_eq!([tokens(of(1_000_000)), tokens(of(10))], [400_000_000, 4_000]);
    assert_eq!(tokens(TokenOptions::Grpc { max_tokens: 1_000, token_ratio: 0.1 }), 400_000);
    assert!(bucket.replaced(TokenOptions::TRPC).unwrap().may_retry(at(0)).is_err(), "calls go on failing");
}

#[test]
fn b8_limits_are_replaced_together_and_what_was_off_begins_anew() {
    let limits = Limits::default();
    assert_eq!(granted(&limits, at(0)), 10);
    let replaced = |options| limits.replaced(options, at(1)).map(|limits| granted(&limits, at(1)));
    assert_eq!(replaced(LimitOptions::SAFE), Ok(0));
    assert_eq!(replaced(LimitOptions { ratio: None, ..LimitOptions::SAFE }), Ok(89), "what the budget has left");
    assert_eq!(replaced(LimitOptions::NONE), Ok(10_000));
    let off = limits.replaced(LimitOptions::NONE, at(1)).unwrap();
    assert_eq!(granted(&off.replaced(LimitOptions::SAFE, at(2)).unwrap(), at(2)), 10);
    let wrong = LimitOptions { ratio: Some(ratio(2.0)), ..LimitOptions::SAFE };
    let error = limits.replaced(wrong, at(1)).unwrap_err();
    assert_eq!((error.limit, error.field), ("limits.ratio.", "max_backup_ratio"));
}

//! The models: what is shared, what threads do to it at once, and what has to be true after it.

mod allowance;
mod balance;
mod health;
mod latch;
mod latency;
mod window;

use std::sync::atomic::Ordering;

use crate::bounded::{Bounded, BoundedSpan, Decimal, Ratio};
use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::Instant;
use loom::sync::Arc;

use crate::atomic::LOADS;
use crate::check::{check, together};
use crate::limit::{Budget, BudgetOptions, Counted, RatioLimit, RatioMode, RatioOptions, TokenBucket, TokenOptions};

/// All of them.
pub(crate) fn all() {
    window::all();
    ratios();
    budgets();
    buckets();
    refusals();
    allowance::all();
    latency::all();
    balance::all();
    health::all();
    latch::all();
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// How many were granted.
fn granted(answers: &[bool]) -> usize {
    answers.iter().filter(|granted| **granted).count()
}

const NOW: Instant = Instant::from_millis(10);

// ---- limits ----

fn ratio(options: RatioOptions) -> Arc<RatioLimit<4>> {
    Arc::new(RatioLimit::new(options))
}

fn backs_up(policy: &impl BackupPolicy) -> bool {
    policy.may_back_up(NOW).is_ok()
}

/// What is granted and then refused by another limit.
fn backs_up_in_vain(policy: &impl BackupPolicy) -> bool {
    if backs_up(policy) {
        policy.take_back(Extra::Backup, NOW);
    }
    false
}

fn ratios() {
    // The bucket has begun: how that goes is what the windows' models are about.
    check("ratio: two who ask for one backup get one", || {
        let limit = ratio(RatioOptions { burst: Bounded::of::<2>(), ..RatioOptions::DEFAULT });
        assert!(backs_up(&*limit), "the first of two");
        let answers = together(&limit, [backs_up, backs_up]);
        assert_eq!(granted(&answers), 1);
        assert!(!backs_up(&*limit));
    });
    check("ratio: two who ask while a call ends get what all the calls have earned at most", || {
        let limit = ratio(RatioOptions {
            burst: Bounded::of::<0>(),
            max_backup_ratio: Ratio::of_percent::<50>(),
            ..RatioOptions::DEFAULT
        });
        (0..3).for_each(|_| limit.completed(NOW));
        assert!(backs_up(&*limit), "one of one and a half");
        let completes = |limit: &RatioLimit<4>| {
            limit.completed(NOW);
            false
        };
        let answers = together(&limit, [backs_up, backs_up, completes]);
        assert!(granted(&answers) <= 1);
        assert_eq!(backs_up(&*limit), granted(&answers) == 0);
    });
    check("ratio: what is taken back leaves what another was granted", || {
        let limit = ratio(RatioOptions { burst: Bounded::of::<2>(), ..RatioOptions::DEFAULT });
        assert!(backs_up(&*limit), "the first of two");
        let answers = together(&limit, [backs_up_in_vain, backs_up]);
        assert_eq!(backs_up(&*limit), granted(&answers) == 0);
    });
    check("ratio, cached: one of two looks, once an interval", || {
        let interval = RatioOptions {
            update_interval: BoundedSpan::of_secs::<1>(),
            window: BoundedSpan::of_secs::<1>(),
            ..RatioOptions::DEFAULT
        };
        let due = || {
            let limit = ratio(RatioOptions { mode: RatioMode::Cached, ..interval });
            assert!(limit.may_back_up(at(0)).is_ok(), "the first look");
            (0..50).for_each(|_| limit.completed(at(1_100)));
            limit
        };
        let asks = |limit: &RatioLimit<4>| limit.may_back_up(at(1_100)).is_ok();
        let loads = |asks: &dyn Fn()| {
            let before = LOADS.load(Ordering::Relaxed);
            asks();
            LOADS.load(Ordering::Relaxed) - before
        };
        let alone = due();
        let looking = loads(&|| assert!(asks(&alone)));
        let not_looking = loads(&|| assert!(asks(&alone)));
        assert!(looking > not_looking + 2, "a look is a walk through two counts");
        let limit = due();
        let both = loads(&|| assert_eq!(granted(&together(&limit, [asks, asks])), 2));
        assert!(both < 2 * looking, "{both} loads, where who looks takes {looking} and who does not {not_looking}");
    });
}

fn budget(options: BudgetOptions) -> Arc<Budget> {
    Arc::new(Budget::new(options))
}

const BARE: BudgetOptions = BudgetOptions {
    share: Decimal::of_thousandths::<0>(),
    burst: Bounded::of::<2>(),
    minimum_per_second: Bounded::of::<0>(),
    maximum_per_second: None,
};

fn budgets() {
    check("budget: two withdrawals and a deposit never pay out more than there is, nor less", || {
        let budget = budget(BudgetOptions { share: Decimal::of_thousandths::<500>(), ..BARE });
        assert!(backs_up(&*budget), "the first of two");
        let deposits = |budget: &Budget| {
            budget.completed(NOW);
            false
        };
        let answers = together(&budget, [backs_up, |budget| budget.may_retry(NOW).is_ok(), deposits]);
        assert_eq!(granted(&answers), 1, "of one and a half");
        budget.completed(NOW);
        assert!(backs_up(&*budget) && !backs_up(&*budget), "the two halves");
    });
    check("budget: time is paid for once", || {
        let budget =
            budget(BudgetOptions { burst: Bounded::of::<3>(), minimum_per_second: Bounded::of::<1_000>(), ..BARE });
        let empty = |now| while budget.may_retry(now).is_ok() {};
        empty(at(0));
        let asks = |budget: &Budget| budget.may_retry(Instant::from_micros(1_024)).is_ok();
        assert_eq!(granted(&together(&budget, [asks, asks])), 1, "a millisecond's");
        assert!(!asks(&budget));
    });
    check("budget: what is taken back is there again", || {
        let budget = budget(BARE);
        assert!(backs_up(&*budget), "the first of two");
        let answers = together(&budget, [backs_up_in_vain, backs_up]);
        assert_eq!(backs_up(&*budget), granted(&answers) == 0);
    });
    check("budget: two who ask for the last of a second get it once, and what is refused does not count", || {
        let budget =
            budget(BudgetOptions { burst: Bounded::of::<10>(), maximum_per_second: Some(Bounded::of::<1>()), ..BARE });
        let answers = together(&budget, [backs_up, backs_up]);
        assert!(granted(&answers) <= 1);
        assert_eq!(backs_up(&*budget), granted(&answers) == 0);
    });
}

fn buckets() {
    check("tokens: two failures and a success leave what some order of them leaves", || {
        let bucket =
            TokenBucket::new(TokenOptions::Trpc { max_tokens: Bounded::of::<3>(), token_ratio: Bounded::of::<2>() });
        let bucket = Arc::new(bucket);
        assert_eq!(bucket.tokens_milli(), 3_000);
        together(&bucket, [TokenBucket::failed, TokenBucket::failed, TokenBucket::succeeded]);
        assert!([0, 1_000].contains(&bucket.tokens_milli()));
    });
    check("tokens: nobody sees a bucket that holds more than it can, or less than nothing", || {
        let bucket =
            TokenBucket::new(TokenOptions::Trpc { max_tokens: Bounded::of::<3>(), token_ratio: Bounded::of::<4>() });
        let bucket = Arc::new(bucket);
        assert!(backs_up(&*bucket), "it is full");
        let changes = |bucket: &TokenBucket| {
            bucket.failed();
            bucket.succeeded();
            bucket.succeeded();
            bucket.tokens_milli()
        };
        let seen = together(
            &bucket,
            [changes, TokenBucket::tokens_milli, |bucket| {
                bucket.succeeded();
                bucket.tokens_milli()
            }],
        );
        assert!(seen.iter().all(|seen| *seen <= 3_000 && seen % 1_000 == 0), "{seen:?}");
    });
}

/// Refuses everything.
#[derive(Debug)]
struct No;

impl BackupPolicy for No {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        Err(Denial::Policy)
    }

    fn may_retry(&self, _: Instant) -> Result<(), Denial> {
        Err(Denial::Policy)
    }
}

fn refusals() {
    check("counted: every refusal is", || {
        let counted = Arc::new(Counted::new(No));
        let denied = |extra| counted.denied(extra, Denial::Policy);
        assert_eq!((denied(Extra::Backup), denied(Extra::Retry)), (0, 0));
        together(&counted, [backs_up, backs_up, |counted| counted.may_retry(NOW).is_ok()]);
        assert_eq!((denied(Extra::Backup), denied(Extra::Retry)), (2, 1));
    });
}

//! The models: what is shared, what threads do to it at once, and what has to be true after it.

mod balance;
mod health;

use std::sync::atomic::Ordering;

use hedge_core::policy::{BackupPolicy, Denial, Extra};
use hedge_core::time::{Duration, Instant};
use loom::sync::Arc;

use crate::atomic::LOADS;
use crate::check::{check, check_walks, together};
use crate::latency::{LatencyRecorder, Quantile};
use crate::limit::{Budget, BudgetOptions, Counted, RatioLimit, RatioMode, RatioOptions, TokenBucket, TokenOptions};
use crate::window::SlidingCount;

/// All of them.
pub(crate) fn all() {
    windows();
    ratios();
    budgets();
    buckets();
    refusals();
    latencies();
    balance::all();
    health::all();
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// How many were granted.
fn granted(answers: &[bool]) -> usize {
    answers.iter().filter(|granted| **granted).count()
}

// ---- window ----

const NOW: Instant = Instant::from_millis(10);
/// In the place of [`NOW`], a round of the four buckets later.
const NEXT_ROUND: Instant = Instant::from_millis(10 + 2_097);

fn count() -> Arc<SlidingCount<4>> {
    let count = SlidingCount::new(Duration::from_secs(1)).expect("a window of a second");
    assert_eq!(count.bucket(), Duration::from_micros(1 << 19), "half a second");
    Arc::new(count)
}

fn windows() {
    check("window: what two add to a bucket is counted", || {
        let count = count();
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NOW, 2)]);
        assert_eq!(count.covering(NOW), 3);
    });
    check("window: what two add to neighbouring buckets is counted", || {
        let count = count();
        together(&count, [|count| count.add(NOW, 1), |count| count.add(at(600), 2)]);
        assert_eq!(count.covering(at(600)), 3);
    });
    check("window: a bucket that is taken over loses nothing of its new round", || {
        let count = count();
        count.add(NOW, 40);
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NEXT_ROUND, 2)]);
        // Who comes late is counted in the later round, or has been forgotten with its own.
        assert!([2, 3].contains(&count.covering(NEXT_ROUND)));
    });
    check("window: two who take over a bucket forget its past once", || {
        let count = count();
        count.add(NOW, 40);
        together(&count, [|count| count.add(NEXT_ROUND, 1), |count| count.add(NEXT_ROUND, 2)]);
        assert_eq!(count.covering(NEXT_ROUND), 3);
    });
    check("window: who counts while a bucket is taken over sees nothing of its past", || {
        let count = count();
        count.add(NOW, 40);
        let add = |count: &SlidingCount<4>| {
            count.add(NEXT_ROUND, 1);
            0
        };
        let seen = together(&count, [add, |count| count.covering(NEXT_ROUND)]);
        assert!(seen.iter().all(|seen| *seen <= 1));
    });
    check("window: a bucket that two begin while the one before is added to keeps what is its own", || {
        let count = count();
        let next = |count: &SlidingCount<4>| count.add(at(600), 1);
        together(&count, [next, next, |count| count.add(NOW, 1)]);
        // A window that begins with that bucket: who came late may count in it, and nothing else.
        assert!([2, 3].contains(&count.covering(at(1_700))));
    });
}

// ---- limits ----

fn ratio(options: RatioOptions) -> Arc<RatioLimit<4>> {
    Arc::new(RatioLimit::new(options).expect("options in their ranges"))
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
    check("ratio: two who ask for one backup get one", || {
        let limit = ratio(RatioOptions { burst: 1, ..RatioOptions::DEFAULT });
        let answers = together(&limit, [backs_up, backs_up]);
        assert_eq!(granted(&answers), 1);
        assert!(!backs_up(&*limit));
    });
    check("ratio: two who ask while a call ends get what all the calls have earned at most", || {
        let limit = ratio(RatioOptions { burst: 0, max_backup_ratio: 0.5, ..RatioOptions::DEFAULT });
        limit.completed(NOW);
        let completes = |limit: &RatioLimit<4>| {
            limit.completed(NOW);
            false
        };
        let answers = together(&limit, [backs_up, backs_up, completes]);
        assert!(granted(&answers) <= 1);
        assert_eq!(backs_up(&*limit), granted(&answers) == 0);
    });
    check("ratio: what is taken back leaves what another was granted", || {
        let limit = ratio(RatioOptions { burst: 1, ..RatioOptions::DEFAULT });
        let answers = together(&limit, [backs_up_in_vain, backs_up]);
        assert_eq!(backs_up(&*limit), granted(&answers) == 0);
    });
    check("ratio, cached: one of two looks, once an interval", || {
        let interval = RatioOptions { update_interval_seconds: 1, window_size_seconds: 1, ..RatioOptions::DEFAULT };
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
    Arc::new(Budget::new(options).expect("options in their ranges"))
}

const BARE: BudgetOptions = BudgetOptions { share: 0.0, burst: 2, minimum_per_second: 0, maximum_per_second: None };

fn budgets() {
    check("budget: two withdrawals and a deposit never pay out more than there is, nor less", || {
        let budget = budget(BudgetOptions { share: 0.5, ..BARE });
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
        let budget = budget(BudgetOptions { burst: 3, minimum_per_second: 1_000, ..BARE });
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
        let budget = budget(BudgetOptions { burst: 10, maximum_per_second: Some(1), ..BARE });
        let answers = together(&budget, [backs_up, backs_up]);
        assert!(granted(&answers) <= 1);
        assert_eq!(backs_up(&*budget), granted(&answers) == 0);
    });
}

fn buckets() {
    check("tokens: two failures and a success leave what some order of them leaves", || {
        let bucket = TokenBucket::new(TokenOptions::Trpc { max_tokens: 3, token_ratio: 2 });
        let bucket = Arc::new(bucket.expect("options in their ranges"));
        assert_eq!(bucket.tokens_milli(), 3_000);
        together(&bucket, [TokenBucket::failed, TokenBucket::failed, TokenBucket::succeeded]);
        assert!([0, 1_000].contains(&bucket.tokens_milli()));
    });
    check("tokens: nobody sees a bucket that holds more than it can, or less than nothing", || {
        let bucket = TokenBucket::new(TokenOptions::Trpc { max_tokens: 3, token_ratio: 4 });
        let bucket = Arc::new(bucket.expect("options in their ranges"));
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

// ---- latency ----

/// A recorder over a second, in halves of 31 slices, with one sample in its first slice.
fn recorder() -> Arc<LatencyRecorder> {
    let recorder = LatencyRecorder::new(Duration::from_secs(1), Quantile::P95).expect("a window of a second");
    assert_eq!(recorder.window().as_micros(), recorder.slice().as_micros() * 62);
    recorder.record(recorder.at(1), MS);
    assert_eq!((recorder.held(1), recorder.kept()), (1, None), "the upkeep comes before the sample");
    Arc::new(recorder)
}

const MS: Duration = Duration::from_millis(1);

/// As precisely as a bucket tells.
fn is_a_millisecond(kept: Duration) -> bool {
    kept.as_micros().abs_diff(1_000) <= 60
}

impl LatencyRecorder {
    fn at(&self, slice: u64) -> Instant {
        Instant::from_micros(self.slice().as_micros() * slice)
    }

    fn held(&self, slice: u64) -> u64 {
        self.snapshot(self.at(slice)).count()
    }

    fn one(&self, slice: u64) -> u64 {
        self.record(self.at(slice), MS);
        0
    }
}

fn latencies() {
    check_walks("latency: no sample is lost when a slice begins, and one of two does the upkeep", || {
        let recorder = recorder();
        together(&recorder, [|recorder| recorder.one(2), |recorder| recorder.one(2)]);
        assert_eq!(recorder.held(2), 3);
        assert!(recorder.kept().is_some_and(is_a_millisecond));
    });
    check_walks("latency: no sample is lost when the halves take turns", || {
        let recorder = recorder();
        together(&recorder, [|recorder| recorder.one(35), |recorder| recorder.one(35)]);
        assert_eq!(recorder.held(35), 3);
        assert!(recorder.kept().is_some_and(is_a_millisecond));
    });
    check_walks("latency: after a pause of a window its past is gone, and whoever does the upkeep is counted", || {
        let recorder = recorder();
        together(&recorder, [|recorder| recorder.one(100), |recorder| recorder.one(100)]);
        // Who records while both halves are cleared may be cleared with them.
        assert!([1, 2].contains(&recorder.held(100)));
    });
    check_walks("latency: who asks for the delay while the halves take turns is told what it was or is", || {
        let recorder = recorder();
        recorder.record(recorder.at(2), MS);
        let asks = |recorder: &LatencyRecorder| {
            assert!(recorder.kept().is_some_and(is_a_millisecond) && !recorder.is_stale(recorder.at(35)));
            0
        };
        together(&recorder, [|recorder| recorder.one(35), asks]);
        assert_eq!(recorder.held(35), 3);
    });
}

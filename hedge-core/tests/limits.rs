//! Limits under random events, each grant checked by counting everything: on one thread, and on four that share a clock.
//!
//! 10,000,000 events in a release build, fewer in a debug one.
#![cfg(has_atomic_64)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hedge_core::bounded::{Bounded, BoundedSpan, Decimal, Ratio};
use hedge_core::limit::{Budget, BudgetOptions, RatioLimit, RatioOptions};
use hedge_core::outcome::Extra;
use hedge_core::policy::BackupPolicy;
use hedge_core::time::{Duration, Instant, Micros};

const EVENTS: u64 = if cfg!(debug_assertions) { 300_000 } else { 10_000_000 };
const THREADS: usize = 4;
/// What a thread does between two barriers.
const BATCH: u32 = 40;

/// Pauses of very different lengths, so that windows are full, empty, and anything between.
fn pause(rng: &mut fastrand::Rng) -> u64 {
    match rng.u32(..1_000) {
        0 => rng.u64(..60_000_000),
        1..20 => rng.u64(..2_000_000),
        20..600 => rng.u64(..3_000),
        _ => 0,
    }
}

/// Whether what was granted is given back at once: another limit refused.
fn is_given_back(rng: &mut fastrand::Rng) -> bool {
    rng.u32(..8) == 0
}

/// A ratio or share as those who ask for it mean it.
#[derive(Clone, Copy)]
struct Fraction(u64, u64);

impl Fraction {
    fn value(self) -> f64 {
        self.0 as f64 / self.1 as f64
    }
}

/// Times of the last window.
#[derive(Default)]
struct Trailing(VecDeque<(u64, u64)>, u64);

impl Trailing {
    fn add(&mut self, at: u64, n: u64) {
        self.0.push_back((at, n));
        self.1 += n;
    }

    /// How many there are after `now - window`.
    fn count(&mut self, now: u64, window: u64) -> u64 {
        while let Some((at, n)) = self.0.front()
            && at + window <= now
        {
            self.1 -= n;
            self.0.pop_front();
        }
        self.1
    }
}

/// Rule B3 by counting.
struct RatioBound {
    ratio: Fraction,
    options: RatioOptions,
    granted: Trailing,
    completed: Trailing,
}

impl RatioBound {
    fn new(ratio: Fraction, options: RatioOptions) -> Self {
        Self { ratio, options, granted: Trailing::default(), completed: Trailing::default() }
    }

    fn check(&mut self, now: u64) -> Result<(), String> {
        let window = Micros::from(self.options.window.get()).as_micros();
        let (granted, completed) = (self.granted.count(now, window), self.completed.count(now, window));
        let Fraction(some, of) = self.ratio;
        if of * granted <= some * completed + of * u64::from(self.options.burst.get()) {
            return Ok(());
        }
        Err(format!("{granted} granted, {completed} completed at {now} under {:?}", self.options))
    }
}

/// Rule B5 by counting: over any window that ends now, by the lowest that the balance of all has ever been.
struct BudgetBound {
    share: Fraction,
    options: BudgetOptions,
    /// In millionths of an attempt and of what the share is in parts of: granted, less what was paid for.
    balance: i128,
    lowest: i128,
    at: u64,
}

impl BudgetBound {
    fn new(share: Fraction, options: BudgetOptions) -> Self {
        Self { share, options, balance: 0, lowest: 0, at: 0 }
    }

    fn attempts(&self, n: u64) -> i128 {
        i128::from(n) * i128::from(self.share.1) * 1_000_000
    }

    fn pass(&mut self, now: u64) {
        let a_second = i128::from(self.options.minimum_per_second.get()) * i128::from(self.share.1);
        self.balance -= a_second * i128::from(now - self.at);
        self.at = now;
    }

    fn complete(&mut self, n: u64) {
        self.balance -= i128::from(self.share.0) * i128::from(n) * 1_000_000;
    }

    /// A window may begin here.
    fn begin(&mut self) {
        self.lowest = self.lowest.min(self.balance);
    }

    fn grant(&mut self, n: u64) -> Result<(), String> {
        self.balance += self.attempts(n);
        let (over, burst) = (self.balance - self.lowest, self.attempts(self.options.burst.get().into()));
        if over <= burst {
            return Ok(());
        }
        Err(format!("{over} over {burst} at {} under {:?}", self.at, self.options))
    }
}

fn ratios() -> [(Fraction, RatioOptions); 7] {
    let options = |ratio: Fraction, window_s, burst| {
        let max_backup_ratio = Ratio::new(ratio.value()).unwrap();
        let window = BoundedSpan::new(Duration::from_secs(window_s)).unwrap();
        let burst = Bounded::new(burst).unwrap();
        (ratio, RatioOptions { max_backup_ratio, window, burst, ..RatioOptions::DEFAULT })
    };
    [
        options(Fraction(1, 10), 10, 10),
        options(Fraction(37, 100), 1, 0),
        options(Fraction(1, 100), 60, 3),
        options(Fraction(99, 100), 3, 1),
        options(Fraction(2, 3), 3_600, 0),
        options(Fraction(1, 7), 5, 0),
        options(Fraction(3, 11), 17, 2),
    ]
}

fn budgets() -> [(Fraction, BudgetOptions); 5] {
    let options = |share: Fraction, burst, minimum_per_second| {
        let (burst, minimum_per_second) = (Bounded::new(burst).unwrap(), Bounded::new(minimum_per_second).unwrap());
        let share_value = Decimal::new(share.value()).unwrap();
        (share, BudgetOptions { share: share_value, burst, minimum_per_second, maximum_per_second: None })
    };
    [
        options(Fraction(1, 5), 100, 10),
        options(Fraction(0, 1), 2, 997),
        options(Fraction(7, 10), 5, 0),
        options(Fraction(3, 1), 16_000, 1_000),
        options(Fraction(2, 3), 3, 1),
    ]
}

#[test]
fn b3_exact_never_exceeds_its_bound_on_one_thread() {
    never_exceeds_its_bound::<64>(0);
    never_exceeds_its_bound::<16>(1 << 50);
    never_exceeds_its_bound::<4>(1_770_000_000_000_000);
}

/// Counted in so many buckets, from an origin of time.
fn never_exceeds_its_bound<const N: usize>(origin: u64) {
    for (seed, (ratio, options)) in (1..).zip(ratios()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limit: RatioLimit<N> = RatioLimit::new(options);
        let mut bound = RatioBound::new(ratio, options);
        let (mut now, mut grants, mut refusals) = (origin, 0, 0);
        for _ in 0..EVENTS / 20 {
            now += pause(&mut rng);
            let at = Instant::from_micros(now);
            if rng.bool() {
                limit.completed(at);
                bound.completed.add(now, 1);
            } else if limit.may_back_up(at).is_ok() {
                if is_given_back(&mut rng) {
                    limit.take_back(Extra::Backup, at);
                    continue;
                }
                bound.granted.add(now, 1);
                bound.check(now).unwrap();
                grants += 1;
            } else {
                refusals += 1;
            }
        }
        println!("{N} buckets, seed {seed}: {grants} granted, {refusals} refused");
        assert!(grants > 0 && refusals > 0);
    }
}

#[test]
fn b5_a_budget_never_exceeds_its_bound_in_any_window_on_one_thread() {
    for (seed, (share, options)) in (1..).zip(budgets()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let budget = Budget::new(options);
        let mut bound = BudgetBound::new(share, options);
        let (mut now, mut grants, mut refusals) = (0, 0, 0);
        for event in 0..EVENTS / 5 {
            now += pause(&mut rng);
            bound.pass(now);
            let at = Instant::from_micros(now);
            // Long stretches of few completions and of many.
            if rng.u64(..10) < event / 10_000 % 10 {
                budget.completed(at);
                bound.complete(1);
            } else if if rng.bool() { budget.may_retry(at) } else { budget.may_back_up(at) }.is_ok() {
                if is_given_back(&mut rng) {
                    budget.take_back(Extra::Retry, at);
                    continue;
                }
                bound.begin();
                bound.grant(1).unwrap();
                grants += 1;
            } else {
                refusals += 1;
            }
        }
        println!("seed {seed}: {grants} granted, {refusals} refused");
        assert!(grants > 0 && (refusals > 0 || options.burst.get() > 1_000));
    }
}

/// What the threads have done since the last barrier.
#[derive(Default)]
struct Round {
    granted: AtomicU64,
    completed: AtomicU64,
}

/// Runs `complete` and `grant` on all threads at one instant after another, and `check` between them.
fn on_threads(
    seed: u64,
    complete: impl Fn(Instant) + Sync,
    grant: impl Fn(Instant) -> bool + Sync,
    give_back: impl Fn(Instant) + Sync,
    mut check: impl FnMut(u64, u64, u64) -> Result<(), String>,
) {
    let (barrier, now, round) = (Barrier::new(THREADS + 1), AtomicU64::new(0), Round::default());
    let over = AtomicBool::new(false);
    let rounds = EVENTS / 5 / (THREADS as u64 * u64::from(BATCH));
    std::thread::scope(|scope| {
        for thread in 1..=THREADS as u64 {
            let (complete, grant, give_back) = (&complete, &grant, &give_back);
            let (barrier, now, round, over) = (&barrier, &now, &round, &over);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed << 8 | thread);
                loop {
                    barrier.wait();
                    if over.load(Ordering::Acquire) {
                        break;
                    }
                    let at = Instant::from_micros(now.load(Ordering::Acquire));
                    let completing = rng.u32(..BATCH);
                    for _ in 0..BATCH {
                        if rng.u32(..BATCH) < completing {
                            // Told before it is counted here, so that what is counted has been told.
                            complete(at);
                            round.completed.fetch_add(1, Ordering::Relaxed);
                        } else if grant(at) {
                            if is_given_back(&mut rng) {
                                give_back(at);
                            } else {
                                round.granted.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    barrier.wait();
                }
            });
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        let held = (0..rounds).try_for_each(|_| {
            let at = now.load(Ordering::Relaxed) + pause(&mut rng) * 8;
            now.store(at, Ordering::Release);
            barrier.wait();
            barrier.wait();
            check(at, round.granted.swap(0, Ordering::Relaxed), round.completed.swap(0, Ordering::Relaxed))
        });
        over.store(true, Ordering::Release);
        barrier.wait();
        held.unwrap();
    });
}

#[test]
fn b3_exact_never_exceeds_its_bound_on_four_threads() {
    for (seed, (ratio, options)) in (1..).zip(ratios()) {
        let limit: RatioLimit = RatioLimit::new(options);
        let mut bound = RatioBound::new(ratio, options);
        let mut grants = 0;
        on_threads(
            seed,
            |at| limit.completed(at),
            |at| limit.may_back_up(at).is_ok(),
            |at| limit.take_back(Extra::Backup, at),
            |at, granted, completed| {
                bound.granted.add(at, granted);
                bound.completed.add(at, completed);
                grants += granted;
                // The rule is about grants: calls that get old make nothing of what was granted before.
                if granted > 0 { bound.check(at) } else { Ok(()) }
            },
        );
        println!("seed {seed}: {grants} granted");
        assert!(grants > 0);
    }
}

#[test]
fn b5_a_budget_never_exceeds_its_bound_on_four_threads() {
    for (seed, (share, options)) in (1..).zip(budgets()) {
        let budget = Budget::new(options);
        let mut bound = BudgetBound::new(share, options);
        let mut grants = 0;
        on_threads(
            seed,
            |at| budget.completed(at),
            |at| budget.may_retry(at).is_ok(),
            |at| budget.take_back(Extra::Retry, at),
            |at, granted, completed| {
                bound.pass(at);
                bound.begin();
                bound.complete(completed);
                grants += granted;
                bound.grant(granted)
            },
        );
        println!("seed {seed}: {grants} granted");
        assert!(grants > 0);
    }
}

#[test]
fn b5_no_second_has_more_than_the_maximum() {
    const SEED: u64 = 9;
    let options = BudgetOptions {
        share: Decimal::of_thousandths::<1_000>(),
        burst: Bounded::of::<1_000>(),
        minimum_per_second: Bounded::of::<0>(),
        maximum_per_second: Some(Bounded::of::<7>()),
    };
    let budget = Budget::new(options);
    let mut rng = fastrand::Rng::with_seed(SEED);
    let (mut now, mut granted, mut most) = (0, Trailing::default(), 0);
    for _ in 0..EVENTS / 100 {
        now += rng.u64(..40_000);
        let at = Instant::from_micros(now);
        budget.completed(at);
        if budget.may_retry(at).is_ok() {
            granted.add(now, 1);
            most = most.max(granted.count(now, 1_000_000));
        }
    }
    println!("seed {SEED}");
    assert_eq!(most, 7);
}

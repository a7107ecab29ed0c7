//! How much a ratio grants, as tables: of what may be granted in a steady state, and beyond the ratio by how often a client
//! calls.
#![cfg(has_atomic_64)]
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "calls and microseconds of these tables are far below 2^52"
)]

use std::collections::VecDeque;

use hedge_core::bounded::{Bounded, BoundedSpan, Ratio};
use hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::{Duration, Instant};

/// Grants of the last window, and calls that completed in it.
struct Trailing {
    window_us: u64,
    grants: VecDeque<u64>,
    calls: VecDeque<u64>,
}

impl Trailing {
    fn new(options: RatioOptions) -> Self {
        let window_us = options.window.get().as_micros() as u64;
        Self { window_us, grants: VecDeque::new(), calls: VecDeque::new() }
    }

    fn counts(&mut self, now: u64) -> (usize, usize) {
        for times in [&mut self.grants, &mut self.calls] {
            while times.front().is_some_and(|at| at + self.window_us <= now) {
                times.pop_front();
            }
        }
        (self.grants.len(), self.calls.len())
    }
}

/// A client that calls every so many microseconds, from `start` on, and whose calls take `latency`.
struct Client {
    every_us: f64,
    start: u64,
    latency: u64,
}

/// What came of a run.
#[derive(Clone, Copy, Default)]
struct Outcome {
    calls: u64,
    asked: u64,
    granted: u64,
}

impl Client {
    /// Makes so many calls of which those ask that `asks` says, and counts from the call number `from` on. Every grant is
    /// checked against the bound over the window that it ends.
    fn run<const N: usize>(
        &self,
        limit: &RatioLimit<N>,
        options: RatioOptions,
        calls: std::ops::Range<u64>,
        mut asks: impl FnMut(u64) -> bool,
    ) -> Outcome {
        let mut trailing = Trailing::new(options);
        let mut working = VecDeque::new();
        let mut outcome = Outcome::default();
        for call in 0..calls.end {
            let now = self.start + (call as f64 * self.every_us) as u64;
            while working.front().is_some_and(|end| *end <= now) {
                let end = working.pop_front().unwrap();
                limit.completed(Instant::from_micros(end));
                trailing.calls.push_back(end);
            }
            let asked = asks(call);
            let granted = asked && limit.may_back_up(Instant::from_micros(now)).is_ok();
            if granted {
                trailing.grants.push_back(now);
                let (grants, completed) = trailing.counts(now);
                let bound = options.max_backup_ratio.get() * completed as f64 + f64::from(options.burst.get());
                assert!(grants as f64 <= bound + 1e-6, "{grants} grants, {completed} calls at {now}: {options:?}");
            }
            if call >= calls.start {
                outcome.calls += 1;
                outcome.asked += u64::from(asked);
                outcome.granted += u64::from(granted);
            }
            working.push_back(now + self.latency);
        }
        outcome
    }
}

fn without_burst(max_backup_ratio: f64, window_s: u32) -> RatioOptions {
    RatioOptions {
        max_backup_ratio: Ratio::new(max_backup_ratio).unwrap(),
        window: BoundedSpan::new(Duration::from_secs(window_s.into())).unwrap(),
        burst: Bounded::of::<0>(),
        ..RatioOptions::DEFAULT
    }
}

/// Of all that a ratio allows in a steady state, what is granted: the worst of some loads, origins of time and latencies.
fn granted_share<const N: usize>(options: RatioOptions) -> f64 {
    let window_us = options.window.get().as_secs_f64() * 1e6;
    let mut worst = f64::INFINITY;
    // Ratio x calls a window: as few as the rule is about, and more.
    for (earned, start, latency) in
        [(100.0, 0, 0), (101.7, 1 << 50, 20_000), (333.0, 12_345_678, 3_000), (1_000.0, 0, 0)]
    {
        let a_window = earned / options.max_backup_ratio.get();
        let client = Client { every_us: window_us / a_window, start, latency };
        let limit = RatioLimit::<N>::new(options);
        let calls = (3.0 * a_window) as u64..(15.0 * a_window) as u64;
        let Outcome { calls, granted, .. } = client.run(&limit, options, calls, |_| true);
        worst = worst.min(granted as f64 / (calls as f64 * options.max_backup_ratio.get()));
    }
    worst
}

#[test]
fn b3_in_a_steady_state_exact_grants_at_least_95_per_cent_of_what_is_asked_for() {
    println!("granted of what a ratio allows, without a burst, {} buckets", hedge_core::limit::BUCKETS);
    for window_size_seconds in [1, 2, 5, 10, 17, 60, 3_600] {
        let mut row = format!("{window_size_seconds:5} s");
        for max_backup_ratio in [0.02, 0.1, 0.37, 0.5, 0.9, 0.99] {
            let options = without_burst(max_backup_ratio, window_size_seconds);
            let share = granted_share::<{ hedge_core::limit::BUCKETS }>(options);
            row += &format!("  {:4.0} %: {:5.1} %", 100.0 * max_backup_ratio, 100.0 * share);
            assert!(share >= 0.95, "{row}");
        }
        println!("{row}");
    }
    for window_size_seconds in [1, 10, 60] {
        let options = without_burst(0.1, window_size_seconds);
        let share = granted_share::<16>(options);
        println!("{window_size_seconds:5} s  10 %, 16 buckets: {:5.1} %", 100.0 * share);
        assert!(share >= 0.9);
    }
}

#[test]
fn b3_what_asks_for_no_more_than_the_ratio_is_granted_nearly_all() {
    for window_size_seconds in [1, 10, 60] {
        for of in [10, 50] {
            let max_backup_ratio = 1.0 / of as f64;
            let options = without_burst(max_backup_ratio, window_size_seconds);
            let a_window = 100 * of;
            let client =
                Client { every_us: f64::from(window_size_seconds) * 1e6 / a_window as f64, start: 0, latency: 5_000 };
            let limit: RatioLimit = RatioLimit::new(options);
            let Outcome { asked, granted, .. } =
                client.run(&limit, options, 3 * a_window..13 * a_window, |call| call % of == 0);
            println!("{window_size_seconds:3} s, one in {of}: {granted} of {asked}");
            assert!(granted * 100 >= asked * 95, "{granted} of {asked}, window {window_size_seconds} s, one in {of}");
        }
    }
}

/// Backups of all calls of a run, all slow, in per cent.
fn extra_load(options: RatioOptions, calls_a_second: f64, calls: u64) -> f64 {
    let limit: RatioLimit = RatioLimit::new(options);
    let client = Client { every_us: 1e6 / calls_a_second, start: 1 << 51, latency: 50_000 };
    let Outcome { calls, granted, .. } = client.run(&limit, options, 0..calls, |_| true);
    100.0 * granted as f64 / calls as f64
}

#[test]
fn b8_the_default_burst_is_no_load_of_its_own_however_seldom_a_client_calls() {
    println!("backups of all calls while everything is slow, of the default options");
    println!(" calls/s  ratio    2 min   10 min   1 hour   6 hours");
    for max_backup_ratio in [0.02, 0.05, 0.1] {
        let ratio = Ratio::new(max_backup_ratio).unwrap();
        let options = RatioOptions { max_backup_ratio: ratio, ..RatioOptions::DEFAULT };
        for calls_a_second in [0.05, 0.2, 1.0, 5.0, 20.0, 100.0] {
            let mut row = format!("{calls_a_second:8.2} {:5.0} %", 100.0 * max_backup_ratio);
            for seconds in [120.0, 600.0, 3_600.0, 21_600.0] {
                // Longer runs are cut: the ratio does not change any more.
                let calls = ((calls_a_second * seconds) as u64).min(50_000);
                let extra = extra_load(options, calls_a_second, calls);
                row += &format!("  {extra:5.1} %");
                // The ratio, and the burst once.
                let most = 100.0 * (max_backup_ratio + f64::from(options.burst.get()) / calls as f64);
                assert!(extra <= most + 1e-9, "{row}, at most {most}");
                // A call in ten, and a cold start: they get what the ratio says, however few a window holds.
                assert!(extra >= 95.0 * max_backup_ratio, "{row}");
            }
            println!("{row}");
        }
    }
    let at_5_a_second =
        extra_load(RatioOptions { max_backup_ratio: Ratio::of_percent::<5>(), ..RatioOptions::DEFAULT }, 5.0, 600);
    assert!(at_5_a_second <= 10.0, "{at_5_a_second}");
    let once_a_second = extra_load(RatioOptions::DEFAULT, 1.0, 120);
    assert!(once_a_second <= 20.0, "{once_a_second}");
}

#[test]
fn b8_an_hour_of_the_defaults_is_what_the_docs_state() {
    for (calls_a_second, backups, with_one) in [(0.1, 45, 36), (1.0, 369, 360), (10.0, 3_609, 3_560)] {
        for (burst, stated) in [(10, backups), (1, with_one)] {
            let options = RatioOptions { burst: Bounded::new(burst).unwrap(), ..RatioOptions::DEFAULT };
            let calls = (calls_a_second * 3_600.0) as u64;
            let granted = (extra_load(options, calls_a_second, calls) * calls as f64 / 100.0).round() as u64;
            println!("{calls_a_second} calls a second, a burst of {burst}: {granted} backups an hour");
            assert_eq!(granted, stated);
        }
    }
    let first = |burst| {
        let options = RatioOptions { burst: Bounded::new(burst).unwrap(), ..RatioOptions::DEFAULT };
        extra_load(options, 1.0, 120) * 1.2
    };
    assert_eq!((first(10).round(), first(1).round()), (21.0, 12.0), "of the first 120 calls");
}

#[test]
fn b3_the_burst_is_there_again_when_calls_have_earned_it_or_after_four_windows_of_rest() {
    let at = |ms: u64| Instant::from_micros((1 << 52) + 1_000 * ms);
    let limit: RatioLimit = RatioLimit::new(RatioOptions::DEFAULT);
    let granted = |ms| (0..100).filter(|_| limit.may_back_up(at(ms)).is_ok()).count();
    assert_eq!(granted(0), 10, "the cold start");
    assert_eq!([granted(11_000), granted(39_000)], [0, 0], "not by itself");
    (0..30).for_each(|_| limit.completed(at(39_000)));
    assert_eq!(granted(39_000), 3, "three of thirty calls, which the window pays for");
    assert_eq!(granted(52_000), 0, "they have been paid out");
    (0..10).for_each(|call| limit.completed(at(52_000 + 9_000 * call)));
    assert_eq!(granted(133_000 + 11_000), 1, "calls too few for a window bring one together");
    assert_eq!(granted(144_000 + 39_000), 0);
    assert_eq!(granted(144_000 + 41_000), 10, "all is as at the beginning");
    limit.completed(at(185_000));
    assert_eq!(granted(185_000 + 39_000), 0, "a call has completed");
}

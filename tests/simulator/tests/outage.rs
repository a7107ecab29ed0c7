//! B8: no hedging into an outage. What limits that have no bound let through is printed beside.
#![allow(clippy::unwrap_used, reason = "tests")]

use hedge_core::limit::{BudgetOptions, LimitOptions, Limits, RatioMode, RatioOptions, TokenOptions};
use hedge_simulator::outage::{Outage, Sent, run};

const NONE: LimitOptions = LimitOptions::NONE;
const RATIO: RatioOptions = RatioOptions::DEFAULT;
const BUDGET: BudgetOptions = BudgetOptions::DEFAULT;

fn sent(outage: Outage, limits: LimitOptions, calls: u32) -> Sent {
    run(outage, Limits::new(limits), calls).unwrap()
}

/// What rule B8 allows under `Exact`.
fn exact_bound(calls: u32, sent: Sent) -> f64 {
    let windows = (sent.run.as_micros() as f64 / 1e6 / RATIO.window.get().as_secs_f64()).ceil();
    f64::from(calls) * (1.0 + RATIO.max_backup_ratio.get()) + f64::from(RATIO.burst.get()) * windows
}

/// What rule B8 allows under `Budget`.
fn budget_bound(calls: u32, sent: Sent) -> f64 {
    let seconds = sent.run.as_micros() as f64 / 1e6;
    let minimum = f64::from(BUDGET.minimum_per_second.get()) * seconds;
    f64::from(calls) * (1.0 + BUDGET.share.get()) + f64::from(BUDGET.burst.get()) + minimum
}

fn print(calls: u32, outage: Outage, limit: &str, sent: Sent, bound: Option<f64>) {
    let bound = bound.map_or(String::new(), |bound| format!(", at most {bound:.0}"));
    println!("{calls:6} calls, every server {outage:?}, {limit:7} {:7} attempts{bound}", sent.attempts);
}

#[test]
fn b8_a_slow_cluster_is_not_sent_everything_twice() {
    for calls in [1_000, 100_000] {
        let exact = sent(Outage::Slow, LimitOptions { ratio: Some(RATIO), ..NONE }, calls);
        let budget = sent(Outage::Slow, LimitOptions { budget: Some(BUDGET), ..NONE }, calls);
        let safe = sent(Outage::Slow, LimitOptions::SAFE, calls);
        let bounds = [exact_bound(calls, exact), budget_bound(calls, budget)];
        print(calls, Outage::Slow, "exact", exact, Some(bounds[0]));
        print(calls, Outage::Slow, "budget", budget, Some(bounds[1]));
        print(calls, Outage::Slow, "safe", safe, Some(exact_bound(calls, safe)));
        assert!(exact.attempts as f64 <= bounds[0]);
        assert!(budget.attempts as f64 <= bounds[1]);
        assert!(safe.attempts as f64 <= exact_bound(calls, safe).min(budget_bound(calls, safe)));
        // They are limits, and no ban.
        assert!(exact.attempts > u64::from(calls) && budget.attempts > u64::from(calls));
        others(Outage::Slow, calls);
    }
}

#[test]
fn b8_a_failing_cluster_is_not_sent_everything_four_times() {
    for calls in [1_000, 100_000] {
        let budget = sent(Outage::Failing, LimitOptions { budget: Some(BUDGET), ..NONE }, calls);
        let safe = sent(Outage::Failing, LimitOptions::SAFE, calls);
        print(calls, Outage::Failing, "budget", budget, Some(budget_bound(calls, budget)));
        print(calls, Outage::Failing, "safe", safe, Some(budget_bound(calls, safe)));
        assert!(budget.attempts as f64 <= budget_bound(calls, budget));
        assert!(safe.attempts as f64 <= budget_bound(calls, safe));
        assert!(budget.attempts > u64::from(calls));
        others(Outage::Failing, calls);
    }
}

/// Limits for which the rule has no bound, and none at all.
fn others(outage: Outage, calls: u32) {
    let cached = RatioOptions { mode: RatioMode::Cached, ..RATIO };
    for (limit, limits) in [
        ("cached", LimitOptions { ratio: Some(cached), ..NONE }),
        ("tokens", LimitOptions { tokens: Some(TokenOptions::TRPC), ..NONE }),
        ("none", NONE),
    ] {
        print(calls, outage, limit, sent(outage, limits, calls), None);
    }
    let none = sent(outage, NONE, calls).attempts;
    assert_eq!(none, u64::from(calls) * if outage == Outage::Slow { 2 } else { 4 });
}

//! Suite `circuit_breaker_traces`: attempts in, and out the one at which brpc's circuit breaker isolates the server first.

use hedge_core::health::{Breaker, BreakerChange, CircuitBreaker, CircuitOptions, CircuitState, Outcome};
use hedge_core::outcome::{Code, ErrorKind, Feedback};
use hedge_core::time::{Duration, Instant, Micros};
use serde::Deserialize;

use crate::{Case, compare};

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    cases: Vec<Trace>,
    /// Whether a server that only answers that it is over its limit is never isolated.
    #[serde(default, rename = "ELIMIT_ignored_returns")]
    over_limit_ignored: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    name: String,
    warm_ok_calls: u64,
    fail_every: u64,
    ok_latency_us: u64,
    err_latency_us: u64,
    /// How many calls are made.
    n: u64,
    /// From 1; -1 if none of them.
    first_unhealthy_call: i64,
    /// How long the first isolation lasts, or would.
    isolation_ms: u64,
}

/// More failures than any window stands.
const REFUSALS: u64 = 20_000;

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    let cases = table.cases.into_iter().map(|trace| {
        let expected = (trace.first_unhealthy_call, trace.isolation_ms);
        let got = first_isolation(trace.n, |call| outcome(&trace, call)).map(|first| {
            let (call, isolation) = first.unwrap_or((-1, CircuitOptions::DEFAULT.isolation.times.min().get()));
            (call, Micros::from(isolation).as_millis())
        });
        compare(trace.name, &expected, got)
    });
    let over_limit = table.over_limit_ignored.map(|expected| {
        let refused = Feedback::Failure { latency: Micros::from_millis(1) };
        let got = first_isolation(REFUSALS, |_| Outcome::new(refused, ErrorKind::OverLimit.into()));
        compare("ELIMIT is ignored".into(), &expected, got.map(|first| first.is_none()))
    });
    Ok(cases.chain(over_limit).collect())
}

fn outcome(trace: &Trace, call: u64) -> Outcome {
    let after = call.saturating_sub(trace.warm_ok_calls);
    // Nothing fails if what would is every 0th.
    if after > 0 && after.checked_rem(trace.fail_every) == Some(0) {
        let latency = Micros::from_micros(trace.err_latency_us);
        Outcome::new(Feedback::Failure { latency }, ErrorKind::Broken.into())
    } else {
        Outcome::new(Feedback::Success { latency: Micros::from_micros(trace.ok_latency_us) }, Code::NONE)
    }
}

/// The call at which a fresh server is isolated, and for how long.
fn first_isolation(calls: u64, outcome: impl Fn(u64) -> Outcome) -> Result<Option<(i64, Duration)>, String> {
    let breaker = CircuitBreaker::new(CircuitOptions::DEFAULT);
    let server = CircuitState::default();
    let mut now = Instant::ZERO;
    for (call, number) in (1..=calls).zip(1i64..) {
        now = now + Duration::from_millis(1);
        match breaker.finished(&server, now, outcome(call), || true) {
            Some(BreakerChange::Isolated { isolation }) => return Ok(Some((number, isolation))),
            Some(BreakerChange::Returned) => return Err(format!("call {call}: returned without having been isolated")),
            None => {}
        }
    }
    Ok(None)
}

//! One odd server among a few: which share of the calls it gets, and how many of them fail.

use std::fmt;

use hedge_core::health::{BreakerOptions, CircuitOptions, FailureOptions};
use hedge_core::policy::{BackupDelay, ChannelOptions};
use hedge_core::time::{Duration, Timeout};

use super::{Arrivals, Condition, Measured, Scenario, Service, Step, run};
use crate::{Broken, Latency};

/// One fleet of a few servers, of which one is odd, and the breakers that it is under.
#[derive(Clone, Debug)]
pub struct Odd {
    /// What happens.
    pub scenario: Scenario,
    /// How many calls are made.
    pub calls: usize,
    /// Under what.
    pub breakers: &'static [Option<BreakerOptions>],
    /// From which second of the run on the share is measured, its warm-up included; of all calls after the warm-up, where
    /// nothing is said.
    pub from: Option<usize>,
}

/// What became of it before one balancer, under one breaker.
#[derive(Clone, Debug)]
pub struct OddRow {
    /// What happened.
    pub scenario: &'static str,
    /// The balancer.
    pub balancer: &'static str,
    /// The breaker.
    pub breaker: Option<BreakerOptions>,
    /// How many calls were made.
    pub calls: usize,
    /// How many servers there are.
    pub servers: usize,
    /// How many calls failed.
    pub failed: u64,
    /// Which share of the first attempts the odd one got, or of all attempts from some second on.
    pub share: f64,
    /// How long the slowest hundredth of the calls waited at least.
    pub p99_ms: f64,
    /// How many attempts a call had.
    pub attempts: f64,
}

impl OddRow {
    /// What stands above the columns.
    pub const HEADER: &'static str =
        "balancer   breaker    calls  failed     %   fair %   odd gets %   p99 ms  attempts a call";
}

impl fmt::Display for OddRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breaker = match self.breaker {
            None => "-",
            Some(BreakerOptions::Circuit(_)) => "circuit",
            Some(_) => "in a row",
        };
        let Self { balancer, calls, failed, share, p99_ms, attempts, .. } = self;
        let failed_share = 100.0 * *failed as f64 / *calls as f64;
        let (fair, share) = (100.0 / self.servers as f64, 100.0 * share);
        write!(f, "{balancer:<11}{breaker:<9}{calls:>7}{failed:>8}{failed_share:>6.1}{fair:>9.1}{share:>13.2}")?;
        write!(f, "{p99_ms:>9.1}{attempts:>17.3}")
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const NONE: &[Option<BreakerOptions>] = &[None];
const EACH: &[Option<BreakerOptions>] = &[
    None,
    Some(BreakerOptions::Circuit(CircuitOptions::DEFAULT)),
    Some(BreakerOptions::ConsecutiveFailures(FailureOptions::DEFAULT)),
];

/// So many servers that take 5 ms, and calls in a row.
fn few(name: &'static str, servers: usize) -> Scenario {
    Scenario {
        paces: vec![1.0; servers],
        weights: vec![1; servers],
        service: Service::Plain(Latency::Constant(MS(5))),
        arrivals: Arrivals::InRow(1),
        warm_up: MS(2_000),
        ..Scenario::alike(name, 0.0)
    }
}

/// The first of three never answers.
fn hung(name: &'static str, callers: usize) -> Scenario {
    let options = ChannelOptions { timeout: Timeout::after(MS(200)), ..ChannelOptions::brpc() };
    let arrivals = Arrivals::InRow(callers);
    Scenario { arrivals, options, warm_up: Duration::ZERO, ..few(name, 3) }.with_first(Condition::Frozen)
}

/// The first of three takes 60 ms from after the warm-up on.
fn slow(name: &'static str) -> Scenario {
    backup_after(few(name, 3).with_first(Condition::Slow(12.0)), 15)
}

/// The first of a few stalls.
fn stalls(name: &'static str, servers: usize) -> Scenario {
    backup_after(few(name, servers).with_first(Condition::Frozen), 20)
}

/// The first of three is down for 10 s, and then cold for 1.5 s.
fn comes_back(name: &'static str, per_second: f64) -> Scenario {
    let step = |ms, condition| Step { after: MS(ms), server: 0, condition };
    let steps = vec![step(0, Condition::Down), step(10_000, Condition::Slow(40.0)), step(11_500, Condition::Well)];
    let service = Service::Plain(Latency::LogNormal(MS(4), 0.7));
    Scenario { arrivals: Arrivals::Poisson, per_second, service, steps, ..few(name, 3) }
}

fn backup_after(mut scenario: Scenario, ms: u64) -> Scenario {
    scenario.options.backup = BackupDelay::after(MS(ms));
    scenario
}

impl Odd {
    /// Those of the table, in its order.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of = |scenario, calls| Self { scenario, calls, breakers: NONE, from: None };
        let under_each = |scenario, calls| Self { breakers: EACH, ..of(scenario, calls) };
        // From 15 s after it is up again.
        let back = |scenario, calls| Self { from: Some(27), ..of(scenario, calls) };
        let stream =
            Scenario { stream: Some(Duration::from_secs(3)), ..few("two, a body of 3 s at one, shares after that", 2) };
        let at_once = Scenario { arrivals: Arrivals::Poisson, per_second: 1_000.0, ..slow("the same, 1,000 calls/s") };
        vec![
            under_each(hung("three, one hung, timeout 200 ms, one caller", 1), 9_000),
            under_each(hung("the same, few calls", 1), 300),
            under_each(hung("the same, 16 callers", 16), 9_000),
            of(slow("three, one from 5 to 60 ms, backup after 15 ms, one caller"), 10_000),
            of(at_once, 20_000),
            of(stalls("two, one stalls, backup after 20 ms", 2), 10_000),
            of(stalls("three, one stalls, backup after 20 ms", 3), 10_000),
            of(stalls("four, one stalls, backup after 20 ms", 4), 10_000),
            of(stalls("six, one stalls, backup after 20 ms", 6), 10_000),
            Self { from: Some(6), ..of(stream, 4_000) },
            back(comes_back("three, one down for 10 s, then cold, 1,000 calls/s", 1_000.0), 60_000),
            back(comes_back("the same, 100 calls/s", 100.0), 6_000),
        ]
    }

    /// Its rows: each balancer under each breaker.
    ///
    /// # Errors
    /// As [`run`].
    pub fn rows_before(&self, balancers: &[&'static str], seed: u64) -> Result<Vec<OddRow>, Broken> {
        let each = balancers.iter().flat_map(|balancer| self.breakers.iter().map(move |breaker| (*balancer, *breaker)));
        each.map(|(balancer, breaker)| self.row(balancer, breaker, seed)).collect()
    }

    fn row(&self, balancer: &'static str, breaker: Option<BreakerOptions>, seed: u64) -> Result<OddRow, Broken> {
        let scenario = Scenario { breaker, ..self.scenario.clone() };
        let measured = run(&scenario, balancer, self.calls, seed)?;
        let odd = measured.streamed.unwrap_or(0);
        let share = match self.from {
            Some(second) => measured.share(odd, second..measured.seconds.len()),
            None => measured.first_share(odd),
        };
        let Measured { failed, .. } = measured;
        let attempts = measured.attempts.iter().sum::<u64>() as f64 / measured.latencies_us.len() as f64;
        let (servers, p99_ms) = (scenario.paces.len(), measured.percentile_ms(0.99));
        Ok(OddRow {
            scenario: scenario.name,
            balancer,
            breaker,
            calls: self.calls,
            servers,
            failed,
            share,
            p99_ms,
            attempts,
        })
    }
}

//! Balancers against each other: every one of [`BalancerName::NAMES`] before the same simulated fleets, in [`Scenario`]s that
//! are fair to it and in some that are not, and what callers waited, what failed and who had how much to do.
//!
//! # The model
//! Ten servers of four workers and one FIFO queue each, which take 10 ms of work for a request, exponentially distributed:
//! 4,000 requests a second are their capacity. Calls arrive as a Poisson process that does not wait for answers, and pass
//! through real channels with brpc's options (500 ms, 3 retries, no backups) and no limits on retries. A request that nobody
//! waits for any more is dropped when its turn comes; one that is being served is served to its end. Requests and answers
//! take no time to travel, a probe's answer 0.5 ms; of other clients' requests a client knows nothing. A server whose
//! connection is refused or reset is isolated and checked as H1 says; that is all there is of health, as breakers would hide
//! what balancers do.
//!
//! The first 5 s of a run are not measured, and all servers are well in them.
//!
//! # The columns
//! How long callers waited, whatever came of it; which share of the calls failed or was answered wrongly; how much work the
//! server got that got most, over the mean; which share of the calls went to another server first than the last call with
//! their key; and which share of the attempts went to servers that were not well at that time.

mod odd;
mod run;
mod scenario;
mod server;

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hedge_core::balance::BalancerName;
use hedge_core::time::Duration;

pub use odd::{Odd, OddRow};
pub use run::run;
pub use scenario::{Arrivals, Keys, SERVERS, Scenario, Step};
pub use server::{Condition, Server, Service, WORKERS};

use crate::Broken;

/// Balancers that are in the table beside those without parameters: what more choices do, and more points.
pub const VARIANTS: &[&str] = &["p2c:choices=4", "c_ketama:replicas=1000"];

/// What became of a run, without its warm-up.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long each call took, in us, ascending; also of those that failed.
    pub latencies_us: Vec<u64>,
    /// How many of them failed, or were answered wrongly.
    pub failed: u64,
    /// Of calls whose key had been called before: how many there were, and how many of them went to another server first
    /// than the last one with their key.
    pub moved: (u64, u64),
    /// How many attempts each server got.
    pub attempts: Vec<u64>,
    /// How many of them were the first of a call.
    pub firsts: Vec<u64>,
    /// Which server's body was streamed, if one was.
    pub streamed: Option<usize>,
    /// How much work they were.
    pub work: Vec<Duration>,
    /// How many attempts went to servers that were not well at that time; `None` where all are all the time.
    pub unwell: Option<u64>,
    /// The attempts that each server got in each second of the run, its warm-up included.
    pub seconds: Vec<Vec<u32>>,
}

impl Measured {
    /// The least latency in ms that at least this share of the calls, in 0..=1, did not exceed.
    #[must_use]
    pub fn percentile_ms(&self, share: f64) -> f64 {
        crate::fleet::percentile_ms(&self.latencies_us, share)
    }

    /// Which share of the calls failed.
    #[must_use]
    pub fn errors(&self) -> f64 {
        ratio(self.failed, self.latencies_us.len() as u64)
    }

    /// The work of the server that was sent most of it, over the mean of all.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let us = |work: &Duration| work.as_micros() as f64;
        let sum: f64 = self.work.iter().map(us).sum();
        self.work.iter().map(us).fold(0.0, f64::max) * self.work.len() as f64 / sum
    }

    /// Which share of the calls went to another server first than the last one with their key.
    #[must_use]
    pub fn moved(&self) -> f64 {
        ratio(self.moved.1, self.moved.0)
    }

    /// Which share of the first attempts went to a server.
    #[must_use]
    pub fn first_share(&self, server: usize) -> f64 {
        ratio(self.firsts[server], self.firsts.iter().sum())
    }

    /// Which share of the attempts went to servers that were not well.
    #[must_use]
    pub fn unwell(&self) -> Option<f64> {
        self.unwell.map(|unwell| ratio(unwell, self.attempts.iter().sum()))
    }

    /// Which share of the attempts of these seconds of the run went to a server; NaN if there were none.
    #[must_use]
    pub fn share(&self, server: usize, seconds: std::ops::Range<usize>) -> f64 {
        let seconds = &self.seconds[seconds];
        let to = |server: usize| seconds.iter().map(|second| u64::from(second[server])).sum();
        ratio(to(server), (0..self.attempts.len()).map(to).sum())
    }
}

fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

/// One line of the table: a balancer in a scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// The balancer.
    pub balancer: &'static str,
    /// What became of it.
    pub measured: Measured,
}

impl Row {
    /// What stands above the columns.
    pub const HEADER: &'static str =
        "balancer                  p50 ms  p99 ms  p99.9 ms  errors %  imbalance  moved %  to unwell %";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.measured;
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| it.percentile_ms(share));
        let (errors, imbalance, moved) = (100.0 * it.errors(), it.imbalance(), 100.0 * it.moved());
        write!(f, "{:<24}{p50:>8.1}{p99:>8.1}{p999:>10.1}{errors:>10.2}{imbalance:>11.2}{moved:>9.1}", self.balancer)?;
        match it.unwell() {
            Some(unwell) => write!(f, "{:>13.2}", 100.0 * unwell),
            None => write!(f, "{:>13}", "-"),
        }
    }
}

/// Every balancer in every one of the scenarios, `calls` calls each, on as many threads as there are processors; in the
/// order of the scenarios, then of the names and [`VARIANTS`].
///
/// # Errors
/// The first broken promise, or a balancer that cannot be made.
pub fn table(scenarios: &[Scenario], calls: usize, seed: u64) -> Result<Vec<(&Scenario, Vec<Row>)>, Broken> {
    let names = [BalancerName::NAMES, VARIANTS].concat();
    let next = AtomicUsize::new(0);
    let cells = || {
        let mut done = Vec::new();
        loop {
            let cell = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(cell / names.len()) else { return done };
            let balancer = names[cell % names.len()];
            done.push((cell, run(scenario, balancer, calls, seed).map(|measured| Row { balancer, measured })));
        }
    };
    let mut done = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(cells)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    done.sort_unstable_by_key(|(cell, _)| *cell);
    let mut rows = done.into_iter().map(|(_, row)| row);
    scenarios.iter().map(|it| Ok((it, rows.by_ref().take(names.len()).collect::<Result<_, _>>()?))).collect()
}

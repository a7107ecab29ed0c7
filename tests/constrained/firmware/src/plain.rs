//! The calls without hedge: each is sent once, to any server.

use cortex_m_semihosting::hprintln;

use crate::fleet::{CALLS, Fleet};
use crate::histogram::Histogram;

/// The result of a run.
pub(crate) struct Run {
    /// How long its calls took.
    pub(crate) latencies: Histogram,
    /// How many requests were sent.
    pub(crate) attempts: u32,
    /// How many calls a backup won.
    pub(crate) backups_won: u32,
}

impl Run {
    /// A run without calls.
    pub(crate) const fn new() -> Self {
        Self { latencies: Histogram::new(), attempts: 0, backups_won: 0 }
    }

    /// Prints one line.
    pub(crate) fn print(&self, name: &str) {
        let at = |thousandths| self.latencies.quantile(thousandths);
        hprintln!(
            "{:<8} {} calls, {} requests, p50 {} us, p99 {} us, p99.9 {} us, backups won {}",
            name,
            self.latencies.total(),
            self.attempts,
            at(500),
            at(990),
            at(999),
            self.backups_won
        );
    }
}

/// Makes one run and prints it.
pub(crate) fn run() -> Run {
    let mut fleet = Fleet::new();
    let mut run = Run::new();
    for _ in 0..CALLS {
        run.attempts += 1;
        run.latencies.record(fleet.latency());
    }
    run.print("plain");
    run
}

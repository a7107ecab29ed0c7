//! Tied requests on sockets: 20 servers that work 5 ms on each request, one at a time, behind the queue of hedge-tower's
//! tied layer. Calls come at random times, without waiting for each other, so that the servers are busy for 60 % of the
//! time. Three runs are printed: without a backup, with a backup after 2 ms whose loser is cancelled, and with a tied
//! backup.
//!
//! Times are printed but not checked, since the machine may be busy. The counts are checked: no call may fail, and at
//! least one copy of each call must have begun.

mod fleet;
mod load;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::fleet::Fleet;
use crate::load::{Hedging, Plan, Row};

/// How long a server works on a request.
const WORK: Duration = Duration::from_millis(5);
/// After how long a backup is sent.
const DELAY: Duration = Duration::from_millis(2);

/// The goal that is printed: the extra work of tied backups, divided by that of plain backups, is at most this.
const GOAL: f64 = 0.55;

/// Makes calls to 20 servers with queues on loopback: without a backup, with a plain one, and with a tied one.
#[derive(Debug, Parser)]
struct Options {
    /// Runs of 2 s
    #[arg(long)]
    quick: bool,
    /// For how many seconds a run makes calls [default: 20; 2 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: Option<u64>,
    /// The share of the time at which a server is busy without backups, in percent
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=95))]
    load: u64,
    /// Makes the work, the delay of backups and the time between calls this many times longer, for a busy machine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    stretch: u32,
    /// The seed of the arrivals and of the channels
    #[arg(long, default_value_t = 2026)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let seconds = options.seconds.unwrap_or(if options.quick { 2 } else { 20 });
    let (work, delay) = (WORK * options.stretch, DELAY * options.stretch);
    println!("seed {}, {seconds} s a run, {} % load without backups, work {work:?}", options.seed, options.load);
    let plan = Plan { load: options.load as f64 / 100.0, work, delay, seconds: seconds as f64, seed: options.seed };
    println!("{}", Row::HEAD);
    let mut rows = Vec::new();
    for hedging in [Hedging::Off, Hedging::Backup, Hedging::Tied] {
        // Each run has servers of its own, so that no queue is left from the run before.
        // One thread runs all clients and servers, since moving tasks between threads costs more than the tasks
        // themselves.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let fleet = runtime.block_on(Fleet::start(work))?;
        let row = load::run(&runtime, &fleet, hedging, &plan)?;
        println!("{row}");
        rows.push(row);
        runtime.shutdown_background();
    }
    let [_, plain, tied] = &rows[..] else { return Ok(false) };
    println!(
        "tied, next to the plain backup: {:.2} × the extra work (goal: at most {GOAL}), {:.2} × the p99",
        tied.extra() / plain.extra(),
        tied.p99_ms() / plain.p99_ms()
    );
    let mut good = true;
    for row in &rows {
        for fault in row.faults() {
            eprintln!("error: {}: {fault}", row.name());
            good = false;
        }
    }
    Ok(good)
}

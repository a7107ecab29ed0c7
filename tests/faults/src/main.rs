//! Three servers over sockets, of which one is bad: how many calls fail, and what it costs.
//!
//! A run is one fault, one balancer, with or without backups, on one runtime: 10,000 calls by 16 callers with the default
//! limits and the breaker that goes by failures in a row. More than one failed call in 200 is an error, but for the runs that
//! are argued in [`allowed`]; so is an attempt that a broken idle connection cost.

mod allowed;
mod cell;
mod fault;
mod load;
mod server;
mod table;
mod upload;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hedge_net::Runtime;
use hedge_smol::Smol;
use hedge_tokio::Tokio;

use crate::allowed::Allowed;
use crate::cell::{BACKUP, Balancer, Cell, SERVERS, Settings, TIMEOUT};
use crate::fault::Fault;
use crate::server::{CLOSES_AFTER, SLOW};

/// Makes calls to three servers of which one is bad, on loopback, and prints what fails.
#[derive(Debug, Parser)]
struct Options {
    /// 1,000 calls a run for at most 5 s, each with backups or without, and no run without a fault
    #[arg(long)]
    quick: bool,
    /// Calls a run [default: 10000; 1000 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// Calls at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    callers: u64,
    /// Only this runtime; may be given several times, as all of these
    #[arg(long, value_enum)]
    runtime: Vec<On>,
    /// Only this fault
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
    /// Only this balancer
    #[arg(long, value_enum)]
    balancer: Vec<Balancer>,
    /// Only runs with backups, or only those without
    #[arg(long)]
    backups: Option<bool>,
    /// How long servers take for an answer, in microseconds
    #[arg(long, default_value_t = 5_000)]
    work_us: u64,
    /// How long one attempt may take, in milliseconds; a server that hangs may then fail no call
    #[arg(long)]
    attempt_timeout: Option<u64>,
    /// Where the channels' chance comes from
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// No call of a run begins after so many seconds [default: 60; 5 with --quick]
    #[arg(long)]
    at_most: Option<u64>,
    /// How often a run is made that is not good: a machine that stands still for the timeout fails a call a caller
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,
}

/// A runtime of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum On {
    Tokio,
    Smol,
}

impl Options {
    fn settings(&self) -> Settings {
        Settings {
            calls: self.calls.unwrap_or(if self.quick { 1_000 } else { 10_000 }),
            callers: self.callers,
            seed: self.seed,
            work: Duration::from_micros(self.work_us),
            attempt_timeout: self.attempt_timeout.map(Duration::from_millis),
            at_most: Duration::from_secs(self.at_most.unwrap_or(if self.quick { 5 } else { 60 })),
        }
    }

    fn runtimes(&self) -> Vec<On> {
        chosen(&self.runtime, &[On::Tokio, On::Smol])
    }

    /// The runs on one runtime, in order.
    fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for fault in chosen(&self.fault, &Fault::ALL) {
            for balancer in chosen(&self.balancer, &Balancer::ALL) {
                for backups in [false, true] {
                    // Where only time tells, backups are what helps; elsewhere they would hide what is lost.
                    let quick = fault != Fault::None && fault.takes_time() == backups;
                    if (quick || !self.quick) && self.backups.is_none_or(|only| only == backups) {
                        cells.push(Cell { fault, balancer, backups });
                    }
                }
            }
        }
        cells
    }
}

/// What was named, or all.
fn chosen<T: Copy>(named: &[T], all: &[T]) -> Vec<T> {
    if named.is_empty() { all.to_vec() } else { named.to_vec() }
}

fn main() -> ExitCode {
    match matrix(&Options::parse()) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("error: {} runs are not good: {}", failed.len(), failed.join("; "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All runs; answers those that were not good.
fn matrix(options: &Options) -> Result<Vec<String>, Box<dyn Error>> {
    let settings = options.settings();
    println!(
        "{SERVERS} servers that answer after {:?}, one of them bad (slow: {SLOW:?}; closing: {CLOSES_AFTER:?} after an \
         answer); {} calls a run by {} callers, timeout {TIMEOUT:?}, backups after {BACKUP:?}, default limits, breaker: \
         failures in a row; seed {}\nattempts: a call; at bad: of the attempts; <-: more of that than may be\n\n{}",
        settings.work,
        settings.calls,
        settings.callers,
        settings.seed,
        table::head(),
    );
    let mut failed = Vec::new();
    for on in options.runtimes() {
        match on {
            On::Tokio => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let inside = runtime.enter();
                runs(&Tokio::new(), "tokio", options, &mut failed)?;
                drop(inside);
                runtime.shutdown_timeout(TIMEOUT);
            }
            On::Smol => runs(&Smol::new(), "smol", options, &mut failed)?,
        }
    }
    Ok(failed)
}

/// All runs on one runtime.
fn runs<R: Runtime + Unpin>(
    runtime: &R,
    name: &str,
    options: &Options,
    failed: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let settings = options.settings();
    for cell in options.cells() {
        let mut passed = false;
        for _ in 0..options.tries {
            let outcome = cell.run(runtime, settings)?;
            let allowed = Allowed::of(cell, outcome.tally.calls(), settings);
            let verdict = allowed.judge(&outcome.tally, settings);
            println!("{}", table::row(name, cell, &outcome, allowed, verdict));
            passed = !verdict.is_bad();
            if passed {
                break;
            }
        }
        if !passed {
            failed.push(format!("{name}, {cell}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(line: &str) -> Vec<Cell> {
        let words = std::iter::once("hedge-faults").chain(line.split_whitespace());
        Options::try_parse_from(words).unwrap().cells()
    }

    #[test]
    fn the_whole_matrix_is_every_fault_under_every_balancer() {
        assert_eq!(cells("").len(), 8 * 3 * 2);
        assert_eq!(cells("--quick").len(), 7 * 3);
        assert_eq!(cells("--fault hung --fault slow --balancer la").len(), 4);
        let cell = Cell { fault: Fault::Slow, balancer: Balancer::P2c, backups: false };
        assert_eq!(cells("--fault slow --balancer p2c --backups false"), [cell]);
    }
}

//! Makes worlds at random until so many calls have run, and prints what happened in them.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use hedge_simulator::storm::storm;

/// Runs random simulated calls against every promise of the core.
#[derive(Debug, Parser)]
struct Options {
    /// At least so many calls.
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    /// Where all chance comes from.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
}

fn main() -> ExitCode {
    let Options { calls, seed } = Options::parse();
    println!("seed {seed}");
    let started = Instant::now();
    let coverage = match storm(calls, seed) {
        Ok(coverage) => coverage,
        Err(broken) => {
            eprintln!("broken: {broken}");
            return ExitCode::FAILURE;
        }
    };
    print!("{coverage}");
    println!("{} calls in {:.1} s, no promise broken", coverage.calls(), started.elapsed().as_secs_f64());
    let missing = coverage.missing();
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("never happened: {}", missing.join(", "));
    ExitCode::FAILURE
}

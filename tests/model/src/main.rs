//! Plays random scripts before both implementations, and prints the first on which they differ.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use hedge_model::compare;

/// Compares the core's call with a plain implementation of its rules, over random scripts.
#[derive(Debug, Parser)]
struct Options {
    /// How many scripts.
    #[arg(long, default_value_t = 1_000_000)]
    scripts: u64,
    /// The seed of the first; the others follow it.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
}

fn main() -> ExitCode {
    let Options { scripts, seed } = Options::parse();
    println!("seed {seed}");
    let started = Instant::now();
    let coverage = match compare::run(scripts, seed) {
        Ok(coverage) => coverage,
        Err(found) => {
            eprintln!("they differ: {found}");
            return ExitCode::FAILURE;
        }
    };
    print!("{coverage}");
    println!("{scripts} scripts in {:.1} s, no disagreement", started.elapsed().as_secs_f64());
    let missing = coverage.missing();
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("never happened: {}", missing.join(", "));
    ExitCode::FAILURE
}

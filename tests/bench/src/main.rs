//! What a call costs in time and allocations, beside the floor that it cannot go below and beside its peers, in one run.
//!
//! `ci/bench` runs it. What is pending once is awaited in a tokio runtime with sockets and timers, of one thread, as in a
//! program whose calls return in time: every row of it, the floor too, goes through the scheduler once. All else is polled
//! by hand, with no executor's cost in it.

mod allocations;
mod balancers;
mod clock;
mod decisions;
mod driver;
mod harness;
mod layer;
mod limits;
mod pair;
mod peers;
mod servers;
mod table;
mod transport;

use std::env;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hedge_core::balance::RoundRobin;
use hedge_core::policy::CallOptions;
use hedge_instructions::driven::Jumping;
use hedge_instructions::line;

use crate::balancers::{Curve, MANY, SIZES};
use crate::clock::TokioClock;
use crate::harness::{Contender, Effort, measure};
use crate::table::table;

const USAGE: &str = "usage: hedge-bench [--transport] [--quick] [--check] | --instructions [ROW…]
  --transport     requests over sockets, in place of all else
  --quick         fewer and shorter batches
  --check         fail if a target is missed by more than the noise of this run
  --instructions  instructions of requests over sockets, counted by valgrind, in place of all else;
                  of the rows whose names contain a ROW, if there is one";

const FULL: Effort = Effort { batch: Duration::from_micros(500), rounds: 401 };
const QUICK: Effort = Effort { batch: Duration::from_micros(200), rounds: 61 };

fn main() -> ExitCode {
    let (mut quick, mut check, mut transport) = (false, false, false);
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("--instructions", rows)) => return exit(transport::instructions::run(rows)),
        // What `--instructions` runs under valgrind.
        Some(("--requests", arguments)) => return exit(transport::instructions::requests(arguments)),
        _ => {}
    }
    for argument in arguments {
        match argument.as_str() {
            "--transport" => transport = true,
            "--quick" => quick = true,
            "--check" => check = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("error: unknown argument {other}\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let measured = if transport { transport::run(quick) } else { run(if quick { QUICK } else { FULL }) };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) if check => {
            eprintln!("error: a target is missed by more than noise: see ✗");
            ExitCode::FAILURE
        }
        Ok(false) => ExitCode::SUCCESS,
        Err(reason) => exit(Err(reason)),
    }
}

fn exit(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Measures and prints everything; answers whether no target was missed.
fn run(effort: Effort) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("tokio: {error}"))?;
    let _context = runtime.enter();

    let refused = "the core refuses the options";
    let plain = line(RoundRobin::new(1), false).ok_or(refused)?;
    let hedged = line(RoundRobin::new(1), true).ok_or(refused)?;
    let options = CallOptions::new();
    let counter = AtomicU64::new(0);
    let clock = TokioClock::new();
    let jumping = Jumping::default();

    let mut pending = driver::pending_once(&runtime, &hedged, &options, &clock, peers::TOWER_HEDGE);
    pending.extend(layer::contenders(&runtime, &clock, peers::TOWER_HEDGE)?);
    pending.extend(peers::contenders(&runtime));
    let mut curves = Vec::new();
    let (mut many, mut others) = (Vec::new(), Vec::new());
    for Curve { name, of } in balancers::curves().ok_or(refused)? {
        curves.push((name, of.iter().map(|row| row.name).collect::<Vec<_>>()));
        for (servers, row) in SIZES.into_iter().zip(of) {
            if servers == MANY { many.push(row) } else { others.push(row) }
        }
    }
    let sections = [
        ("the decisions, one server of 16 by rr", decisions::contenders(&plain, &hedged, &options, &counter)),
        ("a transport that is ready", driver::ready(&hedged, &options, &clock)),
        ("a transport or service that is pending once; a backup armed after 2 ms of tokio's time", pending),
        (
            "a backup that fires at once and wins, on a clock of the bench's own",
            driver::fires(&hedged, &options, &jumping),
        ),
        ("a limit's decision, on one thread; the time is told", limits::alone().ok_or(refused)?),
        (
            "a limit's decision, on two threads that share it; time a decision of either",
            limits::shared().ok_or(refused)?,
        ),
        ("a pick among 16 servers, each fed by the one before", balancers::few(&counter).ok_or(refused)?),
        (
            "the same on two threads that share the servers; the ratio is to one thread: 0.50 is twice as many picks",
            balancers::shared().ok_or(refused)?,
        ),
        ("an attempt at 16 servers of a channel: picked, sent and answered", balancers::attempts().ok_or(refused)?),
        ("a pick among 1,000 servers", many),
    ];

    let names: Vec<(&str, Vec<&str>)> =
        sections.iter().map(|(title, rows)| (*title, rows.iter().map(|row| row.name).collect())).collect();
    let contenders: Vec<Contender<'_>> = sections.into_iter().flat_map(|(_, rows)| rows).chain(others).collect();
    let measured = measure(contenders, effort)?;
    let (text, fine) = table(&names, &measured);
    print!("{text}{}", table::curves("ns a pick, by the number of servers", &SIZES, &curves, &measured));
    println!(
        "\nmedians of {} batches of {} µs each, all rows in turn; ± is half the distance of the quartiles;\n\
         a ratio is the median of the rounds' ratios to the row that has 1.00 above or beside it",
        effort.rounds,
        effort.batch.as_micros()
    );
    Ok(fine)
}

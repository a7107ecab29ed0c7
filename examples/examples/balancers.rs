//! Every balancer before simulated fleets: what callers wait, what fails, and who has how much to do.
//! Run it: cargo run --release --example balancers [calls a run] [part of a scenario's name]

use std::error::Error;

use hedge_simulator::balancers::{Row, Scenario, table};

const SEED: u64 = 1;

/// How many columns of a bar are ten times as long.
const DECADE: f64 = 10.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let calls = arguments.next().map_or(Ok(100_000), |number| number.parse())?;
    let part = arguments.next().unwrap_or_default();
    let mut scenarios = Scenario::all();
    scenarios.retain(|scenario| scenario.name.contains(&part));

    println!("Ten servers of four workers, 10 ms of work a call, 500 ms at most; {calls} calls each, seed {SEED}.");
    println!("Bars are waiting times from 1 ms on, logarithmic: █ p50, ▒ p99, ░ p99.9.");
    for (scenario, rows) in table(&scenarios, calls, SEED)? {
        println!("\n{}\n{}", scenario.name, Row::HEADER);
        for row in rows {
            println!("{row}  {}", bar(&row));
        }
    }
    Ok(())
}

fn bar(row: &Row) -> String {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| row.measured.percentile_ms(share).log10() * DECADE);
    let columns = (1..).map(f64::from).take_while(|column| *column <= p999);
    let block = |column| match (column <= p50, column <= p99) {
        (true, _) => '█',
        (_, true) => '▒',
        _ => '░',
    };
    columns.map(block).collect()
}

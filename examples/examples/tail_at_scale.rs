//! "The Tail at Scale" in virtual time: requests that read 1,000 keys from 100 servers each, without and with backups.
//! Run it: cargo run --release --example tail_at_scale

use std::error::Error;
use std::thread;

use hedge_core::bounded::Bounded;
use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, NoPolicy, Target};
use hedge_simulator::Measured;
use hedge_simulator::tail::{self, SLOW};

const SEED: u64 = 1;

/// How many columns of the picture are ten times as long.
const DECADE: f64 = 12.0;

fn main() -> Result<(), Box<dyn Error>> {
    let requests = std::env::args().nth(1).map_or(Ok(20_000), |number| number.parse())?;
    println!("{requests} requests a run, each for {} keys; one is done when its last key is read.", tail::KEYS);
    println!("{:.2} % of the reads take longer than {SLOW:?}, whichever server they go to.\n", 100.0 * tail::ABOVE);

    let options = AdaptiveOptions { target: Target::ExtraLoad(Bounded::of::<200>()), ..AdaptiveOptions::DEFAULT };
    let adaptive = AdaptiveDelay::new(options);
    // Each on a thread of its own: the name, the plain delay, and the policy that may know better.
    type Run<'a> = (&'static str, BackupDelay, &'a (dyn BackupPolicy + Sync));
    let runs: [Run<'_>; 3] = [
        ("no backup", BackupDelay::OFF, &NoPolicy),
        ("after 10 ms", BackupDelay::after(SLOW), &NoPolicy),
        ("for 2 % extra", BackupDelay::OFF, &adaptive),
    ];
    let threads = thread::scope(|scope| {
        let start = |(name, backup, policy)| (name, scope.spawn(move || tail::run(backup, policy, requests, SEED)));
        runs.map(start).map(|(name, thread)| (name, thread.join()))
    });
    let mut measured = Vec::new();
    for (name, result) in threads {
        measured.push((name, result.map_err(|_| "a thread panicked")??));
    }
    print_table(&measured);
    print_picture(&measured);
    Ok(())
}

fn print_table(runs: &[(&str, Measured)]) {
    println!("{:<14}{:>9}{:>9}{:>9}{:>9}{:>13}", "in ms", "mean", "p50", "p99", "p99.9", "extra reads");
    for (name, run) in runs {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| run.percentile_ms(share));
        let (mean, extra) = (run.mean_ms(), 100.0 * run.extra());
        println!("{name:<14}{mean:>9.1}{p50:>9.1}{p99:>9.1}{p999:>9.1}{extra:>11.2} %");
    }
    println!("The article has 1800 at p99.9 without backups, and after 10 ms 74 for 2 % more.\n");
}

/// Latencies as bars from 1 ms on, on a logarithmic axis.
fn print_picture(runs: &[(&str, Measured)]) {
    for (label, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        for (index, (name, run)) in runs.iter().enumerate() {
            let ms = run.percentile_ms(share);
            let columns = (1..).take_while(|column| f64::from(*column) <= ms.log10() * DECADE);
            let bar: String = columns.map(|_| '█').collect();
            println!("{:<7}{name:<14}│{bar} {ms:.0}", if index == 0 { label } else { "" });
        }
        println!("{:21}│", "");
    }
    println!("{:21}└{}", "", "───────────┬".repeat(4));
    println!("{:22}1{:>12}{:>13}{:>13}{:>13} ms", "", 10, 100, 1_000, 10_000);
}

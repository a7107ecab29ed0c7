//! Table 2 of *The Tail at Scale*: 400,000 reads a row in a release build, and a twentieth of that in others. The rows are
//! printed side by side: `cargo test --release -p hedge-simulator --test tied -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use hedge_simulator::Measured;
use hedge_simulator::tied::{self, Disks, Hedging, IDLE, SORTING};

const READS: usize = if cfg!(debug_assertions) { 20_000 } else { 400_000 };
const SEED: u64 = 1;
const COLUMNS: [(&str, f64); 4] = [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p99.9_ms", 0.999)];

/// The published percentiles in ms.
fn published(row: &str) -> [f64; 4] {
    let table = include_str!("../tables/tail_at_scale.csv");
    let head: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let line: Vec<&str> = table.lines().find(|line| line.starts_with(row)).unwrap().split(',').collect();
    COLUMNS.map(|(column, _)| line[head.iter().position(|name| *name == column).unwrap()].parse().unwrap())
}

fn run(disks: Disks, hedging: Hedging) -> Measured {
    let measured = tied::run(disks, hedging, READS, SEED).unwrap();
    assert_eq!(measured.calls, READS as u64);
    measured
}

/// Prints a row, and returns how far its percentiles are off the published ones.
fn off(name: &str, measured: &Measured, published: Option<[f64; 4]>) -> [f64; 4] {
    let found = COLUMNS.map(|(_, share)| measured.percentile_ms(share));
    let text: Vec<String> = found.iter().map(|ms| format!("{ms:6.1}")).collect();
    println!("{name:<34} {} ms, {:6.2} % extra reads", text.join(" "), 100.0 * measured.extra());
    let Some(published) = published else { return [0.0; 4] };
    let mut off = [0.0; 4];
    for (off, (found, published)) in off.iter_mut().zip(found.iter().zip(published)) {
        *off = found / published - 1.0;
    }
    let (text, off_text): (Vec<_>, Vec<_>) =
        published.iter().zip(off).map(|(ms, off)| (format!("{ms:6}"), format!("{:+5.0}%", 100.0 * off))).unzip();
    println!("{:<34} {}\n{:<34} {}", "  published", text.join(" "), "  off by", off_text.join(" "));
    off
}

/// The rows of one cluster: without a hedge, to which the model is fitted, tied, and with a plain backup.
fn table(name: &str, disks: Disks) {
    println!("seed {SEED}, {READS} reads, {disks:?}");
    let none = run(disks, Hedging::Off);
    let tied = run(disks, Hedging::Tied);
    let plain = run(disks, Hedging::Backup);
    let fitted = off(&format!("{name}, no hedge"), &none, Some(published(&format!("TaS Table 2 {name},no hedge"))));
    let tied_off = off(&format!("{name}, tied"), &tied, Some(published(&format!("TaS Table 2 {name},tied"))));
    off(&format!("{name}, plain backup"), &plain, None);
    // Of 20,000 reads, 20 are above the p99.9. So it is known only to within a fifth.
    let within = |share: f64| if cfg!(debug_assertions) { 3.0 * share } else { share };
    assert!(fitted.iter().all(|off| off.abs() < within(0.05)), "{fitted:?}");
    assert!(tied_off.iter().all(|off| off.abs() < within(0.1)), "{tied_off:?}");
    assert_eq!(none.extra(), 0.0);
    assert!(tied.extra() < 0.01, "the article: less than 1 % more work for the disks: {}", tied.extra());
    assert!(plain.extra() > 0.5, "{}", plain.extra());
}

#[test]
fn y1_a_mostly_idle_cluster_is_as_in_the_article() {
    table("mostly idle", IDLE);
}

#[test]
fn y1_a_cluster_that_sorts_is_as_in_the_article() {
    table("+ concurrent sort", SORTING);
}

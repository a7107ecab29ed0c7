//! The redundancy threshold against reference means of another simulation: the whole table in a release build, a few of its
//! loads in others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use hedge_simulator::redundancy::{Service, UNIT, run};

const SEED: u64 = 1;

/// How many requests a mean is of, how far it may be off, and at which loads: queues remember for long, and a hundred
/// thousand requests are but a thousand a server.
const REQUESTS: usize = if cfg!(debug_assertions) { 100_000 } else { 300_000 };
/// The same where two means are compared that are close to each other.
const TO_COMPARE: usize = if cfg!(debug_assertions) { REQUESTS } else { 4 * REQUESTS };
const WITHIN: f64 = if cfg!(debug_assertions) { 0.03 } else { 0.02 };
const LOADS: &[f64] = if cfg!(debug_assertions) { &[0.24, 0.30, 0.35] } else { &[] };

struct Row {
    service: Service,
    load: f64,
    /// Of one copy, and of two.
    means: [f64; 2],
    winner: usize,
}

/// The reference table; every load of it if `LOADS` names none.
fn table() -> impl Iterator<Item = Row> {
    let lines = include_str!("../tables/redundancy_threshold.csv").lines().skip(1);
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let service = if cells[0] == "det" { Service::Constant } else { Service::Exponential };
        let number = |cell: &str| cell.parse().unwrap();
        Row {
            service,
            load: number(cells[1]),
            means: [number(cells[2]), number(cells[3])],
            winner: cells[4].parse().unwrap(),
        }
    });
    rows.filter(|row| LOADS.is_empty() || LOADS.contains(&row.load))
}

/// The mean response in service times, of one copy and of two.
fn measure(service: Service, load: f64, requests: usize) -> [f64; 2] {
    [false, true].map(|two_copies| {
        let measured = run(service, load, two_copies, requests, SEED).unwrap();
        assert_eq!(measured.extra(), f64::from(two_copies), "every time, or never");
        measured.mean_ms() / UNIT.as_millis() as f64
    })
}

#[test]
fn means_and_winners_are_the_reference_s() {
    let mut rows = 0;
    for Row { service, load, means, winner } in table() {
        // A quarter of a percent takes more requests to tell: constant times at 0.27.
        let close = (means[0] / means[1] - 1.0).abs() < 0.005;
        let [one, two] = measure(service, load, if close { 20 * REQUESTS } else { REQUESTS });
        println!("{service:?} {load}: {one:.4} and {two:.4}, reference {means:.4?}, seed {SEED}");
        for (mean, expected) in [(one, means[0]), (two, means[1])] {
            assert!((mean / expected - 1.0).abs() < WITHIN, "{service:?} {load}: {mean}, expected {expected}");
        }
        assert_eq!(if two < one { 2 } else { 1 }, winner, "{service:?} {load}");
        rows += 1;
    }
    assert_eq!(rows, if LOADS.is_empty() { 24 } else { 2 * LOADS.len() });
}

/// The load at which two copies are as good as one, between two loads of which the first has them better.
fn threshold(service: Service, loads: [f64; 2]) -> f64 {
    let gain = |load| {
        let [one, two] = measure(service, load, TO_COMPARE);
        one - two
    };
    let [below, above] = loads.map(gain);
    assert!(below > 0.0 && above < 0.0, "{service:?}: {below} and {above} gained");
    loads[0] + (loads[1] - loads[0]) * below / (below - above)
}

#[test]
fn two_copies_pay_below_a_third_of_the_capacity_and_constant_times_below_27_percent() {
    let within = if cfg!(debug_assertions) { 0.01 } else { 0.005 };
    for (service, loads, expected) in
        [(Service::Exponential, [0.32, 0.35], 1.0 / 3.0), (Service::Constant, [0.26, 0.28], 0.271)]
    {
        let at = threshold(service, loads);
        println!("{service:?}: {at:.4}, expected {expected:.4}, seed {SEED}");
        assert!((at - expected).abs() < within, "{service:?}: {at}, expected {expected}");
    }
}

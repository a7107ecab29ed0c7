//! One odd server among a few, before each balancer: the table, and what must hold in it.
//!
//! `UPDATE_TABLES=1 cargo test -p hedge-simulator --test odd` writes the table anew.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use hedge_core::health::BreakerOptions;
use hedge_simulator::balancers::{Odd, OddRow};

const SEED: u64 = 1;
const BALANCERS: &[&str] = &["rr", "wrr", "random", "la", "p2c", "prequal"];

#[test]
fn what_becomes_of_an_odd_server_is_what_the_table_says() {
    let mut text = format!("seed {SEED}\n");
    let mut scenario = "";
    for row in Odd::all().iter().flat_map(|odd| odd.rows_before(BALANCERS, SEED).unwrap()) {
        if row.scenario != scenario {
            scenario = row.scenario;
            write!(text, "\n{scenario}\n{}\n", OddRow::HEADER).unwrap();
        }
        writeln!(text, "{row}").unwrap();
    }
    print!("{text}");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tables/odd.txt");
    if std::env::var_os("UPDATE_TABLES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == text, "seed {SEED}: not as in tables/odd.txt:\n{text}");
}

/// The rows of scenarios whose names begin so, before balancers of these names, from a few seeds.
fn all(names: &[&str], balancers: &[&'static str]) -> Vec<(u64, OddRow)> {
    let seeds = if cfg!(debug_assertions) { 1..2 } else { 1..4 };
    let chosen: Vec<Odd> =
        Odd::all().into_iter().filter(|odd| names.iter().any(|name| odd.scenario.name.starts_with(name))).collect();
    assert_eq!(chosen.len(), names.len());
    let rows = |seed| chosen.iter().flat_map(move |odd| odd.rows_before(balancers, seed).unwrap());
    seeds.flat_map(|seed| rows(seed).map(move |row| (seed, row))).collect()
}

#[test]
fn l13_a_server_that_never_answers_is_found_out_by_who_learns_and_by_breakers() {
    for (seed, row) in all(&["three, one hung", "the same, few", "the same, 16"], &["rr", "la", "p2c", "prequal"]) {
        let learns = row.balancer != "rr";
        let most = match (row.calls, row.breaker) {
            (300, Some(BreakerOptions::Circuit(_))) if !learns => continue,
            (_, None) if !learns => continue,
            (300, _) => 10,
            (calls, _) => calls / 50,
        };
        assert!(row.failed <= most as u64, "seed {seed}: {}: {row}", row.scenario);
    }
}

#[test]
fn l13_under_la_a_slow_server_whose_attempts_are_all_abandoned_gets_a_twentieth_at_most() {
    for (seed, row) in all(&["three, one from 5", "the same, 1,000"], &["la"]) {
        assert!(row.share <= 0.05, "seed {seed}: {}: {row}", row.scenario);
    }
}

#[test]
fn s2_a_server_that_stalls_gets_its_fair_share_of_first_attempts_in_turn() {
    for (seed, row) in all(&["two, one st", "three, one st", "four, one st", "six, one st"], &["rr", "wrr"]) {
        let off = row.share - 1.0 / row.servers as f64;
        assert!(off.abs() < 0.001, "seed {seed}: {}: {row}", row.scenario);
    }
}

#[test]
fn t2_a_server_that_has_streamed_a_body_gets_about_half_of_the_calls_after_that() {
    for (seed, row) in all(&["two, a body"], BALANCERS) {
        assert!((0.4..0.6).contains(&row.share), "seed {seed}: {}: {row}", row.scenario);
    }
}

#[test]
fn s3_a_server_that_comes_back_has_half_of_its_share_at_least_within_15_s() {
    let balancers = &["rr", "la", "p2c", "prequal"];
    for (seed, row) in all(&["three, one down", "the same, 100 calls"], balancers) {
        assert!(row.share >= 0.5 / row.servers as f64, "seed {seed}: {}: {row}", row.scenario);
    }
}

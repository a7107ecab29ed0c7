//! Balancers before simulated fleets: the whole table in a release build, one scenario of it in others; what the docs conclude
//! from it; and the one server of ten that fails fast.
//!
//! `UPDATE_TABLES=1 cargo test --release -p hedge-simulator --test balancers` writes the table anew, and the docs' part of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use hedge_core::balance::BalancerName;
use hedge_core::time::Duration;
use hedge_simulator::Latency;
use hedge_simulator::balancers::{Condition, Measured, Row, Scenario, Service, VARIANTS, run, table};

const SEED: u64 = 1;
const CALLS: usize = 100_000;

/// What a run has in a debug build.
const SHORT: &str = "one fails in 1 ms, load 0.5";

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn snapshot() -> String {
    fs::read_to_string(path("tables/balancers.txt")).unwrap()
}

#[test]
fn s1_every_balancer_makes_of_every_fleet_what_the_table_says() {
    let mut scenarios = Scenario::all();
    if cfg!(debug_assertions) {
        scenarios.retain(|scenario| scenario.name == SHORT);
    }
    let update = std::env::var_os("UPDATE_TABLES").is_some() && !cfg!(debug_assertions);
    let mut text = format!("{CALLS} calls each, seed {SEED}\n");
    for (scenario, rows) in table(&scenarios, CALLS, SEED).unwrap() {
        let mut part = format!("\n{}\n{}\n", scenario.name, Row::HEADER);
        rows.iter().for_each(|row| writeln!(part, "{row}").unwrap());
        assert!(update || snapshot().contains(&part), "seed {SEED}: not as in tables/balancers.txt:\n{part}");
        text += &part;
    }
    if update {
        fs::write(path("tables/balancers.txt"), &text).unwrap();
        let docs = fs::read_to_string(path(DOCS)).unwrap();
        let (before, rest) = docs.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        fs::write(path(DOCS), format!("{before}{BEGIN}{}{END}{after}", docs_table())).unwrap();
    }
    assert!(
        cfg!(debug_assertions) || text == snapshot(),
        "there are scenarios in tables/balancers.txt that are no more"
    );
}

/// The text on which balancer to use.
const DOCS: &str = "../../hedge-core/BALANCERS.md";
/// Where the table begins in it.
const BEGIN: &str = "<!-- tests/simulator/tables/balancers.txt -->\n";
/// Where it ends.
const END: &str = "<!-- to here -->\n";

/// The rows of the docs' table, in its words and in the table's.
const ROWS: &[(&str, &str)] = &[
    ("ten alike, load 0.7", "ten alike, load 0.7"),
    ("load 0.9", "ten alike, load 0.9"),
    ("load 1.1", "ten alike, load 1.1"),
    ("five half as fast, load 0.7", "five half as fast, weighed 2 to 1, load 0.7"),
    ("the same, weighed the wrong way", "five half as fast, weighed 1 to 2, load 0.7"),
    ("one ten times slower", "one ten times slower, load 0.5"),
    ("the same, backup after 50 ms", "one ten times slower, load 0.5, backup after 50 ms"),
    ("one fails in 1 ms", "one fails in 1 ms, load 0.5"),
    ("one frozen", "one frozen, load 0.5"),
    ("one answers wrongly in 1 ms", "one answers wrongly in 1 ms, load 0.5"),
    ("rolling restart, load 0.6", "each in turn down for 2 s and cold for 1 s, load 0.6"),
    ("caches, 6,000 calls/s", "caches: 1 ms for a key seen lately, 10 ms for another"),
    ("10 clients, load 0.9", "10 clients, ten alike, load 0.9"),
    ("100 clients, load 0.9", "100 clients, ten alike, load 0.9"),
    ("1,000 clients, load 0.9", "1000 clients, ten alike, load 0.9"),
    ("100 clients, one ten times slower", "100 clients, one ten times slower, load 0.5"),
    ("20 calls/s, a slow one that changes", "20 calls/s, now this one ten times slower, now that"),
];
/// Its columns.
const COLUMNS: &[&str] = &["rr", "wrr", "random", "la", "p2c", "prequal", "c_ketama", "c_ketama:replicas=1000"];

fn docs_table() -> String {
    let mut text = format!("| p99 in ms, errors | {} |\n|---|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for (name, scenario) in ROWS {
        write!(text, "| {name} |").unwrap();
        for balancer in COLUMNS {
            let [p99, errors] = ["p99", "errors"].map(|column| figure(scenario, balancer, column));
            write!(text, " {p99:.0}").unwrap();
            if errors >= 0.05 {
                write!(text, ", {errors:.1} %").unwrap();
            }
            text += " |";
        }
        text.push('\n');
    }
    text
}

/// A figure of the table; percentages as they are.
fn figure(scenario: &str, balancer: &str, column: &str) -> f64 {
    const COLUMNS: [&str; 8] = ["balancer", "p50", "p99", "p99.9", "errors", "imbalance", "moved", "unwell"];
    let text = snapshot();
    let mut lines = text.lines().skip_while(|line| *line != scenario);
    let place = COLUMNS.iter().position(|name| *name == column).unwrap();
    let row = lines.find(|line| line.split_whitespace().next() == Some(balancer)).unwrap();
    row.split_whitespace().nth(place).unwrap().parse().unwrap()
}

#[test]
fn the_docs_have_the_figures_of_the_table() {
    let (docs, expected) = (fs::read_to_string(path(DOCS)).unwrap(), docs_table());
    assert!(docs.contains(&expected), "not in {DOCS}:\n{expected}");
}

#[test]
fn the_table_has_every_balancer_in_every_scenario() {
    for scenario in Scenario::all() {
        for balancer in BalancerName::NAMES.iter().chain(VARIANTS) {
            assert!(figure(scenario.name, balancer, "p50") > 0.0);
        }
    }
}

/// One conclusion of the docs: in this scenario and column the first is less than so much of the second.
fn less(scenario: &str, column: &str, one: &str, factor: f64, other: &str) {
    let [one_has, other_has] = [one, other].map(|balancer| figure(scenario, balancer, column));
    assert!(one_has < factor * other_has, "{scenario}: {column} of {one} {one_has}, of {other} {other_has}");
}

#[test]
fn s4_p2c_waits_least_where_servers_differ_or_are_busy_and_needs_no_weights() {
    less("ten alike, load 0.9", "p99", "p2c", 0.7, "rr");
    less("ten alike, load 0.9", "p99", "p2c", 0.5, "random");
    less("one ten times slower, load 0.5", "p99", "p2c", 0.2, "rr");
    less("each in turn down for 2 s and cold for 1 s, load 0.6", "p99", "p2c", 0.2, "rr");
    less("five half as fast, weighed 1 to 2, load 0.7", "p99", "p2c", 0.2, "wrr");
    less("100 clients, one ten times slower, load 0.5", "p99", "p2c", 0.2, "rr");
    less("100 clients, one ten times slower, load 0.5", "p99.9", "prequal", 0.5, "p2c");
    for balancer in ["la", "p2c", "prequal"] {
        assert!(figure("one fails in 1 ms, load 0.5", balancer, "unwell") < 0.2);
        less("one frozen, load 0.5", "errors", balancer, 0.1, "rr");
    }
}

#[test]
fn s2_turns_are_as_good_where_servers_are_alike_and_there_is_room_and_weights_where_they_are_right() {
    less("ten alike, load 0.3", "p99.9", "rr", 1.01, "p2c");
    less("ten alike, load 0.7", "p99", "rr", 1.05, "p2c");
    less("five half as fast, weighed 2 to 1, load 0.7", "p99", "wrr", 1.2, "p2c");
    less("five half as fast, weighed 2 to 1, load 0.7", "p99", "wrr", 0.2, "rr");
    assert!(figure("five half as fast, weighed 1 to 2, load 0.7", "wrr", "errors") > 40.0);
}

#[test]
fn s5_hashing_keeps_keys_and_wins_where_servers_have_caches() {
    for balancer in ["c_murmurhash", "c_md5", "c_ketama"] {
        let caches = "caches: 1 ms for a key seen lately, 10 ms for another";
        ["rr", "la", "p2c", "prequal"].iter().for_each(|other| less(caches, "p99", balancer, 0.2, other));
        let moved = figure("an eleventh comes and goes, load 0.5", balancer, "moved");
        assert!((moved - 100.0 / 11.0).abs() < 2.0, "{balancer}: {moved} % of the keys moved");
        assert!(figure("ten alike, load 0.9", balancer, "errors") > 2.0, "an arc too large by a quarter");
    }
    for balancer in ["rr", "random", "la", "p2c"] {
        assert!(figure("an eleventh comes and goes, load 0.5", balancer, "moved") > 85.0);
    }
    less("ten alike, load 0.7", "p99", "c_ketama:replicas=1000", 0.85, "c_ketama");
    assert_eq!(figure("ten alike, load 0.9", "c_ketama:replicas=1000", "errors"), 0.0);
}

#[test]
fn s3_s4_who_goes_by_latency_loses_where_latency_misleads() {
    let wrong = "one answers wrongly in 1 ms, load 0.5";
    assert!(figure(wrong, "la", "errors") > 90.0 && figure(wrong, "p2c", "errors") > 15.0);
    assert!(figure(wrong, "rr", "errors") < 10.5);
    // Many clients, of which each sees little.
    less("1000 clients, ten alike, load 0.9", "p99", "rr", 1.1, "p2c");
    // 128 answers are a long memory where there are few calls.
    less("20 calls/s, now this one ten times slower, now that", "p99", "p2c", 0.6, "la");
}

#[test]
fn s3_la_does_not_swing_at_a_high_load_and_notices_a_server_that_is_slow() {
    less("ten alike, load 0.9", "p99", "la", 0.9, "random");
    assert_eq!(figure("ten alike, load 0.9", "la", "errors"), 0.0);
    less("one ten times slower, load 0.5", "p99", "la", 0.2, "rr");
    less("five half as fast, weighed 1 to 2, load 0.7", "p99", "la", 0.2, "wrr");
    less("20 calls/s, now this one ten times slower, now that", "p99", "la", 0.8, "rr");
    less("one ten times slower, load 0.5, backup after 50 ms", "p99", "la", 0.8, "rr");
}

#[test]
fn at_random_waits_are_those_of_the_theory() {
    let (load, workers) = (0.7, 4);
    let offered = load * f64::from(workers);
    // Erlang's C: the share of requests that find all workers busy.
    let term = |n: i32| (1..=n).map(|k| offered / f64::from(k)).product::<f64>();
    let busy = term(workers) / (1.0 - load);
    let waits = busy / ((0..workers).map(term).sum::<f64>() + busy);
    let expected = 10.0 * (1.0 + waits / (f64::from(workers) - offered));
    let measured = run(&Scenario::alike("", load), "random", CALLS, SEED).unwrap();
    let mean = measured.latencies_us.iter().sum::<u64>() as f64 / CALLS as f64 / 1_000.0;
    assert!((mean / expected - 1.0).abs() < 0.02, "{mean} ms, in theory {expected}; seed {SEED}");
}

/// One of ten servers fails in 1 ms for so long, from the beginning or from 5 s on, at 1,000 calls a second.
struct Outage {
    scenario: Scenario,
    begins: usize,
    ends: usize,
}

const SICK: usize = 3;

impl Outage {
    fn new(work: &Latency, max_retry: u8, warm_up: u64, seconds: u64) -> Self {
        let failing = Scenario::alike("one fails fast", 0.25).with(Condition::Failing);
        let mut scenario = failing.until(Duration::from_secs(seconds));
        scenario.options.max_retry = max_retry;
        scenario.service = Service::Plain(work.clone());
        scenario.warm_up = Duration::from_secs(warm_up);
        let begins = usize::try_from(warm_up).unwrap();
        Self { scenario, begins, ends: begins + usize::try_from(seconds).unwrap() }
    }

    /// Every kind of outage: how long servers take, with retries and without, at once and later, short and long.
    fn all() -> impl Iterator<Item = Self> {
        let ms = Duration::from_millis;
        let works = [Latency::Constant(ms(10)), Latency::LogNormal(ms(9), 0.5), Latency::Exponential(ms(10))];
        let works = works.into_iter().take(if cfg!(debug_assertions) { 1 } else { 3 });
        works.flat_map(|work| {
            let outages = [(0, 5, 10), (3, 5, 10), (0, 5, 120), (3, 5, 120), (0, 0, 10), (3, 0, 60)];
            outages.map(|(max_retry, warm_up, seconds)| Self::new(&work, max_retry, warm_up, seconds))
        })
    }

    /// Until so long after its end; and 30 s more.
    fn run(&self, balancer: &str, seed: u64, recovers: usize) -> Measured {
        let calls = 1_000 * (self.ends - self.begins + recovers + 31);
        let measured = run(&self.scenario, balancer, calls, seed).unwrap();
        let per_call = measured.attempts.iter().sum::<u64>() as f64 / calls as f64;
        assert!(per_call < 1.12, "{per_call} attempts a call");
        measured
    }

    /// Its share is below 2 % from the first second on, and at least 8 % again within so many seconds.
    fn hardly_called_and_soon_again(balancer: &str, within: usize) {
        for seed in 1..=if cfg!(debug_assertions) { 1 } else { 5 } {
            for outage in Self::all() {
                let measured = outage.run(balancer, seed, within);
                let share = |from, to| measured.share(SICK, from..to);
                let Self { scenario, begins, ends } = &outage;
                let (begins, ends) = (*begins, *ends);
                let what = format!(
                    "{balancer}, seed {seed}, {} retries, {:?}, from {begins} s to {ends} s",
                    scenario.options.max_retry, scenario.service
                );
                let (out, first) = (share(begins, ends), share(begins, begins + 1));
                assert!(out < 0.02 && first < 0.02, "{what}: {out} of the calls, {first} of the first second's");
                let back: Vec<f64> = (ends..ends + within).map(|second| share(second, second + 1)).collect();
                assert!(back.iter().any(|share| *share >= 0.08), "{what}: back {back:?}");
                // From then on it is a server as others are. Where work varies, so do the shares of all, and under la for
                // long: who has more of the traffic draws more.
                let (most, least) = match scenario.service {
                    Service::Plain(Latency::Constant(_)) => (0.08, 0.05),
                    _ if balancer == "p2c" => (0.08, 0.03),
                    _ => (0.02, 0.01),
                };
                let after = share(ends + within, ends + within + 30);
                assert!(after >= most, "{what}: {after} of the calls after {within} s");
                let second = (ends + within..ends + within + 30).map(|second| share(second, second + 1));
                let worst = second.fold(1.0, f64::min);
                assert!(worst >= least, "{what}: {worst} of some second's calls after {within} s");
            }
        }
    }
}

#[test]
fn s4_p2c_hardly_calls_a_server_that_fails_fast_and_has_it_back_within_10_s() {
    Outage::hardly_called_and_soon_again("p2c", 10);
}

#[test]
fn s3_la_hardly_calls_a_server_that_fails_fast_and_has_it_back_within_30_s() {
    Outage::hardly_called_and_soon_again("la", 30);
}

#[test]
fn s2_in_turn_a_server_that_fails_fast_gets_its_tenth() {
    let outage = Outage::new(&Latency::Constant(Duration::from_millis(10)), 0, 5, 10);
    let measured = outage.run("rr", SEED, 10);
    let share = measured.share(SICK, outage.begins..outage.ends);
    assert!((share - 0.1).abs() < 0.001, "{share}");
    // A tenth of the first attempts: the retries, a tenth more, go to the others.
    assert_eq!(figure("one fails in 1 ms, load 0.5", "rr", "unwell"), 9.09);
}

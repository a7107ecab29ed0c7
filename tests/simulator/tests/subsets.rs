//! Subsets and zones over large fleets (S9, S10). A release build compares the whole table with `tables/subsets.txt`; with
//! `UPDATE_TABLES=1` it writes that file and `BALANCERS.md`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::PathBuf;
use std::{env, fs};

use hedge_simulator::subsets::{Model, Numbers, Sees, spread, table, zone_down};

const MODEL: Model = Model { clients: 90, servers: 90, phase_us: 5_000_000, seed: 10 };
const BEGIN: &str = "<!-- tests/simulator/tables/subsets.txt -->\n";
const END: &str = "<!-- to here -->\n";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn s9_large_fleets_are_spread_evenly_and_a_change_moves_little() {
    let fleet = if cfg!(debug_assertions) { 400 } else { 2_000 };
    for (size, numbers, limit) in [(50, Numbers::Given, 1.25), (400, Numbers::Drawn, 1.25)] {
        let it = spread(fleet, fleet, size.min(fleet / 2), numbers, 5).unwrap();
        println!("{fleet} clients of {size} on {fleet} servers, {numbers:?}: {it:?}");
        assert!(it.most <= limit, "{it:?}");
        // One server goes, and another one comes: two changes of at most two servers.
        assert!(it.most_moved <= 4, "{it:?}");
    }
}

#[test]
fn s10_calls_stay_in_their_zone_and_a_zone_that_fails_costs_little() {
    let model = Model { clients: 30, servers: 30, ..MODEL };
    let anywhere = zone_down(model, Sees::All, |_, _| "p2c".to_string()).unwrap();
    let near = zone_down(model, Sees::All, |zone, _| format!("locality:zone={zone} of=p2c")).unwrap();
    println!("{anywhere:?}\n{near:?}");
    assert!((0.5..0.7).contains(&anywhere.away[0]) && near.away[0] < 0.001 && near.away[2] < 0.01);
    assert!(near.p99[0] < anywhere.p99[0] && near.p99[1] < 1.5 * anywhere.p99[1]);
    let both = |zone: &str, id| format!("locality:zone={zone} of=subset:size=3 id={id} of=p2c");
    let both = zone_down(model, Sees::All, both).unwrap();
    assert!(both.connections <= 9, "3 servers of each zone: {both:?}");
}

#[test]
fn s9_s10_a_zone_that_fails_moves_only_its_own_clients_to_other_zones() {
    let fleet = if cfg!(debug_assertions) { 150 } else { 600 };
    let model = Model { clients: fleet, servers: fleet, phase_us: 500_000, seed: 10 };
    let found = zone_down(model, Sees::SubsetOfZones(10), |zone, _| format!("locality:zone={zone} of=p2c")).unwrap();
    println!("{fleet} clients and servers: {found:?}");
    let [before, during, after] = found.away;
    assert!(before < 0.001 && (0.31..0.36).contains(&during) && after < 0.01, "{found:?}");
    // The other zones take the calls of the zone that is down: their load rises from 0.5 to 0.75.
    let [before, during, after] = found.p99;
    assert!(before < during && during < 2.0 * before && (after - before).abs() < 0.1 * before, "{found:?}");
    assert!(found.connections <= 30, "{found:?}");
}

#[test]
fn s9_s10_the_table_of_the_docs_is_what_the_simulator_finds() {
    if cfg!(debug_assertions) {
        return;
    }
    let (text, docs) = (table(10_000, 10_000, MODEL).unwrap(), path("../../hedge-core/BALANCERS.md"));
    let page = fs::read_to_string(&docs).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if env::var_os("UPDATE_TABLES").is_some() {
        fs::write(path("tables/subsets.txt"), &text).unwrap();
        fs::write(docs, format!("{before}{BEGIN}{text}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(fs::read_to_string(path("tables/subsets.txt")).unwrap(), text, "not as in tables/subsets.txt");
    assert_eq!(shown, text, "BALANCERS.md shows another table");
}

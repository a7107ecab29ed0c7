//! Suite `consistent_hash_rings`: servers in, the points of their ring and the server of each request code out.

use std::collections::BTreeMap;

use hedge_core::balance::ring::{self, REPLICAS, RingHash};
use hedge_core::balance::{Consistent, Heap};
use serde::Deserialize;
use serde_json::Value;

use crate::line::Line;
use crate::{Case, Verdict, compare};

/// `ring_head` leaves gaps among so many points from the first on.
const HEAD: usize = 40;
/// How far a share of the ring may be off: tables round it to nine digits.
const ROUNDED: f64 = 1e-8;

#[derive(Deserialize)]
struct Table {
    servers: Vec<String>,
    #[serde(default = "replicas")]
    replicas: u16,
    lbs: Vec<Value>,
}

const fn replicas() -> u16 {
    REPLICAS
}

/// A hash or a code, and the server there.
type At = (u32, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Balancer {
    name: String,
    ring_size: Option<usize>,
    ring_head: Option<Vec<At>>,
    ring_tail: Option<At>,
    loads: Option<BTreeMap<String, f64>>,
    picks: Option<Vec<At>>,
    excluded: Option<String>,
    picks_excl: Option<Vec<At>>,
    down: Option<String>,
    picks_down: Option<Vec<At>>,
}

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.lbs.iter().flat_map(|balancer| cases(&table, balancer)).collect())
}

/// A case for each thing that the table says of a balancer.
fn cases(table: &Table, balancer: &Value) -> Vec<Case> {
    let made = read(table, balancer).and_then(|expected| Ok((Ring::new(table, &expected.name)?, expected)));
    let (mut ring, expected) = match made {
        Ok(made) => made,
        Err(error) => {
            let name = balancer.get("name").and_then(Value::as_str).unwrap_or("a balancer");
            return vec![compare(name.into(), &"a balancer of this suite", Err(error))];
        }
    };
    let name = |of: &str| format!("{} {of}", expected.name);
    let mut picks = |of, codes: &Option<Vec<At>>, pick: &dyn Fn(&mut Ring<'_>, u32) -> Option<String>| {
        let codes = codes.as_deref()?;
        let got = codes.iter().map(|(code, _)| pick(&mut ring, *code).map(|server| (*code, server))).collect();
        Some(all(name(of), codes, got))
    };
    let picked = [
        picks("picks", &expected.picks, &|ring, code| ring.pick(code)),
        picks("picks_excl", &expected.picks_excl, &|ring, code| ring.pick_after(expected.excluded.as_ref(), code)),
        picks("picks_down", &expected.picks_down, &|ring, code| ring.pick_with_down(expected.down.as_ref(), code)),
    ];
    let cases = [
        expected.ring_size.map(|size| compare(name("ring_size"), &size, Ok(ring.points.len()))),
        expected.ring_head.as_ref().map(|head| ring.head(name("ring_head"), head)),
        expected.ring_tail.as_ref().map(|tail| compare(name("ring_tail"), &Some(tail), Ok(ring.points.last()))),
        expected.loads.as_ref().map(|loads| ring.loads(name("loads"), loads)),
    ];
    cases.into_iter().chain(picked).flatten().collect()
}

/// A balancer whose picks without a server say without which.
fn read(table: &Table, balancer: &Value) -> Result<Balancer, String> {
    let balancer = Balancer::deserialize(balancer).map_err(|error| error.to_string())?;
    for (name, server, picks) in
        [("excluded", &balancer.excluded, &balancer.picks_excl), ("down", &balancer.down, &balancer.picks_down)]
    {
        let known = server.as_ref().is_some_and(|server| table.servers.contains(server));
        if picks.is_some() && !known {
            return Err(format!("{name} is none of the servers"));
        }
    }
    Ok(balancer)
}

/// The balancer over a list of the servers, in the order of the table.
struct Ring<'t> {
    line: Line<&'t str, Consistent<Heap>>,
    servers: &'t [String],
    points: Vec<At>,
}

impl<'t> Ring<'t> {
    fn new(table: &'t Table, name: &str) -> Result<Self, String> {
        let hash = RingHash::ALL.iter().find(|hash| hash.name() == name).ok_or("no such hash")?;
        let empty = ring::Ring::new(*hash, table.replicas).map_err(|error| error.to_string())?;
        let servers: Vec<(&str, &str)> = table.servers.iter().map(|address| (address.as_str(), "")).collect();
        let line = Line::new(Consistent::new(empty), &servers)?;
        let at = |slot: u16| table.servers.get(usize::from(slot)).cloned().unwrap_or_default();
        let points = line.balancer().ring().points().iter().map(|point| (point.hash, at(point.slot))).collect();
        Ok(Self { line, servers: &table.servers, points })
    }

    fn place(&self, server: Option<&String>) -> Option<usize> {
        self.servers.iter().position(|there| Some(there) == server)
    }

    /// The server of a code.
    fn pick(&self, code: u32) -> Option<String> {
        self.servers.get(self.line.pick(Some(code))?).cloned()
    }

    /// The server of a code in a call that has tried one.
    fn pick_after(&mut self, excluded: Option<&String>, code: u32) -> Option<String> {
        let place = self.place(excluded)?;
        self.servers.get(self.line.pick_after(place, Some(code))?).cloned()
    }

    /// The server of a code while one is down.
    fn pick_with_down(&self, down: Option<&String>, code: u32) -> Option<String> {
        let place = self.place(down)?;
        self.line.set_usable(place, false);
        let picked = self.pick(code);
        self.line.set_usable(place, true);
        picked
    }

    /// All of `head` are among the first points, in this order.
    fn head(&self, name: String, head: &[At]) -> Case {
        let mut first = self.points.iter().take(HEAD.max(2 * head.len()));
        let missing = head.iter().find(|point| !first.any(|there| there == *point));
        let verdict = missing.map_or(Verdict::Ok, |missing| Verdict::Fail {
            expected: format!("{missing:?} in order among the first"),
            got: match self.points.iter().position(|there| there == missing) {
                Some(index) => format!("it at index {index}"),
                None => "no such point".into(),
            },
        });
        Case { name, verdict }
    }

    /// Each server's share of the codes.
    fn loads(&self, name: String, loads: &BTreeMap<String, f64>) -> Case {
        let mut got: BTreeMap<String, f64> = BTreeMap::new();
        for (slot, codes) in self.line.balancer().ring().arcs() {
            let share = codes as f64 / (1_u64 << 32) as f64;
            *got.entry(self.servers.get(usize::from(slot)).cloned().unwrap_or_default()).or_default() += share;
        }
        let close = |((one, share), (other, load)): ((&String, &f64), (&String, &f64))| {
            one == other && (share - load).abs() <= ROUNDED
        };
        if got.len() == loads.len() && got.iter().zip(loads).all(close) {
            return Case { name, verdict: Verdict::Ok };
        }
        compare(name, loads, Ok(got))
    }
}

/// A case that is ok if all are as expected, and shows only those that are not.
fn all(name: String, expected: &[At], got: Vec<Option<At>>) -> Case {
    let differing = expected.iter().zip(got).filter(|(expected, got)| got.as_ref() != Some(*expected));
    let (expected, got): (Vec<_>, Vec<_>) = differing.map(|(expected, got)| (Some(expected.clone()), got)).unzip();
    compare(name, &expected, Ok(got))
}

//! Suites `wrr_sequences` and `weight_tag_parse`: weighted round robin's picks, and which tags are weights.

use std::num::NonZeroU32;

use hedge_core::balance::{Balancer, Heap, WeightedRandom, WeightedRoundRobin};
use serde::Deserialize;

use crate::line::Line;
use crate::{Case, compare};

#[derive(Deserialize)]
struct Sequences {
    cases: Vec<Sequence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence {
    weights: Vec<u32>,
    #[serde(default)]
    down: Vec<u32>,
    #[serde(default)]
    seq: Vec<u32>,
    /// How often each server is picked in as many picks as the weights add up to.
    counts: Option<Vec<u64>>,
    /// Part of how the sequence comes about, which it shows.
    #[serde(rename = "stride_all_up")]
    _stride: Option<u64>,
}

/// More picks than this are made only if the table counts them.
const MOST_PICKS: u64 = 5_000_000;

pub(crate) fn sequences(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Sequences = serde_json::from_str(text)?;
    Ok(table.cases.iter().map(sequence).collect())
}

fn sequence(case: &Sequence) -> Case {
    let name = format!("weights {:?} down {:?}", case.weights, case.down);
    let got = picks(case, case.seq.len());
    // What the table counts; without a word of it, what weights mean.
    let counts = case.counts.clone().or_else(|| {
        let all_up = case.down.is_empty() && total(case) <= MOST_PICKS;
        all_up.then(|| case.weights.iter().copied().map(u64::from).collect())
    });
    match (counts, got) {
        (Some(counts), Ok(got)) if got == case.seq => compare(name, &counts, counted(case)),
        (_, got) => compare(name, &case.seq, got),
    }
}

fn total(case: &Sequence) -> u64 {
    case.weights.iter().copied().map(u64::from).sum()
}

/// How often each server is picked in a round.
fn counted(case: &Sequence) -> Result<Vec<u64>, String> {
    let round = usize::try_from(total(case)).map_err(|error| error.to_string())?;
    let mut counts = vec![0; case.weights.len()];
    for pick in picks(case, round)? {
        if let Some(count) = usize::try_from(pick).ok().and_then(|pick| counts.get_mut(pick)) {
            *count += 1;
        }
    }
    Ok(counts)
}

fn picks(case: &Sequence, count: usize) -> Result<Vec<u32>, String> {
    let servers: Vec<(u32, u32)> = (0..).zip(case.weights.iter().copied()).collect();
    let line = Line::new(WeightedRoundRobin::<Heap>::starting_at(0), &servers)?;
    for down in &case.down {
        line.set_usable(usize::try_from(*down).map_err(|error| error.to_string())?, false);
    }
    let pick = || u32::try_from(line.pick(None)?).ok();
    std::iter::repeat_with(pick).take(count).map(|pick| pick.ok_or_else(|| "no server".to_owned())).collect()
}

#[derive(Deserialize)]
struct Tags {
    cases: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    tag: String,
    wrr: bool,
    wr: bool,
    wrr_with_default10: bool,
    weight_used: u32,
}

/// What brpc's flag `default_weight_of_wlb` is set to in the table.
const DEFAULT_WEIGHT: NonZeroU32 = NonZeroU32::new(10).unwrap();

pub(crate) fn tags(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Tags = serde_json::from_str(text)?;
    Ok(table.cases.iter().map(tag).collect())
}

fn tag(case: &Tag) -> Case {
    let tag = case.tag.as_str();
    let (wrr, wr) = (WeightedRoundRobin::<Heap>::starting_at(0), WeightedRandom::<Heap>::new());
    let taken = (wrr.weighing().weight(&tag).is_ok(), wr.weighing().weight(&tag).is_ok());
    let or_default = wrr.or_weight(DEFAULT_WEIGHT).weighing().weight(&tag);
    let got = (taken.0, taken.1, or_default.is_ok(), or_default.map_or(0, |weight| weight.get()));
    let expected = (case.wrr, case.wr, case.wrr_with_default10, case.weight_used);
    compare(format!("tag {:?}", case.tag), &expected, Ok(got))
}

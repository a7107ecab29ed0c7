//! Suites `wrr_sequences` and `weight_tag_parse`: weighted round robin's picks, and which tags are weights.

use hedge_core::balance::{WeightedRoundRobin, Weights, weight_of_tag};
use serde::Deserialize;

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
    let weights = Weights::new(case.weights.as_slice());
    let wrr = WeightedRoundRobin::starting_at(0);
    let pick = || {
        let step = wrr.steps(&weights).find(|step| !case.down.contains(&step.position))?;
        wrr.commit(step, false).then_some(step.position)
    };
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
const DEFAULT_WEIGHT: u32 = 10;

pub(crate) fn tags(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Tags = serde_json::from_str(text)?;
    Ok(table.cases.iter().map(tag).collect())
}

fn tag(case: &Tag) -> Case {
    let weight = weight_of_tag(&case.tag);
    // One parser for both balancers; a default takes the place of any error.
    let got = (weight.is_ok(), weight.is_ok(), true, weight.map_or(DEFAULT_WEIGHT, |weight| weight.get()));
    let expected = (case.wrr, case.wr, case.wrr_with_default10, case.weight_used);
    compare(format!("tag {:?}", case.tag), &expected, Ok(got))
}

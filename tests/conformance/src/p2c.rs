//! Suite `p2c_ewma_traces`: the average latency and the score of a server after every feedback, as brpc's until the first
//! failure, and from then on as a model in floating point of what a failure is here.

use std::num::NonZeroU32;

use hedge_core::balance::p2c::{P2c, P2cOptions, P2cStats};
use hedge_core::balance::weight_of_tag;
use hedge_core::outcome::Feedback;
use hedge_core::time::{Duration, Instant, Micros, Timeout};
use serde::Deserialize;

use crate::{Case, Verdict};

#[derive(Deserialize)]
struct Table {
    traces: Vec<Trace>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    name: String,
    weight_tag: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    at: u64,
    lat: i64,
    err: i64,
    timeout_ms: i64,
    ewma_us: u64,
    score: f64,
    score_10s_later: f64,
}

const FAILURES: &str = "S4: a failure does not enter the average: it is a penalty of its own, of the timeout at least (30 s \
                        without one), which is forgotten with 2 s and halved by a success";
/// Scores are printed with six decimals.
const PRINTED: f64 = 1.5e-6;
const TAU_US: f64 = 10e6;
const PENALTY_TAU_US: f64 = 2e6;
const LONGEST_PENALTY_US: f64 = 30e6;
const LATER: Micros = Micros::from_secs(10);

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.traces.iter().map(|trace| Case { name: trace.name.clone(), verdict: verdict(trace) }).collect())
}

fn verdict(trace: &Trace) -> Verdict {
    // As brpc does with a tag that is no weight.
    let weight = weight_of_tag(&trace.weight_tag).unwrap_or(NonZeroU32::MIN);
    let rule = P2c::new(P2cOptions::DEFAULT);
    let stats = P2cStats::new();
    let mut model = Model::default();
    let (mut failed, mut differs) = (false, false);
    for (number, event) in (1..).zip(&trace.events) {
        let now = Instant::from_micros(event.at);
        let latency = Micros::from_micros(event.lat.try_into().unwrap_or(0));
        let timeout =
            event.timeout_ms.try_into().map_or(Timeout::NEVER, |ms| Timeout::after(Duration::from_millis(ms)));
        let feedback = if event.err == 0 { Feedback::Success { latency } } else { Feedback::Failure { latency } };
        failed |= event.err != 0;
        rule.feedback(&stats, now, feedback, timeout);
        model.feedback(event);
        let score = |at| as_us(rule.score(&stats, at, 0, weight));
        let got =
            Row { ewma_us: Micros::from(stats.latency()).as_micros(), score: score(now), later: score(now + LATER) };
        let table = Row { ewma_us: event.ewma_us, score: event.score, later: event.score_10s_later };
        let expected = if failed { model.row(event.at, weight) } else { table };
        if !got.is(expected) {
            return Verdict::Fail { expected: expected.text(number), got: got.text(number) };
        }
        differs |= !got.is(table);
    }
    if differs { Verdict::Differs { why: FAILURES.into() } } else { Verdict::Ok }
}

/// A score in microseconds.
fn as_us(score: u64) -> f64 {
    score as f64 / f64::from(1 << 24)
}

#[derive(Clone, Copy)]
struct Row {
    ewma_us: u64,
    score: f64,
    later: f64,
}

impl Row {
    fn is(self, other: Self) -> bool {
        let near = |one: f64, other: f64| (one - other).abs() <= PRINTED;
        self.ewma_us == other.ewma_us && near(self.score, other.score) && near(self.later, other.later)
    }

    fn text(self, number: usize) -> String {
        format!("event {number}: ewma {} us, score {:.6}, then {:.6}", self.ewma_us, self.score, self.later)
    }
}

/// The rule in floating point; what is kept is in whole microseconds.
#[derive(Default)]
struct Model {
    average: (f64, u64),
    penalty: (f64, u64),
}

impl Model {
    fn feedback(&mut self, event: &Event) {
        let (latency, penalty) = (event.lat as f64, left(self.penalty, event.at, PENALTY_TAU_US));
        if event.err != 0 {
            let timeout = if event.timeout_ms < 0 { LONGEST_PENALTY_US } else { event.timeout_ms as f64 * 1e3 };
            let at_least = timeout.max(latency).min(LONGEST_PENALTY_US);
            if at_least > penalty.floor() {
                self.penalty = (at_least, event.at);
            }
            return;
        }
        self.penalty = ((penalty.floor() / 2.0).floor(), event.at);
        if latency > 0.0 {
            let above = (self.average.0 - latency, self.average.1);
            self.average = ((latency + left(above, event.at, TAU_US).max(0.0)).floor(), event.at);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole microseconds of a latency")]
    fn row(&self, at: u64, weight: NonZeroU32) -> Row {
        let score = |at| {
            (left(self.average, at, TAU_US).max(1.0) + left(self.penalty, at, PENALTY_TAU_US)) / f64::from(weight.get())
        };
        Row { ewma_us: self.average.0 as u64, score: score(at), later: score(at + LATER.as_micros()) }
    }
}

/// What is left of a value by then.
fn left((value, since): (f64, u64), at: u64, tau: f64) -> f64 {
    value * (-(at.saturating_sub(since) as f64) / tau).exp()
}

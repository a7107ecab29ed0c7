//! Suite `la_weight_traces`: what a server weighs after every start and end of an attempt.
//!
//! Each trace runs twice: of a server alone, which is what the table has, and of one beside others, where it is held
//! against what those weigh and how long they take. A naive model of the rules says what is right beside others, and where alone the rules are
//! not brpc's.

use hedge_core::balance::la::{LaFailure, LaOthers, LaStats};
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
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    k: Kind,
    at: u64,
    begin: u64,
    err: i64,
    max_retry: u32,
    retried: u32,
    timeout_ms: i64,
    /// Whether a start was made of a look.
    chosen: bool,
    weight: u64,
    base: u64,
    avg_lat: u64,
    inflight: u32,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
enum Kind {
    #[serde(rename = "S")]
    Start,
    #[serde(rename = "F")]
    Finish,
}

const NO_TIME: &str = "S3: an error that took no time is an error all the same; brpc ignores it";
const NO_TIMEOUT: &str = "S3: under no timeout an error counts as under 30 s; brpc counts -1 ms";
const CUT: &str = "S3: what errors add to an answer ends at 268 s, so that it is outlived; in brpc it does not end";
/// The longest latency, in microseconds.
const LONGEST: u64 = (1 << 28) - 1;
/// The others, where there are any.
const OTHERS: LaOthers = LaOthers { weight: LaStats::SCALE, latency: Micros::from_millis(2) };

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.traces.iter().map(|trace| Case { name: trace.name.clone(), verdict: verdict(&trace.events) }).collect())
}

fn verdict(events: &[Event]) -> Verdict {
    let table: Vec<Row> = events.iter().map(Row::of).collect();
    let (mut expected, cut) = Model::replay(events, LaOthers::NONE);
    let difference = events.iter().zip(0..).find_map(|(event, at)| {
        let why = event.difference().or_else(|| (cut == Some(at)).then_some(CUT));
        why.map(|why| (at, why))
    });
    let same = difference.map_or(table.len(), |(at, _)| at);
    expected.iter_mut().zip(&table).take(same).for_each(|(expected, table)| *expected = *table);
    let got = replay(events, LaOthers::NONE);
    if let Err(verdict) = check("alone", &expected, &got) {
        return verdict;
    }
    if let Err(verdict) = check("beside others", &Model::replay(events, OTHERS).0, &replay(events, OTHERS)) {
        return verdict;
    }
    match difference {
        Some((_, why)) if got != table => Verdict::Differs { why: why.into() },
        _ => Verdict::Ok,
    }
}

fn check(which: &str, expected: &[Row], got: &[Row]) -> Result<(), Verdict> {
    let wrong = (1..).zip(expected.iter().zip(got)).find(|(_, (expected, got))| expected != got);
    wrong.map_or(Ok(()), |(number, (expected, got))| {
        let text = |row: &Row| format!("{which}, event {number}: {row:?}");
        Err(Verdict::Fail { expected: text(expected), got: text(got) })
    })
}

impl Event {
    /// Why brpc's arithmetic is not ours from here on.
    fn difference(&self) -> Option<&'static str> {
        match (self.k, self.err) {
            (Kind::Start, _) | (_, 0) => None,
            _ if self.at <= self.begin => Some(NO_TIME),
            _ if self.timeout_ms < 0 => Some(NO_TIMEOUT),
            _ => None,
        }
    }
}

/// What the table says of each event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    weight: u64,
    base: u64,
    avg_lat: u64,
    inflight: u32,
}

impl Row {
    const fn of(event: &Event) -> Self {
        Self { weight: event.weight, base: event.base, avg_lat: event.avg_lat, inflight: event.inflight }
    }
}

/// What the core does.
fn replay(events: &[Event], others: LaOthers) -> Vec<Row> {
    let stats = LaStats::new(LaStats::SCALE);
    let others = || others;
    let mut weight = LaStats::SCALE;
    let mut does = |event: &Event| {
        let (now, begin) = (Instant::from_micros(event.at), Instant::from_micros(event.begin));
        let changed = match (event.k, event.err) {
            (Kind::Start, _) if event.chosen => Some(stats.started(now, others)),
            (Kind::Start, _) => Some(stats.weight(now, others)),
            (Kind::Finish, 0) => stats.succeeded(now, begin, others),
            (Kind::Finish, _) => {
                let timeout = event.timeout_ms.try_into().map(Duration::from_millis);
                let timeout = timeout.map_or(Timeout::NEVER, Timeout::after);
                let failure = LaFailure { max_retry: event.max_retry, retried: event.retried, timeout };
                stats.failed(now, begin, failure, others)
            }
        };
        weight = changed.unwrap_or(weight);
        Row {
            weight,
            base: stats.base(),
            avg_lat: Micros::from(stats.latency()).as_micros(),
            inflight: stats.in_flight(),
        }
    };
    events.iter().map(&mut does).collect()
}

/// The rules as they are written down, with all that ever happened at hand.
struct Model {
    /// Latencies and ends of the last 128 answers.
    answers: Vec<(u64, u64)>,
    begins: Vec<u64>,
    /// When the last error was, how many there were in a row, and the answers since.
    error: Option<(u64, u32, u32)>,
    base: u64,
    average: u64,
    known: bool,
    /// Whether a latency was ever cut.
    cut: bool,
    /// What the last few answers took.
    lately: u64,
    others: LaOthers,
}

impl Model {
    /// The rows, and in which of them a latency is cut for the first time.
    fn replay(events: &[Event], others: LaOthers) -> (Vec<Row>, Option<usize>) {
        let mut model = Self {
            answers: Vec::new(),
            begins: Vec::new(),
            error: None,
            base: LaStats::SCALE,
            average: 0,
            known: false,
            cut: false,
            lately: 0,
            others,
        };
        let (mut weight, mut cut) = (LaStats::SCALE, None);
        let mut does = |(at, event): (usize, &Event)| {
            weight = match event.k {
                Kind::Start => model.start(event),
                Kind::Finish => model.finish(event).unwrap_or(weight),
            };
            cut = cut.or(model.cut.then_some(at));
            let inflight = u32::try_from(model.begins.len()).unwrap_or(u32::MAX);
            Row { weight, base: model.base, avg_lat: model.average, inflight }
        };
        (events.iter().enumerate().map(&mut does).collect(), cut)
    }

    fn start(&mut self, event: &Event) -> u64 {
        let weight = self.weight(event.at, !event.chosen && self.begins.is_empty());
        if event.chosen {
            self.begins.push(event.at);
        }
        weight
    }

    fn finish(&mut self, event: &Event) -> Option<u64> {
        if let Some(at) = self.begins.iter().position(|begin| *begin == event.begin) {
            self.begins.remove(at);
        }
        let latency = event.at.saturating_sub(event.begin);
        if event.err != 0 {
            self.failed(event, latency.max(1));
        } else if latency == 0 {
            return None;
        } else {
            self.answers.push((latency, event.at));
            self.answers.drain(..self.answers.len().saturating_sub(128));
            self.lately = match self.lately {
                0 => latency,
                lately if lately <= latency => lately + (latency - lately) / 4,
                lately if lately > 2 * latency => (lately + latency) / 2,
                lately => lately - (lately - latency).div_ceil(4),
            };
            self.lately = self.lately.min(LONGEST);
            self.error = self.error.map(|(at, _, since)| (at, 0, since + 1)).filter(|(.., since)| *since < 128);
        }
        if let Some(last) = self.answers.last_mut() {
            self.cut |= last.0 > LONGEST;
            last.0 = last.0.min(LONGEST);
        }
        self.weigh(event.at)?;
        Some(self.weight(event.at, self.begins.is_empty()))
    }

    fn failed(&mut self, event: &Event, latency: u64) {
        let timeout = u64::try_from(event.timeout_ms).map_or(30_000_000, |ms| ms * 1_000);
        let (done, left) = match event.max_retry {
            0 => (1, 0),
            most => (u64::from(event.retried), u64::from(most.saturating_sub(event.retried))),
        };
        let counts = (left * (latency * 12 / 10) + done * timeout) / (left + done);
        match self.answers.last_mut() {
            Some(last) => *last = (last.0 + counts, event.at),
            None => self.answers.push((counts.max(timeout), event.at)),
        }
        let in_a_row = self.error.map_or(0, |(_, in_a_row, _)| in_a_row);
        self.error = Some((event.at, in_a_row + 1, 0));
    }

    fn weigh(&mut self, now: u64) -> Option<()> {
        let (first, rest) = self.answers.split_first()?;
        let span = now.saturating_sub(first.1);
        let average = match (span, rest.len() as u64) {
            (0, 0) => first.0,
            (0, _) | (_, 0) => return None,
            (_, others) => rest.iter().map(|(latency, _)| latency).sum::<u64>() / others,
        };
        self.average = average;
        self.known = rest.len() == 127 || span >= 1_000_000;
        let throughput = if self.known { rest.len() as u64 * 1_000_000 * LaStats::SCALE / span } else { 0 };
        self.base = throughput.max(LaStats::SCALE) / average;
        Some(())
    }

    /// What a server without an error weighs beside others: no attempt of a trace is abandoned.
    fn beside(&self, now: u64, idle: bool) -> u64 {
        let (others, fleet) = (self.others.weight, self.others.latency.as_micros());
        let slower = |weight: u64| if self.lately > fleet { weight * fleet / self.lately } else { weight };
        let deserved = slower(slower(others));
        let tried = if idle && now >= 2_000_000 { others / 20 } else { 0 };
        let late = self.lately >= 2 * self.average;
        match (self.average, self.known || late) {
            (0, _) => self.base.min(deserved).max(tried),
            (_, false) => self.base.max(others),
            (average, true) => {
                let base = if late { self.base * average / self.lately } else { self.base };
                base.max(deserved * 7 / 8).max(tried)
            }
        }
    }

    fn weight(&self, now: u64, idle: bool) -> u64 {
        let rested = self.error.is_some_and(|(at, ..)| now.saturating_sub(at) >= 2_000_000);
        let base = match self.error {
            _ if self.others.weight == 0 => self.base,
            None => self.beside(now, idle),
            Some((.., since)) if rested && since > 0 => self.beside(now, idle),
            Some(_) if rested && idle => self.base.max(self.others.weight),
            Some((_, 3.., _)) => 1_000,
            Some(_) => self.base,
        };
        let (count, bound) = (self.begins.len() as u64, self.average * 3 / 2);
        let age = self.begins.iter().sum::<u64>().checked_div(count).map_or(0, |mean| now.saturating_sub(mean));
        let punished = self.average > 0 && count > 0 && age >= bound;
        let weight = if punished { u128::from(base) * u128::from(bound) / u128::from(age.max(1)) } else { base.into() };
        u64::try_from(weight).unwrap_or(u64::MAX).max(1_000)
    }
}

//! What a run counts, and what it comes to: exact percentiles, a table and JSON.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::time::Duration;

use hedge_core::call::Report;
use hedge_core::latency::{LatencyRecorder, Quantile, Snapshot};
use hedge_core::outcome::Kind;
use hedge_core::policy::ShadowCount;
use hedge_core::time::Instant;
use serde::Serialize;

/// How many extra attempts were refused, by reason.
pub(crate) type Denials = BTreeMap<String, u32>;

/// Everything that one run has counted so far.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tally {
    latencies_us: Vec<u64>,
    errors: BTreeMap<&'static str, u64>,
    attempts: u64,
    backups: u64,
    backup_wins: u64,
}

impl Tally {
    /// Counts a call that took `latency`; `error` is its kind if it failed.
    pub(crate) fn record<const N: usize>(
        &mut self,
        latency: Duration,
        report: &Report<N>,
        error: Option<&'static str>,
    ) {
        self.latencies_us.push(whole_micros(latency));
        if let Some(kind) = error {
            *self.errors.entry(kind).or_default() += 1;
        }
        let attempts = report.attempts();
        let won = report.winner().and_then(|winner| attempts.get(winner.index()));
        self.attempts += attempts.len() as u64;
        self.backups += report.backups() as u64;
        self.backup_wins += u64::from(won.is_some_and(|winner| winner.kind() == Kind::Backup));
    }

    pub(crate) const fn calls(&self) -> u64 {
        self.latencies_us.len() as u64
    }

    pub(crate) fn ok(&self) -> u64 {
        self.calls() - self.errors.values().sum::<u64>()
    }

    /// What it comes to, with how long the run took and what its policies did.
    pub(crate) fn finish(mut self, name: &'static str, took: Duration, decisions: Decisions) -> Run {
        self.latencies_us.sort_unstable();
        let Decisions { delay_us, backups_denied, retries_denied, ratio_lookups, shadow } = decisions;
        let predict = Predict::new(&self.latencies_us);
        let (calls, ok) = (self.calls(), self.ok());
        let at = |per_mille| percentile(&self.latencies_us, per_mille).unwrap_or(0);
        Run {
            name,
            calls,
            ok,
            took_us: whole_micros(took),
            attempts: self.attempts,
            backups: self.backups,
            backup_wins: self.backup_wins,
            extra_load: if calls == 0 { 0.0 } else { (self.attempts as f64 - calls as f64) / calls as f64 },
            p50_us: at(500),
            p90_us: at(900),
            p99_us: at(990),
            p999_us: at(999),
            max_us: at(1_000),
            delay_us,
            backups_denied,
            retries_denied,
            ratio_lookups,
            shadow: shadow.into_iter().map(|count| predict.on_paper(count)).collect(),
            errors: self.errors,
            latencies_us: self.latencies_us,
        }
    }
}

/// The smallest value that at least `per_mille` thousandths of the sorted values do not exceed.
fn percentile(sorted: &[u64], per_mille: usize) -> Option<u64> {
    let rank = (sorted.len() * per_mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn whole_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a run's policies did.
#[derive(Default, Debug)]
pub(crate) struct Decisions {
    /// The backup's delay; the median if it changed. `None` if there was none.
    pub(crate) delay_us: Option<u64>,
    pub(crate) backups_denied: Denials,
    pub(crate) retries_denied: Denials,
    /// `None` unless a ratio is cached.
    pub(crate) ratio_lookups: Option<Lookups>,
    /// By delay, if backups were only counted.
    pub(crate) shadow: Vec<ShadowCount>,
}

/// How often a cached ratio was looked up: at the first backup, and then once an interval.
#[derive(Clone, Copy, Serialize, Debug)]
pub(crate) struct Lookups {
    pub(crate) interval_s: u64,
    /// At least 1. Nobody may have asked in some interval.
    pub(crate) at_most: u64,
}

impl Lookups {
    /// What it means for a run's denials.
    fn note(self) -> String {
        let Self { interval_s, at_most } = self;
        let consequence = if at_most == 1 {
            // Nothing had been sent at the first look.
            "this run was\nshorter, so all backups passed".to_owned()
        } else {
            format!("at most\n{at_most} times in this run; from one look to the next, all backups pass or none")
        };
        format!("the cached ratio is looked up at the first backup and then every {interval_s} s: {consequence}\n")
    }
}

/// What is predicted from the latencies of a run without backups.
struct Predict(Snapshot);

impl Predict {
    fn new(latencies_us: &[u64]) -> Self {
        let recorder = LatencyRecorder::default();
        // All of the run at once: the recorder's window may be shorter than the run.
        let at = Instant::ZERO;
        latencies_us.iter().for_each(|latency| recorder.record(at, Duration::from_micros(*latency)));
        Self(recorder.snapshot(at))
    }

    fn on_paper(&self, count: ShadowCount) -> OnPaper {
        let ShadowCount { delay, calls, sent, won, saved } = count;
        let p99 = self.0.hedged(delay, Quantile::P99);
        OnPaper {
            delay_us: whole_micros(delay),
            calls,
            sent,
            won,
            saved_us: whole_micros(saved),
            p99_us: p99.map(|hedged| whole_micros(hedged.latency)),
        }
    }
}

/// What backups after one delay would have done.
#[derive(Clone, Serialize, Debug)]
struct OnPaper {
    delay_us: u64,
    /// Of so many calls …
    calls: u32,
    /// … so many would have sent one …
    sent: u32,
    /// … which would have been the first to answer so often …
    won: u32,
    /// … and saved so much in all.
    saved_us: u64,
    /// What the 99th percentile would have been.
    p99_us: Option<u64>,
}

/// The whole measurement, as `--json` prints it.
#[derive(Serialize, Debug)]
pub(crate) struct Measurement {
    pub(crate) servers: usize,
    pub(crate) concurrency: u32,
    pub(crate) runs: Vec<Run>,
}

/// One run; latencies are over all its calls, failed ones included.
#[derive(Serialize, Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    calls: u64,
    ok: u64,
    errors: BTreeMap<&'static str, u64>,
    took_us: u64,
    attempts: u64,
    backups: u64,
    backup_wins: u64,
    /// Attempts beyond one a call, as a fraction of the calls.
    extra_load: f64,
    pub(crate) p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    /// See [`Decisions::delay_us`].
    delay_us: Option<u64>,
    backups_denied: Denials,
    retries_denied: Denials,
    ratio_lookups: Option<Lookups>,
    /// Empty, unless backups were only counted.
    shadow: Vec<OnPaper>,
    /// Sorted.
    #[serde(skip)]
    pub(crate) latencies_us: Vec<u64>,
}

impl Measurement {
    /// The runs side by side, and below them what is to be said of a cached ratio and what backups would have done, by their
    /// delay; nothing without a run.
    pub(crate) fn table(&self) -> String {
        let mut table = side_by_side(
            &self.runs,
            &[
                ("", |run| run.name.into()),
                ("calls", |run| run.calls.to_string()),
                ("ok", |run| run.ok.to_string()),
                ("errors", |run| counts(&run.errors).unwrap_or_else(|| "0".into())),
                ("run took", |run| format!("{:.2} s", run.took_us as f64 / 1e6)),
                ("p50", |run| millis(run.p50_us)),
                ("p90", |run| millis(run.p90_us)),
                ("p99", |run| millis(run.p99_us)),
                ("p99.9", |run| millis(run.p999_us)),
                ("max", |run| millis(run.max_us)),
                ("attempts", |run| run.attempts.to_string()),
                ("extra requests", |run| format!("{:.1} %", 100.0 * run.extra_load)),
                ("backups that won", |run| format!("{} of {}", run.backup_wins, run.backups)),
                ("backups denied", |run| counts(&run.backups_denied).unwrap_or_else(none)),
                ("retries denied", |run| counts(&run.retries_denied).unwrap_or_else(none)),
                ("backup delay", |run| run.delay_us.map_or_else(none, millis)),
            ],
        );
        for lookups in self.runs.iter().filter_map(|run| run.ratio_lookups) {
            let _ = write!(table, "\n{}", lookups.note());
        }
        for run in self.runs.iter().filter(|run| !run.shadow.is_empty()) {
            table.push_str("\nwhat backups would have done without a limit, by their delay\n\n");
            table.push_str(&side_by_side(
                &run.shadow,
                &[
                    ("", |paper| format!("{} ms", paper.delay_us as f64 / 1_000.0)),
                    ("would be sent", |paper| format!("{:.1} %", 100.0 * paper.a_call(paper.sent.into()))),
                    ("would have won", |paper| format!("{} of {}", paper.won, paper.sent)),
                    ("saved a call", |paper| format!("{:.2} ms", paper.a_call(paper.saved_us as f64) / 1_000.0)),
                    ("predicted p99", |paper| paper.p99_us.map_or_else(none, millis)),
                ],
            ));
        }
        table
    }
}

impl OnPaper {
    fn a_call(&self, sum: f64) -> f64 {
        if self.calls == 0 { 0.0 } else { sum / f64::from(self.calls) }
    }
}

/// A row of a table: its label, and what it shows of a column's item.
type Row<T> = (&'static str, fn(&T) -> String);

fn side_by_side<T>(items: &[T], rows: &[Row<T>]) -> String {
    let columns: Vec<Vec<String>> =
        items.iter().map(|item| rows.iter().map(|(_, cell)| cell(item)).collect()).collect();
    let mut table = String::new();
    for (row, (label, _)) in rows.iter().enumerate().filter(|_| !items.is_empty()) {
        let _ = write!(table, "{label:<16}");
        for column in &columns {
            let width = column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0).max(10);
            let cell = column.get(row).map_or("", String::as_str);
            let _ = write!(table, "  {cell:>width$}");
        }
        table.push('\n');
    }
    table
}

/// `2 deadline, 1 failed`; `None` without any.
fn counts<K: Display, N: Display>(counts: &BTreeMap<K, N>) -> Option<String> {
    let all: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn none() -> String {
    "none".into()
}

fn millis(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::balance::RoundRobin;
    use hedge_core::call::{Action, Input};
    use hedge_core::channel::Channel;
    use hedge_core::outcome::Verdict;
    use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions};
    use hedge_core::time::Instant;

    /// The report of a call whose second attempt, a backup, won.
    fn won_by_backup() -> Report {
        let backup = BackupDelay::after(Duration::from_millis(2));
        let options = ChannelOptions { backup, ..ChannelOptions::brpc() };
        let mut channel: Channel<u8, RoundRobin> = Channel::new(options, RoundRobin::new(1), 1);
        channel.insert(0, "").unwrap();
        channel.insert(1, "").unwrap();
        let options = CallOptions::new();
        let mut call = channel.call(&options, Instant::ZERO).unwrap();
        assert!(matches!(call.poll(Instant::ZERO), Action::Start(_)));
        let later = Instant::ZERO + Duration::from_millis(2);
        let Action::Start(backup) = call.poll(later) else { panic!("no backup") };
        call.handle(later, Input::finished(backup.attempt, Verdict::Accept));
        call.report().clone()
    }

    fn measurement() -> Measurement {
        let mut tally = Tally::default();
        for micros in 1..=1_000 {
            tally.record(Duration::from_micros(micros), &won_by_backup(), (micros > 998).then_some("deadline"));
        }
        let decisions = Decisions {
            delay_us: Some(2_000),
            backups_denied: [("budget".into(), 3), ("ratio".into(), 12)].into(),
            ratio_lookups: Some(Lookups { interval_s: 1, at_most: 3 }),
            ..Decisions::default()
        };
        let plain = Tally::default().finish("plain", Duration::ZERO, Decisions::default());
        let runs = vec![plain, tally.finish("backup", Duration::from_millis(2_345), decisions)];
        Measurement { servers: 3, concurrency: 8, runs }
    }

    #[test]
    fn percentiles_are_exact() {
        let thousand: Vec<u64> = (1..=1_000).collect();
        for (per_mille, expected) in [(0, 1), (1, 1), (500, 500), (990, 990), (999, 999), (1_000, 1_000)] {
            assert_eq!(percentile(&thousand, per_mille), Some(expected));
        }
        assert_eq!(percentile(&[5, 7, 9], 500), Some(7));
        assert_eq!(percentile(&[5, 7, 9], 990), Some(9));
        assert_eq!(percentile(&[5], 1), Some(5));
        assert_eq!(percentile(&[], 500), None);
    }

    #[test]
    fn json_has_its_shape() {
        let empty =
            r#"{"name":"plain","calls":0,"ok":0,"errors":{},"took_us":0,"attempts":0,"backups":0,"backup_wins":0,"#;
        let empty = format!(r#"{empty}"extra_load":0.0,"p50_us":0,"p90_us":0,"p99_us":0,"p999_us":0,"max_us":0,"#);
        let empty = format!(r#"{empty}"delay_us":null,"backups_denied":{{}},"retries_denied":{{}},"#);
        let empty = format!(r#"{empty}"ratio_lookups":null,"shadow":[]}}"#);
        let full =
            r#"{"name":"backup","calls":1000,"ok":998,"errors":{"deadline":2},"took_us":2345000,"attempts":2000,"#;
        let full = format!(r#"{full}"backups":1000,"backup_wins":1000,"extra_load":1.0,"p50_us":500,"p90_us":900,"#);
        let full = format!(r#"{full}"p99_us":990,"p999_us":999,"max_us":1000,"delay_us":2000,"#);
        let full = format!(r#"{full}"backups_denied":{{"budget":3,"ratio":12}},"retries_denied":{{}},"#);
        let full = format!(r#"{full}"ratio_lookups":{{"interval_s":1,"at_most":3}},"shadow":[]}}"#);
        let expected = format!(r#"{{"servers":3,"concurrency":8,"runs":[{empty},{full}]}}"#);
        assert_eq!(serde_json::to_string(&measurement()).unwrap(), expected);
    }

    #[test]
    fn the_table_is_side_by_side() {
        let expected = "
                       plain              backup
calls                      0                1000
ok                         0                 998
errors                     0          2 deadline
run took              0.00 s              2.35 s
p50                  0.00 ms             0.50 ms
p90                  0.00 ms             0.90 ms
p99                  0.00 ms             0.99 ms
p99.9                0.00 ms             1.00 ms
max                  0.00 ms             1.00 ms
attempts                   0                2000
extra requests         0.0 %             100.0 %
backups that won      0 of 0        1000 of 1000
backups denied          none  3 budget, 12 ratio
retries denied          none                none
backup delay            none             2.00 ms

the cached ratio is looked up at the first backup and then every 1 s: at most
3 times in this run; from one look to the next, all backups pass or none
";
        assert_eq!(measurement().table(), &expected[1..]);
    }

    #[test]
    fn b3_a_cached_ratio_that_was_looked_up_once_refused_nothing_and_says_so() {
        let expected = "the cached ratio is looked up at the first backup and then every 1 s: this run was
shorter, so all backups passed
";
        assert_eq!(Lookups { interval_s: 1, at_most: 1 }.note(), expected);
    }

    #[test]
    fn a_shadow_has_a_table_of_its_own() {
        let mut tally = Tally::default();
        // One call in twenty takes 20 ms instead of 1 ms, and so would a backup of it.
        for call in 0..1_000 {
            let millis = if call % 20 == 0 { 20 } else { 1 };
            tally.record(Duration::from_millis(millis), &won_by_backup(), None);
        }
        let count = |millis, sent, saved| ShadowCount {
            delay: Duration::from_millis(millis),
            calls: 1_000,
            sent,
            won: sent / 2,
            saved: Duration::from_millis(saved),
        };
        let shadow = vec![count(2, 50, 850), count(50, 0, 0)];
        let runs = vec![tally.finish("shadow", Duration::ZERO, Decisions { shadow, ..Decisions::default() })];
        let table = Measurement { servers: 3, concurrency: 8, runs }.table();
        // What is predicted is within 6 % of 3 ms and 20 ms.
        let expected = "
what backups would have done without a limit, by their delay

                        2 ms       50 ms
would be sent          5.0 %       0.0 %
would have won      25 of 50      0 of 0
saved a call         0.85 ms     0.00 ms
predicted p99        3.01 ms    20.89 ms
";
        assert_eq!(table.split_at(table.find("\nwhat").unwrap()).1, expected);
    }
}

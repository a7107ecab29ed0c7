//! What a run counts, and what it comes to: exact percentiles, a table and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hedge_core::call::{Kind, Report};
use serde::Serialize;

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
        self.latencies_us.push(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
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

    /// What it comes to.
    pub(crate) fn finish(mut self, name: &'static str) -> Run {
        self.latencies_us.sort_unstable();
        let (calls, ok) = (self.calls(), self.ok());
        let at = |per_mille| percentile(&self.latencies_us, per_mille).unwrap_or(0);
        Run {
            name,
            calls,
            ok,
            attempts: self.attempts,
            backups: self.backups,
            backup_wins: self.backup_wins,
            extra_load: if calls == 0 { 0.0 } else { (self.attempts as f64 - calls as f64) / calls as f64 },
            p50_us: at(500),
            p90_us: at(900),
            p99_us: at(990),
            p999_us: at(999),
            max_us: at(1_000),
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
    attempts: u64,
    backups: u64,
    backup_wins: u64,
    /// Attempts beyond one a call, as a fraction of the calls.
    extra_load: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    /// Sorted.
    #[serde(skip)]
    pub(crate) latencies_us: Vec<u64>,
}

impl Measurement {
    /// The runs side by side; nothing without any.
    pub(crate) fn table(&self) -> String {
        if self.runs.is_empty() {
            return String::new();
        }
        type Cell = fn(&Run) -> String;
        let rows: [(&str, Cell); 11] = [
            ("calls", |run| run.calls.to_string()),
            ("ok", |run| run.ok.to_string()),
            ("errors", |run| run.errors()),
            ("p50", |run| millis(run.p50_us)),
            ("p90", |run| millis(run.p90_us)),
            ("p99", |run| millis(run.p99_us)),
            ("p99.9", |run| millis(run.p999_us)),
            ("max", |run| millis(run.max_us)),
            ("attempts", |run| run.attempts.to_string()),
            ("extra requests", |run| format!("{:.1} %", 100.0 * run.extra_load)),
            ("backups that won", |run| format!("{} of {}", run.backup_wins, run.backups)),
        ];
        let columns: Vec<Vec<String>> = self
            .runs
            .iter()
            .map(|run| {
                let cells = rows.iter().map(|(_, cell)| cell(run));
                std::iter::once(run.name.to_owned()).chain(cells).collect()
            })
            .collect();
        let mut table = String::new();
        for (row, label) in std::iter::once("").chain(rows.iter().map(|(label, _)| *label)).enumerate() {
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
}

impl Run {
    fn errors(&self) -> String {
        if self.errors.is_empty() {
            return "0".into();
        }
        let kinds: Vec<_> = self.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        kinds.join(", ")
    }
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
    use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, Verdict};
    use hedge_core::time::{Duration as CoreDuration, Instant};

    /// The report of a call whose second attempt, a backup, won.
    fn won_by_backup() -> Report {
        let backup = BackupDelay::After(CoreDuration::from_millis(2));
        let options = ChannelOptions { backup, ..ChannelOptions::brpc() };
        let mut channel: Channel<u8, RoundRobin> = Channel::new(options, RoundRobin::new(1), 1).unwrap();
        channel.cluster_mut().insert(0, "").unwrap();
        channel.cluster_mut().insert(1, "").unwrap();
        let options = CallOptions::new();
        let mut call = channel.call(&options, Instant::ZERO).unwrap();
        assert!(matches!(call.poll(Instant::ZERO), Action::Start(_)));
        let later = Instant::ZERO + CoreDuration::from_millis(2);
        let Action::Start(backup) = call.poll(later) else { panic!("no backup") };
        call.handle(later, Input::finished(backup.attempt, Verdict::Accept));
        call.report().clone()
    }

    fn measurement() -> Measurement {
        let mut tally = Tally::default();
        for micros in 1..=1_000 {
            tally.record(Duration::from_micros(micros), &won_by_backup(), (micros > 998).then_some("deadline"));
        }
        Measurement { servers: 3, concurrency: 8, runs: vec![Tally::default().finish("plain"), tally.finish("backup")] }
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
        let empty = r#"{"name":"plain","calls":0,"ok":0,"errors":{},"attempts":0,"backups":0,"backup_wins":0,"#;
        let empty = format!(r#"{empty}"extra_load":0.0,"p50_us":0,"p90_us":0,"p99_us":0,"p999_us":0,"max_us":0}}"#);
        let full = r#"{"name":"backup","calls":1000,"ok":998,"errors":{"deadline":2},"attempts":2000,"backups":1000,"#;
        let full = format!(r#"{full}"backup_wins":1000,"extra_load":1.0,"p50_us":500,"p90_us":900,"#);
        let full = format!(r#"{full}"p99_us":990,"p999_us":999,"max_us":1000}}"#);
        let expected = format!(r#"{{"servers":3,"concurrency":8,"runs":[{empty},{full}]}}"#);
        assert_eq!(serde_json::to_string(&measurement()).unwrap(), expected);
    }

    #[test]
    fn the_table_is_side_by_side() {
        let expected = "
                       plain        backup
calls                      0          1000
ok                         0           998
errors                     0    2 deadline
p50                  0.00 ms       0.50 ms
p90                  0.00 ms       0.90 ms
p99                  0.00 ms       0.99 ms
p99.9                0.00 ms       1.00 ms
max                  0.00 ms       1.00 ms
attempts                   0          2000
extra requests         0.0 %       100.0 %
backups that won      0 of 0  1000 of 1000
";
        assert_eq!(measurement().table(), &expected[1..]);
    }
}

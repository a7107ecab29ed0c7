//! What a run came to, as lines of a table.

use std::fmt::Write as _;
use std::time::Duration;

use hedge_net::{Denial, Extra};

use crate::allowed::{Allowed, Verdict};
use crate::cell::{Cell, Outcome};
use crate::load::share;

/// The names of the columns.
pub(crate) fn head() -> String {
    format!(
        "{:<8}{:<14}{:<9}{:<8}{:>7}{:>8}{:>9}{:>10}{:>10}{:>10}{:>9}{:>8}",
        "runtime", "fault", "balancer", "backups", "calls", "failed", "", "p50", "p99", "attempts", "at bad", "took"
    )
}

/// Lags below this are an operating system's everyday.
const LAG: Duration = Duration::from_millis(50);

/// A run in one line, and below it why calls failed, the most frequent reason first.
pub(crate) fn row(runtime: &str, cell: Cell, outcome: &Outcome, allowed: Allowed, verdict: Verdict) -> String {
    let tally = &outcome.tally;
    let (calls, failed) = (tally.calls(), tally.failed());
    let mut text = format!(
        "{runtime:<8}{:<14}{:<9}{:<8}{calls:>7}{failed:>8}{:>7.2} %{:>7.1} ms{:>7.1} ms{:>10.3}{:>7.1} %{:>6.1} s{}",
        cell.fault.name(),
        cell.balancer.name(),
        if cell.backups { "yes" } else { "no" },
        100.0 * share(failed, calls),
        millis(tally.percentile(50)),
        millis(tally.percentile(99)),
        tally.since.a_call(),
        100.0 * tally.since.share_of_bad(),
        tally.took.as_secs_f64(),
        verdict.mark(),
    );
    let mut reasons: Vec<_> = tally.failures.iter().map(|(text, count)| (*count, text.as_str())).collect();
    if tally.lost > 0 {
        reasons.push((tally.lost, "never ended"));
    }
    reasons.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    for (count, reason) in reasons {
        let _ = write!(text, "\n{count:>15} × {reason}");
    }
    if failed > 0 && !outcome.denied.is_empty() {
        let _ = write!(text, "\n{:>15}   {}", "", denied(&outcome.denied));
    }
    if failed > 0 && tally.lag >= LAG {
        let _ = write!(text, "\n{:>15}   the machine woke threads up to {:.0} ms late", "", millis(tally.lag));
    }
    if let (Some(why), true) = (allowed.why, failed > 0) {
        let _ = write!(text, "\n{:>15}   {} may fail: {why}", "", allowed.failed);
    }
    text
}

/// `refused: 3 backups by ratio, 1 retries by budget`.
fn denied(denied: &[(Extra, Denial, u32)]) -> String {
    let each = denied.iter().map(|(extra, denial, count)| {
        let extra = if *extra == Extra::Backup { "backups" } else { "retries" };
        format!("{count} {extra} by {denial}")
    });
    format!("refused: {}", each.collect::<Vec<_>>().join(", "))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Balancer, Settings};
    use crate::fault::Fault;
    use crate::load::{Attempts, Tally};

    fn outcome() -> Outcome {
        let failures = [("timed out".to_owned(), 2), ("reset".to_owned(), 7)].into();
        let since = Attempts { calls: 100, all: 120, at_bad: 30 };
        let took = Duration::from_millis(1_250);
        let latencies = (1..=100).map(|ms| ms * 1_000).collect();
        let tally = Tally { latencies, failures, lost: 0, since, took, lag: Duration::from_millis(60) };
        Outcome { tally, denied: vec![(Extra::Backup, Denial::Ratio, 3)] }
    }

    fn allowed(cell: Cell) -> Allowed {
        Allowed::of(
            cell,
            100,
            Settings {
                calls: 100,
                callers: 8,
                seed: 1,
                at_most: Duration::MAX,
                work: Duration::MAX,
                attempt_timeout: None,
            },
        )
    }

    #[test]
    fn a_row_says_what_failed_and_why() {
        let cell = Cell { fault: Fault::Hung, balancer: Balancer::Rr, backups: true };
        let text = row("tokio", cell, &outcome(), allowed(cell), Verdict::TooManyFailed);
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = "tokio hung rr yes 100 9 9.00 % 50.0 ms 99.0 ms 1.200 25.0 % 1.2 s <- failed";
        assert_eq!(lines[0], expected.split(' ').collect::<Vec<_>>());
        assert_eq!(lines[1..3], [vec!["7", "×", "reset"], vec!["2", "×", "timed", "out"]]);
        assert_eq!(lines[3].join(" "), "refused: 3 backups by ratio");
        assert_eq!(lines[4].join(" "), "the machine woke threads up to 60 ms late");
        assert!(lines[5].join(" ").starts_with("16 may fail: "), "{text}");
    }

    #[test]
    fn a_call_that_never_ended_has_failed() {
        let mut outcome = outcome();
        outcome.tally.lost = 1;
        assert_eq!((outcome.tally.calls(), outcome.tally.failed()), (101, 10));
        let cell = Cell { fault: Fault::None, balancer: Balancer::La, backups: false };
        assert!(row("smol", cell, &outcome, allowed(cell), Verdict::Good).contains("1 × never ended"));
    }
}

//! The result, as a table with a verdict on every target.

use std::fmt::Write;

use crate::harness::{Measured, Target};

/// How a target was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Met,
    /// Missed, but by less than the rounds differ among each other.
    WithinNoise,
    Missed,
}

impl Verdict {
    const fn sign(self) -> &'static str {
        match self {
            Self::Met => "✓",
            Self::WithinNoise => "✓ (within noise)",
            Self::Missed => "✗",
        }
    }
}

/// The table, and whether no target was missed by more than noise.
pub(crate) fn table(sections: &[(&str, Vec<&str>)], all: &[Measured]) -> (String, bool) {
    let mut out = String::new();
    let mut fine = true;
    let head = ["ns/call", "±", "allocs/call", "timers/call", "ratio"];
    let [time, spread, allocations, timers, ratio] = head;
    let _ = writeln!(out, "{:38}{time:>9}{spread:>6}{allocations:>13}{timers:>13}{ratio:>9}  targets", "");
    for (title, names) in sections {
        let _ = writeln!(out, "\n{title}");
        for row in names.iter().filter_map(|name| find(all, name)) {
            let (line, met) = self::row(row, all);
            fine &= met;
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    (out, fine)
}

/// The medians of what was measured at several sizes: a line a name, a column a size.
pub(crate) fn curves(title: &str, sizes: &[u16], lines: &[(&str, Vec<&str>)], all: &[Measured]) -> String {
    let mut out = format!("\n{title:38}");
    for size in sizes {
        let _ = write!(out, "{size:>9}");
    }
    out.push('\n');
    for (name, rows) in lines {
        let _ = write!(out, "  {name:36}");
        for row in rows {
            let time = find(all, row).map_or(f64::NAN, |row| row.time().median);
            let _ = write!(out, "{time:9.1}");
        }
        out.push('\n');
    }
    out
}

fn row(row: &Measured, all: &[Measured]) -> (String, bool) {
    let time = row.time();
    let ratio = find(all, row.floor).map_or(f64::NAN, |floor| row.over(floor).median);
    let timers = row.timers.map_or_else(String::new, |timers| format!("{timers:.2}"));
    let mut line = format!(
        "  {:36}{:9.1}{:5.0}%{:13.2}{timers:>13}{ratio:9.2}  ",
        row.name,
        time.median,
        time.spread(),
        row.allocations
    );
    let mut fine = true;
    for (index, target) in row.targets.iter().enumerate() {
        let (what, verdict) = judge(row, *target, all);
        fine &= verdict != Verdict::Missed;
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(line, "{separator}{what} {}", verdict.sign());
    }
    (line, fine)
}

fn judge(row: &Measured, target: Target, all: &[Measured]) -> (String, Verdict) {
    let whether = |met: bool| if met { Verdict::Met } else { Verdict::Missed };
    match target {
        Target::NoAllocation => ("no allocation".to_owned(), whether(row.allocations == 0.0)),
        Target::NoTimer => ("no timer".to_owned(), whether(row.timers == Some(0.0))),
        Target::AtMost(most, other) => {
            let Some(other) = find(all, other) else { return (format!("{other} is missing"), Verdict::Missed) };
            let over = row.over(other);
            let verdict = match (over.median <= most, over.low <= most) {
                (true, _) => Verdict::Met,
                (false, true) => Verdict::WithinNoise,
                (false, false) => Verdict::Missed,
            };
            // The ratio to its own floor stands in the line already.
            let ratio = if other.name == row.floor { String::new() } else { format!(" ({:.2})", over.median) };
            (format!("≤ {most} × {}{ratio}", other.name), verdict)
        }
    }
}

fn find<'m>(all: &'m [Measured], name: &str) -> Option<&'m Measured> {
    all.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: [f64; 4] = [1.0, 1.0, 1.0, 1.0];

    fn judged(times: [f64; 4], target: Target) -> Verdict {
        let floor = Measured::of_times("floor", FLOOR.to_vec());
        let row = Measured::of_times("row", times.to_vec());
        judge(&row, target, &[floor]).1
    }

    #[test]
    fn a_target_is_missed_only_if_three_quarters_of_the_rounds_miss_it() {
        let most = Target::AtMost(2.0, "floor");
        assert_eq!(judged([1.5, 2.0, 2.5, 3.0], most), Verdict::Met);
        assert_eq!(judged([2.0, 2.5, 3.0, 3.5], most), Verdict::WithinNoise);
        assert_eq!(judged([2.1, 2.5, 3.0, 3.5], most), Verdict::Missed);
        assert_eq!(judged([1.0; 4], Target::AtMost(2.0, "nobody")), Verdict::Missed);
    }

    #[test]
    fn a_curve_has_a_column_a_size() {
        let all = [Measured::of_times("it of 10", vec![1.25]), Measured::of_times("it of 100", vec![2.0])];
        let lines = [("it", vec!["it of 10", "it of 100"])];
        let text = curves("ns", &[10, 100], &lines, &all);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["ns", "10", "100", "it", "1.2", "2.0"]);
    }

    #[test]
    fn one_allocation_or_timer_is_a_miss_and_so_is_a_timer_that_nobody_counts() {
        let mut row = Measured::of_times("row", FLOOR.to_vec());
        assert_eq!(judge(&row, Target::NoAllocation, &[]).1, Verdict::Met);
        assert_eq!(judge(&row, Target::NoTimer, &[]).1, Verdict::Missed);
        row.timers = Some(0.0);
        assert_eq!(judge(&row, Target::NoTimer, &[]).1, Verdict::Met);
        (row.allocations, row.timers) = (1e-9, Some(1e-9));
        assert_eq!(judge(&row, Target::NoAllocation, &[]).1, Verdict::Missed);
        assert_eq!(judge(&row, Target::NoTimer, &[]).1, Verdict::Missed);
    }
}

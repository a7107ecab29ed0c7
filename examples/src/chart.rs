//! A picture of latency distributions: which share of the calls was done after how long.
//!
//! Both axes are logarithmic: time as usual, and the share by its nines (90 %, 99 %, 99.9 %, …), as the tail is what a
//! backup changes and a linear axis would squeeze it into its topmost line.

use std::fmt::Write as _;

const COLUMNS: usize = 64;
const ROWS: usize = 18;

/// How much higher than the nines "all of them" is, in nines.
const HEADROOM: f64 = 0.25;

/// One distribution: its name and its latencies, sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Curve<'a> {
    pub(crate) name: &'a str,
    pub(crate) sorted_us: &'a [u64],
}

/// The distributions, and the axes that fit all of them.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    curves: Vec<Curve<'a>>,
    min_us: f64,
    max_us: f64,
    /// How many nines the share goes up to: 3 is 99.9 %.
    nines: f64,
}

impl<'a> Chart<'a> {
    /// `None` if there is nothing to draw.
    pub(crate) fn new(curves: impl IntoIterator<Item = Curve<'a>>) -> Option<Self> {
        let curves: Vec<_> = curves.into_iter().filter(|curve| !curve.sorted_us.is_empty()).collect();
        let first = curves.iter().filter_map(|curve| curve.sorted_us.first()).min()?;
        let last = curves.iter().filter_map(|curve| curve.sorted_us.last()).max()?;
        let most = curves.iter().map(|curve| curve.sorted_us.len()).max()?;
        let (first, last) = (first.max(&1), last.max(&1));
        let min_us = round_times().take_while(|time| *time <= *first as f64).last()?;
        let max_us = round_times().find(|time| *time > min_us && *time >= *last as f64)?;
        let nines = (most as f64).log10().ceil().clamp(1.0, 6.0);
        Some(Self { curves, min_us, max_us, nines })
    }

    /// Where a time is on its axis, from 0 to 1.
    fn across(&self, micros: f64) -> f64 {
        (micros / self.min_us).ln() / (self.max_us / self.min_us).ln()
    }

    /// Where a share is on its axis, from 0 to 1.
    fn up(&self, share: f64) -> f64 {
        (-(1.0 - share).log10() / (self.nines + HEADROOM)).clamp(0.0, 1.0)
    }

    /// The curve as upright strokes: at which of `columns` columns, from where to where.
    fn strokes(&self, curve: Curve<'a>, columns: usize) -> Vec<(usize, f64, f64)> {
        let mut strokes = Vec::new();
        let mut height = 0.0;
        for column in 0..columns {
            let end = (column + 1) as f64 / columns as f64;
            // Half a microsecond more, lest rounding leaves out the last of the latencies, which are whole ones.
            let time = self.min_us * (self.max_us / self.min_us).powf(end) + 0.5;
            let done = curve.sorted_us.partition_point(|latency| *latency as f64 <= time);
            if done == 0 {
                continue;
            }
            let reached = self.up(done as f64 / curve.sorted_us.len() as f64);
            strokes.push((column, height, reached));
            height = reached;
            if done == curve.sorted_us.len() {
                break;
            }
        }
        strokes
    }

    fn time_ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let shown = round_times().skip_while(|time| *time < self.min_us).take_while(|time| *time <= self.max_us);
        shown.map(|time| (self.across(time), (time / 1_000.0).to_string()))
    }

    fn share_ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let shares = [0.0_f64, 0.5, 0.9, 0.99, 0.999, 0.999_9, 0.999_99, 0.999_999];
        // Whole numbers of nines are compared here, but for rounding.
        let shown = shares.into_iter().filter(|share| -(1.0 - share).log10() < self.nines + 0.1).chain([1.0]);
        let label = |share: f64| format!("{:.4}", 100.0 * share).trim_end_matches('0').trim_end_matches('.').to_owned();
        shown.map(move |share| (self.up(share), format!("{} %", label(share))))
    }

    /// The picture in characters, 80 columns wide.
    pub(crate) fn text(&self) -> String {
        let mut cells = [[0_u8; COLUMNS]; ROWS];
        for (curve, bit) in self.curves.iter().zip([1, 2]) {
            for (column, from, to) in self.strokes(*curve, COLUMNS) {
                for line in cells.iter_mut().take(cell(to, ROWS) + 1).skip(cell(from, ROWS)) {
                    if let Some(cell) = line.get_mut(column) {
                        *cell |= bit;
                    }
                }
            }
        }
        let mut text = String::from("share of calls done, by latency in ms");
        for (curve, glyph) in self.curves.iter().zip([GLYPHS[1], GLYPHS[2]]) {
            let _ = write!(text, "    {glyph} {}", curve.name);
        }
        if self.curves.len() > 1 {
            let _ = write!(text, "    {} both", GLYPHS[3]);
        }
        text.push('\n');
        let ticks: Vec<_> = self.share_ticks().map(|(at, label)| (cell(at, ROWS), label)).collect();
        for (row, line) in cells.iter().enumerate().rev() {
            let label = ticks.iter().find(|(at, _)| *at == row).map_or("", |(_, label)| label);
            let glyphs: String = line.iter().filter_map(|cell| GLYPHS.get(usize::from(*cell))).collect();
            let mark = if label.is_empty() { '│' } else { '┤' };
            let _ = writeln!(text, "{label:>9}{mark}{}", glyphs.trim_end());
        }
        self.time_axis(&mut text);
        text
    }

    fn time_axis(&self, text: &mut String) {
        let mut axis = ['─'; COLUMNS];
        let mut labels = String::new();
        for (at, label) in self.time_ticks() {
            let column = cell(at, COLUMNS);
            // A label begins under its mark; the first that does not fit behind its neighbour goes without.
            if !labels.is_empty() && labels.len() >= column {
                continue;
            }
            if let Some(mark) = axis.get_mut(column) {
                *mark = '┬';
            }
            let _ = write!(labels, "{label:>width$}", width = column + label.len() - labels.len());
        }
        let axis: String = axis.iter().collect();
        let _ = writeln!(text, "{:>9}└{axis}\n{:>10}{labels} ms", "", "");
    }

    /// The picture as SVG.
    pub(crate) fn svg(&self) -> String {
        const LEFT: f64 = 70.0;
        const TOP: f64 = 40.0;
        const WIDTH: usize = 700;
        const HEIGHT: f64 = 400.0;
        let (right, bottom) = (LEFT + WIDTH as f64, TOP + HEIGHT);
        let x = |across: f64| LEFT + across * WIDTH as f64;
        let y = |up: f64| bottom - up * HEIGHT;
        let mut svg = String::from(concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 500" font-family="sans-serif" font-size="13">"#,
            "\n<rect width=\"800\" height=\"500\" fill=\"white\"/>\n",
        ));
        for (at, label) in self.time_ticks() {
            let x = x(at);
            let _ = writeln!(svg, r##"<path d="M{x:.1} {TOP}V{bottom}" stroke="#ddd"/>"##);
            let _ = writeln!(svg, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{label}</text>"#, bottom + 18.0);
        }
        for (at, label) in self.share_ticks() {
            let y = y(at);
            let _ = writeln!(svg, r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#ddd"/>"##);
            let _ = writeln!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{label}</text>"#, LEFT - 6.0, y + 4.0);
        }
        let middle = x(0.5);
        let _ = writeln!(svg, r#"<text x="{middle}" y="{}" text-anchor="middle">latency, ms</text>"#, bottom + 42.0);
        let _ = writeln!(svg, r#"<text x="{LEFT}" y="24">share of calls done</text>"#);
        for (index, (curve, colour)) in self.curves.iter().zip(["#d55e00", "#0072b2"]).enumerate() {
            let mut path = String::new();
            for (column, from, to) in self.strokes(*curve, WIDTH) {
                let across = (column + 1) as f64 / WIDTH as f64;
                if path.is_empty() {
                    let _ = write!(path, "M{:.1} {:.1}", x(across), y(from));
                }
                let _ = write!(path, "H{:.1}V{:.1}", x(across), y(to));
            }
            let _ = writeln!(svg, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#);
            let (x, name) = (right - 80.0 * index as f64, curve.name);
            let _ = writeln!(svg, r#"<text x="{x}" y="24" text-anchor="end" fill="{colour}">{name}</text>"#);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Blank, the first curve, the second, and both.
const GLYPHS: [char; 4] = [' ', '░', '█', '▓'];

/// 1, 2, 5, 10, … microseconds, up to a day and more.
pub(crate) fn round_times() -> impl Iterator<Item = f64> {
    (0..12).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)))
}

/// The cell, out of `cells`, that a place from 0 to 1 falls into.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to cells - 1")]
fn cell(place: f64, cells: usize) -> usize {
    (place.clamp(0.0, 1.0) * (cells - 1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_chart() {
        let plain = Curve { name: "plain", sorted_us: &[400, 500, 500, 500, 600, 600, 600, 700, 900, 20_000] };
        let backup = Curve { name: "backup", sorted_us: &[400, 500, 500, 500, 600, 600, 600, 700, 900, 2_600] };
        let text = Chart::new([plain, backup]).unwrap().text();
        assert_eq!(text, include_str!("../tests/tiny_chart.txt"));
    }

    #[test]
    fn all_sorts_of_latencies_fit() {
        for sorted_us in [&[0][..], &[1, 1], &[1_000], &[1, 3_600_000_000], &[0, u64::MAX / 2]] {
            let chart = Chart::new([Curve { name: "x", sorted_us }]);
            let Some(chart) = chart else { continue };
            assert!(chart.text().lines().all(|line| line.chars().count() <= 83), "{}", chart.text());
            assert!(!chart.svg().contains("NaN"), "{}", chart.svg());
        }
        assert!(Chart::new([Curve { name: "x", sorted_us: &[] }]).is_none());
    }

    #[test]
    fn an_svg_has_both_curves_and_their_names() {
        let curve = |name| Curve { name, sorted_us: &[400, 500, 20_000] };
        let svg = Chart::new([curve("plain"), curve("backup")]).unwrap().svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("stroke-width").count(), 2);
        assert!(svg.contains(">plain<") && svg.contains(">backup<"));
    }
}

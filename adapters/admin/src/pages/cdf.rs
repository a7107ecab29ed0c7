//! The page of the distribution of latencies, as in brpc: x is the share of calls, y is the latency that this share of
//! the calls does not exceed. An operator uses it to choose a backup delay.

use std::fmt::Write as _;

use hedge_core::latency::{Quantile, Snapshot};
use hedge_core::time::Micros;
use serde_json::{Value as Json, json};

use super::{Page, Part, layout};
use crate::reading::Reading;
use crate::recorder::micros_of;
use crate::registry::Registry;
use crate::request::{Format, Parsed};
use crate::source::Source;
use crate::text::{Encoded, Html};

/// How many distributions a page shows in one picture.
const MOST: usize = 4;
/// How many points a distribution has.
const POINTS: usize = 20;
/// How many names the page lists if it shows no distribution.
const SIZE: usize = 500;

/// The area of the picture in which the lines are: left, right, top and bottom.
const AREA: [u64; 4] = [76, 628, 14, 262];

/// A distribution: shares in ten-thousandths, and latencies in microseconds. It is empty if there were no calls.
pub(super) type Points = Vec<(u16, u64)>;

/// One line of the picture.
struct Series {
    /// The name of a channel or a recorder, as text that is safe in HTML and in a URL.
    name: String,
    /// Whether the line shows an earlier moment.
    is_held: bool,
    calls: Option<u64>,
    points: Points,
}

/// The page of the distributions that the query names.
pub(super) fn page(parsed: &Parsed, registry: &Registry) -> Page {
    let names: Vec<_> = parsed.all("of").flat_map(|names| names.split(',')).map(str::trim).collect();
    of(parsed, registry, &names)
}

/// The page of the distributions of these channels and recorders.
pub(super) fn of(parsed: &Parsed, registry: &Registry, names: &[&str]) -> Page {
    let named = names.iter().filter_map(|name| current(registry, name));
    let held = parsed.all("held").filter_map(|held| earlier(registry, held));
    let series: Vec<_> = named.take(MOST).chain(held).take(MOST).collect();
    match parsed.format {
        _ if series.is_empty() && !names.is_empty() => Page::not_found(parsed, "there is no such channel or recorder"),
        Format::Json => Page::json(&json!({ "series": series.iter().map(Series::json).collect::<Vec<_>>() })),
        Format::Text => {
            let lines = series.iter().flat_map(|series| {
                series.points.iter().map(|(share, latency)| format!("{} {} {latency}\n", series.name, Percent(*share)))
            });
            Page::text(lines.collect())
        }
        Format::Html => {
            let mut html = form(parsed, names);
            if series.is_empty() {
                list(&mut html, parsed, registry);
            } else {
                picture(&mut html, &series);
                hold(&mut html, parsed, &series);
                table(&mut html, &series);
            }
            layout::html(parsed, "latency cdf", &html)
        }
    }
}

/// Returns the points of a distribution.
pub(super) fn points(recent: &Snapshot) -> Points {
    let point = |(quantile, latency): (Quantile, _)| (quantile.ten_thousandths(), micros_of(latency));
    recent.cdf().map_or_else(Vec::new, |cdf| cdf.map(point).into())
}

/// Returns the points as pairs of a percentage and a latency in microseconds.
pub(super) fn json(points: &Points) -> Json {
    points.iter().map(|(share, latency)| json!([f64::from(*share) / 100.0, latency])).collect()
}

/// Returns the present distribution of a channel or a recorder. `_latency_cdf` at the end of the name is left out.
fn current(registry: &Registry, name: &str) -> Option<Series> {
    let (name, source) = registry.source(name.strip_suffix("_latency_cdf").unwrap_or(name))?;
    // A variable has no distribution. A query may name it thousands of times, so its function is not called.
    if matches!(source, Source::Variable(_)) {
        return None;
    }
    let reading = Reading::of(&source);
    let recent = reading.recent()?;
    Some(Series { name: name.to_string(), is_held: false, calls: Some(recent.count()), points: points(recent) })
}

/// Returns the distribution of an earlier moment, which [`hold`] has put into a link: the name and the latencies. The
/// link is from the browser, so everything in it is checked.
fn earlier(registry: &Registry, held: &str) -> Option<Series> {
    let (name, latencies) = held.split_once(':')?;
    let (name, _) = registry.source(name)?;
    let latencies: Vec<u64> =
        latencies.split(' ').take(POINTS + 1).map(|text| text.parse().ok()).collect::<Option<_>>()?;
    let cdf_shares = [10, 20, 30, 40, 50, 60, 70, 80, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99].map(|share| 100 * share);
    let shares = cdf_shares.into_iter().chain([9_990, 9_999]);
    let points: Points = shares.zip(latencies.iter().copied()).collect();
    // Nothing that this crate has measured is longer than 2^32 us.
    let is_valid = latencies.len() == POINTS && latencies.iter().all(|latency| *latency <= 1 << 32);
    is_valid.then(|| Series { name: name.to_string(), is_held: true, calls: None, points })
}

impl Series {
    fn json(&self) -> Json {
        json!({ "name": self.name, "held": self.is_held, "calls": self.calls, "cdf_us": json(&self.points) })
    }

    fn label(&self) -> String {
        format!("{}{}", self.name, if self.is_held { " (held)" } else { "" })
    }
}

fn form(parsed: &Parsed, names: &[&str]) -> String {
    let input = |label: &str, value: &str| {
        format!("<label>{label}<input name=\"of\" value=\"{}\" size=\"24\"></label>", Html(value))
    };
    let up = layout::up(parsed);
    let (first, second) = (names.first().unwrap_or(&""), names.get(1).unwrap_or(&""));
    let inputs = input("channel or recorder", first) + &input("and over it", second);
    format!("<form action=\"{up}cdf\">{inputs}<button>show</button></form>\n")
}

/// Lists the channels and recorders, each with a link to its distribution.
fn list(html: &mut String, parsed: &Parsed, registry: &Registry) {
    let mut sources = registry.sources();
    sources.retain(|(_, source)| !matches!(source, Source::Variable(_)));
    let part = Part::of(&sources, parsed.page(), SIZE);
    layout::parts(html, parsed, &part, "channels and recorders");
    html.push_str("<ul>");
    for (name, _) in part.items {
        let _ = writeln!(html, "<li><a href=\"cdf?of={name}\">{name}</a></li>");
    }
    html.push_str("</ul>\n");
}

/// Draws the lines. The points have equal distances, as in brpc. So the slowest tenth of the calls, in which the backup
/// delay usually is, takes half of the width.
fn picture(html: &mut String, series: &[Series]) {
    let [left, right, top, bottom] = AREA;
    let longest = series.iter().flat_map(|series| &series.points).map(|(_, latency)| *latency).max().unwrap_or(0);
    let longest = rounded_up(longest);
    let x = |point: usize| left + (right - left) * point as u64 / (POINTS as u64 - 1);
    let y = |latency: u64| bottom - (bottom - top) * latency.min(longest) / longest;
    html.push_str(
        "<svg viewBox=\"0 0 640 286\" role=\"img\" aria-label=\"latency by share of calls; see the table below\">",
    );
    for quarter in 0..=4 {
        let latency = longest * quarter / 4;
        let (at, text) = (y(latency), Micros::from_micros(latency));
        let _ = write!(
            html,
            "<path class=\"grid\" d=\"M{left} {at}H{right}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{text}</text>",
            left - 6,
            at + 4
        );
    }
    for (point, text) in [(0, "10 %"), (4, "50 %"), (8, "90 %"), (13, "95 %"), (17, "99 %")] {
        let at = x(point);
        let _ = write!(
            html,
            "<path class=\"grid\" d=\"M{at} {top}V{bottom}\"/>\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            bottom + 18
        );
    }
    for (number, series) in series.iter().enumerate() {
        let points =
            series.points.iter().enumerate().map(|(point, (_, latency))| format!("{},{}", x(point), y(*latency)));
        let points = points.collect::<Vec<_>>().join(" ");
        let _ = write!(
            html,
            "<polyline class=\"s{number}\" points=\"{points}\"><title>{}</title></polyline>",
            Html(series.label())
        );
    }
    html.push_str(
        "</svg>\n<p class=\"soft\">The share of calls, and the latency that it does not exceed, in the last 10 s. The last \
         two points are 99.9 % and 99.99 %.</p>\n",
    );
}

/// Returns the end of the axis: 4 times 1, 2 or 5 times a power of ten, and the smallest such number that is not below
/// the latency. So the quarters of the axis are round numbers.
fn rounded_up(latency: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let end = 4 * step * power;
            // Latencies are at most 2^32 us, so the powers do not overflow.
            if end >= latency || power >= 1 << 40 {
                return end;
            }
        }
        power *= 10;
    }
}

/// Writes the link that keeps the present lines, so that a later moment can be compared with them. The link contains
/// the numbers, so the program keeps nothing.
fn hold(html: &mut String, parsed: &Parsed, series: &[Series]) {
    let mut query = String::new();
    for series in series.iter().filter(|series| !series.is_held) {
        let _ = write!(query, "of={}&", Encoded(&series.name));
    }
    for series in series.iter().filter(|series| !series.is_held && !series.points.is_empty()) {
        let latencies: Vec<_> = series.points.iter().map(|(_, latency)| latency.to_string()).collect();
        let _ = write!(query, "held={}:{}&", Encoded(&series.name), latencies.join("+"));
    }
    let up = layout::up(parsed);
    let query = query.trim_end_matches('&');
    let _ = writeln!(
        html,
        "<p><a href=\"{up}cdf?{}\">hold these lines and draw the present ones over them</a></p>",
        Html(query)
    );
}

fn table(html: &mut String, series: &[Series]) {
    html.push_str("<div class=\"wide\"><table><thead><tr><th class=\"n\">share");
    for (number, series) in series.iter().enumerate() {
        let _ = write!(html, "<th class=\"n\"><span class=\"k s{number}\"></span>{}", Html(series.label()));
    }
    html.push_str("</thead><tbody>\n");
    let shares = series.iter().map(|series| &series.points).find(|points| !points.is_empty());
    for (row, (share, _)) in shares.into_iter().flatten().enumerate() {
        let _ = write!(html, "<tr><td class=\"n\">{}", Percent(*share));
        for series in series {
            let _ = match series.points.get(row) {
                Some((_, latency)) => write!(html, "<td class=\"n\">{}", Micros::from_micros(*latency)),
                None => write!(html, "<td class=\"n\">–"),
            };
        }
        html.push('\n');
    }
    html.push_str("</tbody></table></div>\n");
    for series in series.iter().filter(|series| series.points.is_empty()) {
        let _ = writeln!(html, "<p>{} had no calls in the last 10 s.</p>", Html(series.label()));
    }
}

/// A share in ten-thousandths. `Display` writes it as a percentage.
struct Percent(u16);

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 100.0)
    }
}

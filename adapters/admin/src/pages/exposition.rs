//! Prometheus's text format, version 0.0.4: [`Exposition`].

use std::fmt::{self, Write as _};

use serde_json::{Map, Value as Json, json};

use super::Page;
use crate::histogram::{BOUNDS_US, Totals};
use crate::value::Value;

/// Metrics that are written in Prometheus's text format, or as JSON. In the text, all samples of a metric stand
/// together, below its help and its type.
pub(super) enum Exposition {
    Text(String),
    Json(Vec<Json>),
}

impl Exposition {
    pub(super) const fn new(is_json: bool) -> Self {
        if is_json { Self::Json(Vec::new()) } else { Self::Text(String::new()) }
    }

    /// Begins a metric. Its samples follow.
    pub(super) fn begin(&mut self, metric: &str, kind: &str, help: &str) {
        if let Self::Text(text) = self {
            let _ = writeln!(text, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
        }
    }

    pub(super) fn sample(&mut self, metric: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        match self {
            Self::Text(text) => {
                text.push_str(metric);
                for (place, (label, value)) in labels.iter().enumerate() {
                    let before = if place == 0 { '{' } else { ',' };
                    let _ = write!(text, "{before}{label}=\"{}\"", Label(value));
                }
                let end = if labels.is_empty() { "" } else { "}" };
                let _ = writeln!(text, "{end} {value}");
            }
            Self::Json(samples) => {
                let labels: Map<_, _> =
                    labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).into())).collect();
                // The value is a text, as in the answers of Prometheus, since JSON has no infinite numbers.
                samples.push(json!({ "metric": metric, "labels": labels, "value": value.to_string() }));
            }
        }
    }

    /// Writes a histogram: for each bound how many latencies are below it, and their number and sum.
    pub(super) fn histogram(&mut self, metric: &str, (label, name): (&str, &str), totals: &Totals) {
        let bucket = format!("{metric}_bucket");
        let mut below = 0;
        for (bound, count) in BOUNDS_US.iter().zip(&totals.counts) {
            below += count;
            self.sample(&bucket, &[(label, name), ("le", &Seconds(*bound).to_string())], below);
        }
        self.sample(&bucket, &[(label, name), ("le", "+Inf")], totals.count());
        self.sample(&format!("{metric}_sum"), &[(label, name)], Seconds(totals.sum_us));
        self.sample(&format!("{metric}_count"), &[(label, name)], totals.count());
    }

    pub(super) fn into_page(self) -> Page {
        match self {
            Self::Text(text) => Page::new("text/plain; version=0.0.4; charset=utf-8", text),
            Self::Json(samples) => Page::json(&json!({ "metrics": samples })),
        }
    }
}

/// The value of a label. `Display` writes it escaped.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// A number of microseconds. `Display` writes it in seconds, exactly.
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A number in Prometheus's form, which has words of its own for what is infinite.
pub(super) struct Number<'a>(pub(super) &'a Value);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Float(number) if number.is_infinite() => f.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" }),
            value => value.fmt(f),
        }
    }
}

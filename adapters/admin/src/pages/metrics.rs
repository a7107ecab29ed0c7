//! `/metrics`: the metrics in Prometheus's text format, version 0.0.4.

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use hedge_core::latency::Quantile;
use hedge_core::outcome::{Denial, End, Extra};
use hedge_fleet::{ChannelInfo, ServerState};

use super::Page;
use super::channels::state_word;
use crate::histogram::{BOUNDS_US, Totals};
use crate::name::Name;
use crate::reading::{self, Reading};
use crate::recorder::micros_of;
use crate::registry::Registry;
use crate::request::Parsed;
use crate::source::Source;
use crate::text::clean;
use crate::value::Value;
use crate::wildcard::Patterns;

/// How much one page has: so many channels and recorders, or [`VARIABLES`] times as many variables.
const SIZE: usize = 128;
const VARIABLES: usize = 32;
/// The most servers of a page that have metrics of their own.
const MOST_SERVERS: usize = 2_000;

/// The ends of calls, as values of a label.
const ENDS: [(End, &str); 8] = [
    (End::Accepted, "accepted"),
    (End::Failed, "failed"),
    (End::Fatal, "fatal"),
    (End::Deadline, "deadline"),
    (End::Cancelled, "cancelled"),
    (End::NoServer, "no_server"),
    (End::AllDown, "all_down"),
    (End::AllFull, "all_full"),
];

/// The metrics page. `?name=search_*` selects by name. `?servers=100` adds metrics of at most so many servers, which
/// have an own label each. A registry of very many channels takes several pages: `?page=2`, each for a scrape job of its
/// own. The metric `hedge_pages` says how many there are.
pub(super) fn page(parsed: &Parsed, registry: &Registry) -> Page {
    let patterns = Patterns::new(parsed.get("name").unwrap_or_default());
    let mut sources = registry.sources();
    sources.retain(|(name, _)| patterns.matches(name.as_str()));
    let (shown, pages) = part(&sources, parsed.page());
    let read: Vec<_> = shown.iter().map(|(name, source)| Read { name, source, reading: Reading::of(source) }).collect();
    let mut out = String::new();
    let mut family = Family { out: &mut out };
    family.begin("hedge_pages", "gauge", "How many pages of metrics there are; ?page= selects one.");
    family.sample("hedge_pages", &[], pages);
    calls(&mut family, &read);
    attempts(&mut family, &read);
    latencies(&mut family, &read);
    histograms(&mut family, &read);
    states(&mut family, &read);
    let servers = parsed.get("servers").and_then(|most| most.parse().ok()).unwrap_or(0_usize).min(MOST_SERVERS);
    if servers > 0 {
        of_servers(&mut family, &read, servers);
    }
    variables(&mut family, &read);
    Page::new("text/plain; version=0.0.4; charset=utf-8", out)
}

/// One source and its state.
struct Read<'a> {
    name: &'a Name,
    source: &'a Source,
    reading: Reading,
}

/// Returns the sources of a page, and how many pages there are.
fn part(sources: &[(Name, Source)], number: usize) -> (&[(Name, Source)], usize) {
    let mut used = 0;
    let mut bounds = vec![0];
    for (place, (_, source)) in sources.iter().enumerate() {
        if used >= SIZE * VARIABLES {
            bounds.push(place);
            used = 0;
        }
        used += if matches!(source, Source::Variable(_)) { 1 } else { VARIABLES };
    }
    let pages = bounds.len();
    let from = bounds.get(number.min(pages) - 1).copied().unwrap_or(0);
    let to = bounds.get(number.min(pages)).copied().unwrap_or(sources.len());
    (sources.get(from..to).unwrap_or_default(), pages)
}

/// Writes metrics. All samples of a metric stand together, below its help and its type.
struct Family<'a> {
    out: &'a mut String,
}

impl Family<'_> {
    fn begin(&mut self, metric: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
    }

    fn sample(&mut self, metric: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.out.push_str(metric);
        for (place, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{label}=\"{}\"", if place == 0 { '{' } else { ',' }, Label(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{end} {value}");
    }

    /// Writes a histogram: for each bound how many latencies are below it, and their number and sum.
    fn histogram(&mut self, metric: &str, (label, name): (&str, &str), totals: &Totals) {
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
}

/// The channels of a page.
fn channels<'a>(read: &'a [Read<'a>]) -> impl Iterator<Item = (&'a str, &'a ChannelInfo)> {
    read.iter().filter_map(|read| match &read.reading {
        Reading::Channel(info) => Some((read.name.as_str(), &**info)),
        _ => None,
    })
}

fn calls(family: &mut Family<'_>, read: &[Read<'_>]) {
    let metric = "hedge_calls_total";
    family.begin(metric, "counter", "Calls that have ended, by how they ended.");
    for (channel, info) in channels(read) {
        for (end, word) in ENDS {
            family.sample(metric, &[("channel", channel), ("end", word)], info.counters.ended(end));
        }
    }
    let metric = "hedge_intercepted_calls_total";
    family.begin(metric, "counter", "Calls that an interceptor refused or answered; no other metric counts them.");
    for (channel, info) in channels(read) {
        for (result, count) in [("refused", info.counters.refused), ("answered", info.counters.answered)] {
            family.sample(metric, &[("channel", channel), ("result", result)], count);
        }
    }
}

fn attempts(family: &mut Family<'_>, read: &[Read<'_>]) {
    let metric = "hedge_attempts_total";
    family.begin(metric, "counter", "Attempts of calls that have ended, by kind.");
    for (channel, info) in channels(read) {
        let counters = &info.counters;
        for (kind, count) in
            [("first", counters.first_attempts), ("retry", counters.retries), ("backup", counters.backups)]
        {
            family.sample(metric, &[("channel", channel), ("kind", kind)], count);
        }
    }
    let metric = "hedge_backups_won_total";
    family.begin(metric, "counter", "Backups whose reply was accepted.");
    for (channel, info) in channels(read) {
        family.sample(metric, &[("channel", channel)], info.counters.backups_won);
    }
    let metric = "hedge_denied_attempts_total";
    family.begin(metric, "counter", "Retries and backups that a limit or a policy refused.");
    for (channel, info) in channels(read) {
        for (kind, extra) in [("retry", Extra::Retry), ("backup", Extra::Backup)] {
            for reason in Denial::ALL {
                let (denied, reason) = (info.counters.denied(extra, reason), reason.to_string());
                if denied > 0 {
                    family.sample(metric, &[("channel", channel), ("kind", kind), ("reason", &reason)], denied);
                }
            }
        }
    }
}

fn latencies(family: &mut Family<'_>, read: &[Read<'_>]) {
    let metric = "hedge_recent_call_duration_seconds";
    family.begin(metric, "gauge", "Percentiles of the latencies of the last 10 seconds.");
    let percentiles = [("50", 5_000), ("90", 9_000), ("99", 9_900), ("99.9", 9_990), ("99.99", 9_999)];
    for (channel, info) in channels(read) {
        for (text, quantile) in percentiles {
            let latency = Quantile::new(quantile).ok().and_then(|quantile| info.distribution.quantile(quantile));
            if let Some(latency) = latency {
                family.sample(metric, &[("channel", channel), ("percentile", text)], Seconds(micros_of(latency)));
            }
        }
    }
}

fn histograms(family: &mut Family<'_>, read: &[Read<'_>]) {
    let metric = "hedge_call_duration_seconds";
    family.begin(metric, "histogram", "How long calls took, for channels with a watch.");
    for Read { name, source, .. } in read {
        if let Source::Channel(_, Some(watch)) = source {
            family.histogram(metric, ("channel", name.as_str()), &watch.totals());
        }
    }
    let metric = "hedge_recorder_duration_seconds";
    family.begin(metric, "histogram", "What the program's own latency recorders have recorded.");
    for Read { name, source, .. } in read {
        if let Source::Recorder(recorded) = source {
            family.histogram(metric, ("name", name.as_str()), &recorded.totals());
        }
    }
}

fn states(family: &mut Family<'_>, read: &[Read<'_>]) {
    let metric = "hedge_servers";
    family.begin(metric, "gauge", "Servers, by whether they take calls.");
    for (channel, info) in channels(read) {
        for state in ["usable", "withdrawn", "broken", "isolated", "half_open"] {
            let count = info.servers.iter().filter(|server| state_word(server.state) == state).count();
            family.sample(metric, &[("channel", channel), ("state", state)], count);
        }
    }
    let metric = "hedge_attempts_in_flight";
    family.begin(metric, "gauge", "Attempts in flight.");
    for (channel, info) in channels(read) {
        family.sample(metric, &[("channel", channel)], reading::in_flight(&info.servers));
    }
}

/// Writes the metrics of at most `most` servers. Two servers whose texts became equal when they were cut would be one
/// time series twice, which Prometheus refuses. So the second one is left out.
fn of_servers(family: &mut Family<'_>, read: &[Read<'_>], most: usize) {
    let mut seen = HashSet::new();
    let servers = channels(read).flat_map(|(channel, info)| info.servers.iter().map(move |server| (channel, server)));
    let shown: Vec<_> = servers
        .take(most)
        .map(|(channel, server)| (channel, clean(&server.address), clean(&server.tag), server))
        .filter(|(channel, address, tag, _)| seen.insert((*channel, address.clone(), tag.clone())))
        .collect();
    let metric = "hedge_server_usable";
    family.begin(metric, "gauge", "1 if the server takes calls, and otherwise 0.");
    for (channel, address, tag, server) in &shown {
        let labels = [("channel", *channel), ("server", address.as_str()), ("tag", tag.as_str())];
        family.sample(metric, &labels, u8::from(server.state == ServerState::Usable));
    }
    let metric = "hedge_server_attempts_in_flight";
    family.begin(metric, "gauge", "Attempts in flight at the server.");
    for (channel, address, tag, server) in &shown {
        let labels = [("channel", *channel), ("server", address.as_str()), ("tag", tag.as_str())];
        family.sample(metric, &labels, server.in_flight);
    }
}

fn variables(family: &mut Family<'_>, read: &[Read<'_>]) {
    let metric = "hedge_variable";
    family.begin(metric, "gauge", "The program's own variables that are numbers.");
    for Read { name, reading, .. } in read {
        if let Reading::Variable(value) = reading
            && value.is_number()
        {
            family.sample(metric, &[("name", name.as_str())], Number(value));
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
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A number in Prometheus's form, which has words of its own for what is infinite.
struct Number<'a>(&'a Value);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Float(number) if number.is_infinite() => f.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" }),
            value => value.fmt(f),
        }
    }
}

//! `/metrics`: the metrics in Prometheus's text format, version 0.0.4.

use std::collections::HashSet;

use hedge_core::latency::Quantile;
use hedge_core::outcome::{Denial, End, Extra};
use hedge_fleet::{ChannelInfo, ServerState};

use super::Page;
use super::channels::state_word;
use super::exposition::{Exposition, Number, Seconds};
use crate::name::Name;
use crate::reading::{self, Reading};
use crate::recorder::micros_of;
use crate::registry::Registry;
use crate::request::{Format, Parsed};
use crate::source::Source;
use crate::text::clean;
use crate::wildcard::Patterns;

/// How many channels and recorders one page has. Of variables, it has [`VARIABLES`] times as many.
const SIZE: usize = 96;
const VARIABLES: usize = 32;
/// The most servers of a page that have metrics of their own, and the most bytes that their labels may have together.
const MOST_SERVERS: usize = 2_000;
const MOST_LABELS: usize = 64 << 10;

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

/// The metrics page. `?name=search_*` selects by name. `?servers=100` adds metrics of at most 100 servers. Each of
/// these servers has a label of its own. A registry with very many channels has several pages (`?page=2`), and each
/// page needs a scrape job of its own. The metric `hedge_pages` says how many pages there are.
pub(super) fn page(parsed: &Parsed, registry: &Registry) -> Page {
    let patterns = Patterns::new(parsed.get("name").unwrap_or_default());
    let mut sources = registry.sources();
    sources.retain(|(name, _)| patterns.matches(name.as_str()));
    let (shown, pages) = part(&sources, parsed.page());
    let read: Vec<_> = shown.iter().map(|(name, source)| Read { name, source, reading: Reading::of(source) }).collect();
    let mut out = Exposition::new(parsed.format == Format::Json);
    out.begin("hedge_pages", "gauge", "How many pages of metrics there are; ?page= selects one.");
    out.sample("hedge_pages", &[], pages);
    calls(&mut out, &read);
    attempts(&mut out, &read);
    latencies(&mut out, &read);
    histograms(&mut out, &read);
    states(&mut out, &read);
    let servers = parsed.get("servers").and_then(|most| most.parse().ok()).unwrap_or(0_usize).min(MOST_SERVERS);
    if servers > 0 {
        of_servers(&mut out, &read, servers);
    }
    variables(&mut out, &read);
    out.into_page()
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

/// The channels of a page.
fn channels<'a>(read: &'a [Read<'a>]) -> impl Iterator<Item = (&'a str, &'a ChannelInfo)> {
    read.iter().filter_map(|read| match &read.reading {
        Reading::Channel(info) => Some((read.name.as_str(), &**info)),
        _ => None,
    })
}

fn calls(out: &mut Exposition, read: &[Read<'_>]) {
    let metric = "hedge_calls_total";
    out.begin(metric, "counter", "Calls that have ended, by how they ended.");
    for (channel, info) in channels(read) {
        for (end, word) in ENDS {
            out.sample(metric, &[("channel", channel), ("end", word)], info.counters.ended(end));
        }
    }
    let metric = "hedge_intercepted_calls_total";
    out.begin(metric, "counter", "Calls that an interceptor refused or answered; no other metric counts them.");
    for (channel, info) in channels(read) {
        for (result, count) in [("refused", info.counters.refused), ("answered", info.counters.answered)] {
            out.sample(metric, &[("channel", channel), ("result", result)], count);
        }
    }
}

fn attempts(out: &mut Exposition, read: &[Read<'_>]) {
    let metric = "hedge_attempts_total";
    out.begin(metric, "counter", "Attempts of calls that have ended, by kind.");
    for (channel, info) in channels(read) {
        let counters = &info.counters;
        for (kind, count) in
            [("first", counters.first_attempts), ("retry", counters.retries), ("backup", counters.backups)]
        {
            out.sample(metric, &[("channel", channel), ("kind", kind)], count);
        }
    }
    let metric = "hedge_backups_won_total";
    out.begin(metric, "counter", "Backups whose reply was accepted.");
    for (channel, info) in channels(read) {
        out.sample(metric, &[("channel", channel)], info.counters.backups_won);
    }
    let metric = "hedge_denied_attempts_total";
    out.begin(metric, "counter", "Retries and backups that a limit or a policy refused.");
    for (channel, info) in channels(read) {
        for (kind, extra) in [("retry", Extra::Retry), ("backup", Extra::Backup)] {
            for reason in Denial::ALL {
                let (denied, reason) = (info.counters.denied(extra, reason), reason.to_string());
                if denied > 0 {
                    out.sample(metric, &[("channel", channel), ("kind", kind), ("reason", &reason)], denied);
                }
            }
        }
    }
}

fn latencies(out: &mut Exposition, read: &[Read<'_>]) {
    let metric = "hedge_recent_call_duration_seconds";
    out.begin(metric, "gauge", "Percentiles of the latencies of the last 10 seconds.");
    let percentiles = [("50", 5_000), ("90", 9_000), ("99", 9_900), ("99.9", 9_990), ("99.99", 9_999)];
    for (channel, info) in channels(read) {
        for (text, quantile) in percentiles {
            let latency = Quantile::new(quantile).ok().and_then(|quantile| info.distribution.quantile(quantile));
            if let Some(latency) = latency {
                out.sample(metric, &[("channel", channel), ("percentile", text)], Seconds(micros_of(latency)));
            }
        }
    }
}

fn histograms(out: &mut Exposition, read: &[Read<'_>]) {
    let metric = "hedge_call_duration_seconds";
    out.begin(metric, "histogram", "How long calls took, for channels with a watch.");
    for Read { name, source, .. } in read {
        if let Source::Channel(_, Some(watch)) = source {
            out.histogram(metric, ("channel", name.as_str()), &watch.totals());
        }
    }
    let metric = "hedge_recorder_duration_seconds";
    out.begin(metric, "histogram", "What the program's own latency recorders have recorded.");
    for Read { name, source, .. } in read {
        if let Source::Recorder(recorded) = source {
            out.histogram(metric, ("name", name.as_str()), &recorded.totals());
        }
    }
}

fn states(out: &mut Exposition, read: &[Read<'_>]) {
    let metric = "hedge_servers";
    out.begin(metric, "gauge", "Servers, by whether they take calls.");
    for (channel, info) in channels(read) {
        for state in ["usable", "withdrawn", "broken", "isolated", "half_open"] {
            let count = info.servers.iter().filter(|server| state_word(server.state) == state).count();
            out.sample(metric, &[("channel", channel), ("state", state)], count);
        }
    }
    let metric = "hedge_attempts_in_flight";
    out.begin(metric, "gauge", "Attempts in flight.");
    for (channel, info) in channels(read) {
        out.sample(metric, &[("channel", channel)], reading::in_flight(&info.servers));
    }
}

/// Writes the metrics of at most `most` servers, and of fewer if their texts are very long. Long texts are cut. If the
/// texts of two servers are then equal, both would have the same time series, which Prometheus refuses. So the second
/// server is left out.
fn of_servers(out: &mut Exposition, read: &[Read<'_>], most: usize) {
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    let servers = channels(read).flat_map(|(channel, info)| info.servers.iter().map(move |server| (channel, server)));
    let shown: Vec<_> = servers
        .take(most)
        .map(|(channel, server)| (channel, clean(&server.address), clean(&server.tag), server))
        .take_while(|(channel, address, tag, _)| {
            bytes += channel.len() + address.len() + tag.len();
            bytes <= MOST_LABELS
        })
        .filter(|(channel, address, tag, _)| seen.insert((*channel, address.clone(), tag.clone())))
        .collect();
    let metric = "hedge_server_usable";
    out.begin(metric, "gauge", "1 if the server takes calls, and otherwise 0.");
    for (channel, address, tag, server) in &shown {
        let labels = [("channel", *channel), ("server", address.as_str()), ("tag", tag.as_str())];
        out.sample(metric, &labels, u8::from(server.state == ServerState::Usable));
    }
    let metric = "hedge_server_attempts_in_flight";
    out.begin(metric, "gauge", "Attempts in flight at the server.");
    for (channel, address, tag, server) in &shown {
        let labels = [("channel", *channel), ("server", address.as_str()), ("tag", tag.as_str())];
        out.sample(metric, &labels, server.in_flight);
    }
}

fn variables(out: &mut Exposition, read: &[Read<'_>]) {
    let metric = "hedge_variable";
    out.begin(metric, "gauge", "The program's own variables that are numbers.");
    for Read { name, reading, .. } in read {
        if let Reading::Variable(value) = reading
            && value.is_number()
        {
            out.sample(metric, &[("name", name.as_str())], Number(value));
        }
    }
}

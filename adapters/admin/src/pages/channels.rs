//! `/channels`: the channels, and the servers of each.

use std::fmt::Write as _;

use hedge_core::time::Micros;
use hedge_fleet::{ChannelInfo, ServerInfo, ServerState};
use serde_json::{Value as Json, json};

use super::{Page, Part, layout};
use crate::name::Name;
use crate::reading::{self, Reading};
use crate::recorder::micros_of;
use crate::registry::Registry;
use crate::request::{Format, Parsed};
use crate::source::Source;
use crate::text::{Html, clean};
use crate::wildcard::Patterns;

/// How many channels, and how many servers, one page shows.
const CHANNELS: usize = 200;
const SERVERS: usize = 500;

/// The page of all channels.
pub(super) fn list(parsed: &Parsed, registry: &Registry) -> Page {
    let patterns = Patterns::new(parsed.get("filter").unwrap_or_default());
    let mut sources = registry.sources();
    sources.retain(|(name, source)| matches!(source, Source::Channel(..)) && patterns.matches(name.as_str()));
    let part = Part::of(&sources, parsed.page(), CHANNELS);
    let channels = part.items.iter().map(|(name, source)| (name, Reading::of(source)));
    match parsed.format {
        Format::Json => {
            let mut page = part.json();
            let channels: Vec<_> = channels.map(|(name, reading)| summary(name, &reading)).collect();
            page.insert("channels".to_owned(), channels.into());
            Page::json(&page.into())
        }
        Format::Text => Page::text(channels.map(|(name, reading)| line(name, &reading)).collect()),
        Format::Html => {
            let mut html = String::new();
            layout::parts(&mut html, parsed, &part, "channels");
            html.push_str(
                "<div class=\"wide\"><table><thead><tr><th>channel<th class=\"n\">servers usable<th class=\"n\">in flight\
                 <th class=\"n\">calls/s<th class=\"n\">50 %<th class=\"n\">99 %<th class=\"n\">calls<th class=\"n\">errors\
                 <th class=\"n\">backups</thead><tbody>\n",
            );
            channels.for_each(|(name, reading)| row(&mut html, name, &reading));
            html.push_str("</tbody></table></div>\n");
            layout::html(parsed, "channels", &html)
        }
    }
}

/// The page of one channel.
pub(super) fn one(parsed: &Parsed, registry: &Registry, name: &str) -> Page {
    let Some((name, source @ Source::Channel(..))) = registry.source(name) else {
        return Page::not_found(parsed, "there is no such channel; /channels lists all");
    };
    let reading = Reading::of(&source);
    let Reading::Channel(info) = &reading else {
        return Page::not_found(parsed, "the channel panicked when it was asked for its state");
    };
    let part = Part::of(&info.servers, parsed.page(), SERVERS);
    match parsed.format {
        Format::Json => {
            let mut page = part.json();
            page.insert("channel".to_owned(), summary(&name, &reading));
            page.insert("servers".to_owned(), part.items.iter().map(server_json).collect());
            Page::json(&page.into())
        }
        Format::Text => {
            let servers = part.items.iter().map(|server| {
                let ServerInfo { weight, in_flight, state, .. } = server;
                let (address, tag) = (clean(&server.address), clean(&server.tag));
                format!("  {address}  {state}  {in_flight} in flight  weight {weight}  {tag}\n")
            });
            Page::text(line(&name, &reading) + &servers.collect::<String>())
        }
        Format::Html => {
            let mut html = facts(&name, info);
            layout::parts(&mut html, parsed, &part, "servers");
            servers(&mut html, part.items);
            layout::html(parsed, name.as_str(), &html)
        }
    }
}

fn summary(name: &Name, reading: &Reading) -> Json {
    let Reading::Channel(info) = reading else { return json!({ "name": name.as_str(), "error": "panicked" }) };
    let ChannelInfo { latencies, counters, servers, .. } = &**info;
    json!({
        "name": name.as_str(),
        "servers": servers.len(),
        "usable_servers": reading::usable(servers),
        "in_flight": reading::in_flight(servers),
        "qps": latencies.qps,
        "p50_us": latencies.p50.map(micros_of),
        "p99_us": latencies.p99.map(micros_of),
        "calls": counters.calls(),
        "errors": reading::errors(counters),
        "retries": counters.retries,
        "backups": counters.backups,
        "backups_won": counters.backups_won,
        "timeout_us": info.options.channel.timeout.limit().map(micros_of),
        "max_retry": info.options.channel.max_retry,
        "breaker": info.options.breaker.is_some(),
    })
}

fn server_json(server: &ServerInfo) -> Json {
    json!({
        "address": clean(&server.address),
        "tag": clean(&server.tag),
        "weight": server.weight,
        "in_flight": server.in_flight,
        "state": state_word(server.state),
        "isolated_for_us": match server.state { ServerState::Isolated(left) => Some(micros_of(left)), _ => None },
    })
}

/// Returns the state of a server as one word.
pub(super) const fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Usable => "usable",
        ServerState::Withdrawn => "withdrawn",
        ServerState::Broken => "broken",
        ServerState::Isolated(_) => "isolated",
        ServerState::HalfOpen => "half_open",
        _ => "unknown",
    }
}

fn line(name: &Name, reading: &Reading) -> String {
    let Reading::Channel(info) = reading else { return format!("{name}: panicked\n") };
    let ChannelInfo { latencies, servers, .. } = &**info;
    let (usable, in_flight) = (reading::usable(servers), reading::in_flight(servers));
    let mut line = format!(
        "{name}: {usable} of {} servers usable, {in_flight} in flight, {} calls/s",
        servers.len(),
        latencies.qps
    );
    if let (Some(p50), Some(p99)) = (latencies.p50, latencies.p99) {
        let _ = write!(line, ", 50 % in {}, 99 % in {}", Micros::from(p50), Micros::from(p99));
    }
    line + "\n"
}

fn row(html: &mut String, name: &Name, reading: &Reading) {
    let _ = write!(html, "<tr><td><a href=\"channels/{name}\">{name}</a>");
    let Reading::Channel(info) = reading else {
        html.push_str("<td colspan=\"8\" class=\"bad\">panicked\n");
        return;
    };
    let ChannelInfo { latencies, counters, servers, .. } = &**info;
    let (usable, all) = (reading::usable(servers), servers.len());
    let class = if usable < all || all == 0 { "n bad" } else { "n" };
    let latency = |latency: Option<_>| {
        latency.map_or_else(|| "–".to_owned(), |latency| Micros::from_duration(latency).to_string())
    };
    let _ = writeln!(
        html,
        "<td class=\"{class}\">{usable} of {all}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\
         <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}",
        reading::in_flight(servers),
        latencies.qps,
        latency(latencies.p50),
        latency(latencies.p99),
        counters.calls(),
        reading::errors(counters),
        counters.backups,
    );
}

/// The options and the counters of a channel.
fn facts(name: &Name, info: &ChannelInfo) -> String {
    let ChannelInfo { options, counters, .. } = info;
    let breaker = if options.breaker.is_some() { "on" } else { "off" };
    format!(
        "<p><a href=\"../cdf?of={name}\">cdf</a> · <a href=\"../rpcz?channel={name}\">sampled calls</a> · \
         <a href=\"../vars?filter={name}_*\">variables</a></p>\
         <p>Timeout {}, at most {} extra attempts, circuit breaker {breaker}. {} calls so far: {} accepted, {} errors, \
         {} cancelled; {} retries, {} backups, of which {} won.</p>\n",
        options.channel.timeout,
        options.channel.max_retry,
        counters.calls(),
        counters.accepted,
        reading::errors(counters),
        counters.cancelled,
        counters.retries,
        counters.backups,
        counters.backups_won,
    )
}

fn servers(html: &mut String, servers: &[ServerInfo]) {
    html.push_str(
        "<div class=\"wide\"><table><thead><tr><th>server<th>tag<th>state<th class=\"n\">in flight<th class=\"n\">weight\
         </thead><tbody>\n",
    );
    for ServerInfo { address, tag, weight, in_flight, state, .. } in servers {
        let (address, tag) = (Html(clean(address)), Html(clean(tag)));
        let class = if *state == ServerState::Usable { "" } else { " class=\"bad\"" };
        let _ = writeln!(
            html,
            "<tr><td>{address}<td>{tag}<td{class}>{state}<td class=\"n\">{in_flight}<td class=\"n\">{weight}"
        );
    }
    html.push_str("</tbody></table></div>\n");
}

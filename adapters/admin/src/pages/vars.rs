//! `/vars`: variables by their names, as in brpc, and `/cmds/var`, as in tRPC.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::{Page, Part as ListPart, cdf, chart, layout};
use crate::name::Name;
use crate::parts::Part;
use crate::reading::Reading;
use crate::registry::Registry;
use crate::request::{Format, Parsed};
use crate::source::Source;
use crate::text::Html;
use crate::wildcard::Patterns;

/// How many variables one page shows.
const SIZE: usize = 1_000;

/// A variable that a page may show. There may be a million of them, so the name is made only for those that are shown.
struct Variable {
    /// The place of its source in the list of all sources.
    source: usize,
    /// What follows the name of its source.
    suffix: &'static str,
    part: Part,
}

/// The page of a name, or of several names and wildcards.
pub(super) fn one_or_many(parsed: &Parsed, registry: &Registry, names: &str) -> Page {
    if names.contains(['*', '?', '$', ',', ';']) {
        return table(parsed, registry, names);
    }
    let Some((source_name, source, part)) = registry.find(names) else {
        return Page::not_found(parsed, "there is no such variable; /vars lists all");
    };
    match (parsed.format, part) {
        (Format::Html, Part::Cdf) => cdf::of(parsed, registry, &[source_name.as_str()]),
        (format, _) => {
            let reading = Reading::of(&source);
            match format {
                Format::Html => chart::page(parsed, names, &reading.value(part)),
                Format::Text => Page::text(reading.text(part) + "\n"),
                Format::Json => Page::json(&json!({ "name": names, "value": json_of(&reading, part) })),
            }
        }
    }
}

/// The page of all variables whose names match.
pub(super) fn table(parsed: &Parsed, registry: &Registry, patterns: &str) -> Page {
    let sources = registry.sources();
    let matching = matching(&sources, &Patterns::new(patterns));
    let part = ListPart::of(&matching, parsed.page(), SIZE);
    match parsed.format {
        Format::Json => {
            let mut values = Map::new();
            read(&sources, part.items, |name, reading, of| {
                values.insert(name.to_owned(), json_of(reading, of));
            });
            let mut page = part.json();
            page.insert("variables".to_owned(), values.into());
            Page::json(&page.into())
        }
        Format::Text => {
            let mut text = String::new();
            read(&sources, part.items, |name, reading, of| {
                let _ = writeln!(text, "{name} : {}", reading.text(of));
            });
            if part.pages > 1 {
                let _ = writeln!(text, "# page {} of {}: ?page=", part.number, part.pages);
            }
            Page::text(text)
        }
        Format::Html => {
            let mut html = form(parsed, patterns);
            layout::parts(&mut html, parsed, &part, "variables");
            html.push_str("<div class=\"wide\"><table><thead><tr><th>name<th>value</thead><tbody>\n");
            let up = layout::up(parsed);
            read(&sources, part.items, |name, reading, of| {
                let value = Html(reading.text(of));
                let _ = writeln!(html, "<tr><td><a href=\"{up}vars/{name}\">{name}</a><td>{value}");
            });
            html.push_str("</tbody></table></div>\n");
            layout::parts(&mut html, parsed, &part, "variables");
            layout::html(parsed, "vars", &html)
        }
    }
}

fn form(parsed: &Parsed, patterns: &str) -> String {
    format!(
        "<form action=\"{}vars\"><label>names, with * and ?<input name=\"filter\" value=\"{}\" size=\"30\">\
         </label><button>show</button></form>\n",
        layout::up(parsed),
        Html(patterns)
    )
}

/// Returns the variables whose names match, in the order of their sources.
fn matching(sources: &[(Name, Source)], patterns: &Patterns) -> Vec<Variable> {
    let mut matching = Vec::new();
    let mut name = String::new();
    for (place, (source_name, source)) in sources.iter().enumerate() {
        for &(suffix, part) in source.parts() {
            name.clear();
            name.push_str(source_name.as_str());
            name.push_str(suffix);
            if patterns.matches(&name) {
                matching.push(Variable { source: place, suffix, part });
            }
        }
    }
    matching
}

/// Reads variables. Each source is read once, so that its variables are of the same moment.
fn read(sources: &[(Name, Source)], variables: &[Variable], mut show: impl FnMut(&str, &Reading, Part)) {
    for same_source in variables.chunk_by(|a, b| a.source == b.source) {
        let source = same_source.first().and_then(|variable| sources.get(variable.source));
        let Some((source_name, source)) = source else { continue };
        let reading = Reading::of(source);
        for Variable { suffix, part, .. } in same_source {
            show(&format!("{source_name}{suffix}"), &reading, *part);
        }
    }
}

/// Returns a value in JSON. A distribution is a list of pairs: a percentage, and a latency in microseconds.
fn json_of(reading: &Reading, part: Part) -> Json {
    match (part, reading.recent()) {
        (Part::Cdf, Some(recent)) => cdf::json(&cdf::points(recent)),
        _ => reading.value(part).json(),
    }
}

// ---- tRPC ----

/// All variables as tRPC shows them: a tree, in which `trpc/client/NAME` has the backups of a channel.
pub(super) fn trpc(parsed: &Parsed, registry: &Registry) -> Page {
    let sources = registry.sources();
    let part = ListPart::of(&sources, parsed.page(), SIZE);
    let (mut client, mut user) = (Map::new(), Map::new());
    for (name, source) in part.items {
        let reading = Reading::of(source);
        match (source, &reading) {
            (Source::Channel(..), Reading::Channel(info)) => {
                let (sent, won) = (info.counters.backups, info.counters.backups_won);
                client.insert(name.to_string(), json!({ "backup_request": sent, "backup_request_success": won }));
            }
            (Source::Variable(_), _) => {
                user.insert(name.to_string(), reading.value(Part::Whole).json());
            }
            _ => {}
        }
    }
    let mut page = Map::new();
    if part.pages > 1 {
        page = part.json();
    }
    page.insert("trpc".to_owned(), json!({ "client": client }));
    page.insert("user".to_owned(), user.into());
    Page::json(&page.into())
}

/// One variable as tRPC shows it: its value alone, in JSON.
pub(super) fn trpc_variable(parsed: &Parsed, registry: &Registry, path: &[&str]) -> Page {
    let variable = match path {
        ["trpc", "client", name, counter @ ("backup_request" | "backup_request_success")] => {
            format!("{name}_{counter}")
        }
        ["user", name] | [name] => (*name).to_owned(),
        _ => String::new(),
    };
    match registry.find(&variable) {
        Some((_, source, part)) => Page::json(&json_of(&Reading::of(&source), part)),
        None => Page::not_found(parsed, "there is no such variable; /cmds/var lists all"),
    }
}

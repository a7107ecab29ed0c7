//! What all HTML pages have in common: the head, the links to the pages, and the links to the parts of a list.

use std::fmt::Write as _;

use serde_json::json;

use super::{Page, Part};
use crate::registry::Registry;
use crate::request::{Format, Parsed};
use crate::text::{Encoded, Html};

const PAGES: [(&str, &str, &str); 5] = [
    ("vars", "vars", "variables, with wildcards and live charts"),
    ("cdf", "cdf", "the distribution of latencies"),
    ("rpcz", "rpcz", "the last sampled calls, with their attempts"),
    ("channels", "channels", "channels and their servers"),
    ("metrics", "metrics", "metrics in Prometheus's text format"),
];

/// Puts the content of a page, which is HTML already, into a whole page.
pub(super) fn html(parsed: &Parsed, title: &str, content: &str) -> Page {
    Page::html(whole(parsed, title, content))
}

/// Returns what a relative link needs to leave the folder of the page: `/vars/NAME` is a folder deeper than `/vars`.
pub(super) fn up(parsed: &Parsed) -> String {
    "../".repeat(parsed.path.len().saturating_sub(1))
}

fn whole(parsed: &Parsed, title: &str, content: &str) -> String {
    let (up, title) = (up(parsed), Html(title));
    let current = parsed.path.first().map_or("", String::as_str);
    let mut links = String::new();
    for (path, name, _) in PAGES {
        let mark = if path == current { " aria-current=\"page\"" } else { "" };
        let _ = write!(links, "<a href=\"{up}{path}\"{mark}>{name}</a> ");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} – hedge</title>\
         <link rel=\"stylesheet\" href=\"{up}admin.css\"><script src=\"{up}admin.js\" defer></script></head>\n\
         <body><nav aria-label=\"pages\">{links}</nav><main><h1>{title}</h1>\n{content}</main></body></html>\n"
    )
}

/// The page that lists the pages.
pub(super) fn index(parsed: &Parsed, registry: &Registry) -> Page {
    let names = registry.sources().len();
    match parsed.format {
        Format::Json => Page::json(&json!({ "pages": PAGES.map(|(path, _, _)| format!("/{path}")), "names": names })),
        Format::Text => {
            let lines = PAGES.map(|(path, _, what)| format!("/{path}  {what}\n"));
            Page::text(lines.concat())
        }
        Format::Html => {
            let mut content = format!("<p>{names} names are registered.</p><ul>");
            for (path, name, what) in PAGES {
                let _ = write!(content, "<li><a href=\"{path}\">{name}</a>: {what}</li>");
            }
            content.push_str("</ul>");
            html(parsed, "pages", &content)
        }
    }
}

/// A page with one sentence.
pub(super) fn message(parsed: &Parsed, sentence: &str) -> String {
    whole(parsed, "hedge", &format!("<p>{}</p>", Html(sentence)))
}

/// Writes the links to the parts of a list before and after this one, and says which part this is.
pub(super) fn parts<T>(out: &mut String, parsed: &Parsed, part: &Part<'_, T>, what: &str) {
    let Part { number, pages, all, .. } = *part;
    let _ = write!(out, "<p class=\"pages\">{all} {what}, page {number} of {pages} ");
    let mut link = |to: usize, text: &str, rel: &str| {
        let query: String = (parsed.query.iter().filter(|(key, value)| key != "page" && !value.is_empty()))
            .map(|(key, value)| format!("{}={}&", Encoded(key), Encoded(value)))
            .collect();
        let _ = write!(out, "<a rel=\"{rel}\" href=\"?{}page={to}\">{text}</a> ", Html(query));
    };
    if number > 1 {
        link(number - 1, "previous", "prev");
    }
    if number < pages {
        link(number + 1, "next", "next");
    }
    out.push_str("</p>\n");
}

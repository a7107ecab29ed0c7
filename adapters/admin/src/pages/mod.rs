//! The pages: [`page`].

mod assets;
mod cdf;
mod channels;
mod chart;
mod exposition;
mod layout;
mod metrics;
mod rpcz;
mod vars;

use serde_json::json;

use crate::registry::Registry;
use crate::request::{Format, Parsed, Request};

/// A page, as a server sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The status of HTTP: 200 or 404.
    pub status: u16,
    /// The value of the header `Content-Type`.
    pub content_type: &'static str,
    /// The body, at most 2 MB.
    pub body: String,
}

impl Page {
    /// The headers that a server sends with every page. A browser then runs no script and loads nothing except from the
    /// same server, shows the page in no frame of another site, and keeps no copy.
    pub const HEADERS: [(&'static str, &'static str); 4] = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];

    const fn new(content_type: &'static str, body: String) -> Self {
        Self { status: 200, content_type, body }
    }

    const fn html(body: String) -> Self {
        Self::new("text/html; charset=utf-8", body)
    }

    const fn text(body: String) -> Self {
        Self::new("text/plain; charset=utf-8", body)
    }

    fn json(value: &serde_json::Value) -> Self {
        Self::new("application/json", format!("{value}\n"))
    }

    /// A page that says what was not found.
    fn not_found(parsed: &Parsed, what: &str) -> Self {
        let page = match parsed.format {
            Format::Json => Self::json(&json!({ "error": what })),
            Format::Text => Self::text(format!("{what}\n")),
            Format::Html => Self::html(layout::message(parsed, what)),
        };
        Self { status: 404, ..page }
    }
}

/// Makes the page for a request: a path with its query, such as `/vars?format=json`, or a [`Request`]. See the [crate's
/// docs](crate) for the paths. Links in pages are relative, so a server may serve the pages below a prefix. It then
/// passes the path without the prefix.
///
/// # Cost
/// With 10,000 channels, a page takes less than a second and has less than 2 MB. This calls code of the program:
/// `inspect` of the channels that the page shows, and the functions of variables. It does no I/O and may run on any
/// thread, but a server should not run it on a thread that must answer within a millisecond.
#[must_use]
pub fn page<'a>(request: impl Into<Request<'a>>, registry: &Registry) -> Page {
    let parsed = request.into().parse();
    let path: Vec<_> = parsed.path.iter().map(String::as_str).collect();
    match *path {
        [] => layout::index(&parsed, registry),
        ["vars"] => vars::table(&parsed, registry, parsed.get("filter").unwrap_or_default()),
        ["vars", names] => vars::one_or_many(&parsed, registry, names),
        ["cmds", "var"] => vars::trpc(&parsed, registry),
        ["cmds", "var", ref rest @ ..] => vars::trpc_variable(&parsed, registry, rest),
        ["cdf"] => cdf::page(&parsed, registry),
        ["rpcz"] => rpcz::page(&parsed, registry),
        ["channels"] => channels::list(&parsed, registry),
        ["channels", name] => channels::one(&parsed, registry, name),
        ["metrics"] => metrics::page(&parsed, registry),
        ["admin.css"] => Page::new("text/css; charset=utf-8", assets::STYLE.to_owned()),
        ["admin.js"] => Page::new("text/javascript; charset=utf-8", assets::SCRIPT.to_owned()),
        _ => Page::not_found(&parsed, "there is no such page; / lists the pages"),
    }
}

/// A part of a list: the page that was asked for.
struct Part<'a, T> {
    items: &'a [T],
    number: usize,
    pages: usize,
    all: usize,
}

impl<'a, T> Part<'a, T> {
    fn of(all: &'a [T], number: usize, size: usize) -> Self {
        let pages = all.len().div_ceil(size).max(1);
        let number = number.min(pages);
        let items = all.chunks(size).nth(number - 1).unwrap_or_default();
        Self { items, number, pages, all: all.len() }
    }

    /// The members of a JSON page that say which part of the list it shows.
    fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        let members = [("page", self.number), ("pages", self.pages), ("total", self.all)];
        members.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    }
}

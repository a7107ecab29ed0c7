//! The pages, over channels whose servers answer by a script.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by them")]

mod bounds;
mod channels;
mod hostile;
mod metrics;
mod rpcz;
mod vars;
mod world;

use hedge_admin::{Page, Registry, Request};
use serde_json::Value;

/// A page that was found.
fn found(target: &str, registry: &Registry) -> Page {
    let page = hedge_admin::page(target, registry);
    assert_eq!(page.status, 200, "{target}: {}", page.body);
    page
}

fn text(target: &str, registry: &Registry) -> String {
    found(target, registry).body
}

fn html(target: &str, registry: &Registry) -> String {
    let page = hedge_admin::page(Request::new(target).accept("text/html"), registry);
    assert_eq!((page.status, page.content_type), (200, "text/html; charset=utf-8"), "{target}");
    page.body
}

/// A page in JSON.
fn json(target: &str, registry: &Registry) -> Value {
    let page = found(target, registry);
    assert_eq!(page.content_type, "application/json", "{target}");
    serde_json::from_str(&page.body).unwrap()
}

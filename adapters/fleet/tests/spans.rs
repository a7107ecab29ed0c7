//! The feature `tracing`: the spans of calls and attempts, and events of servers, in virtual time.
//!
//! For each span and event, tracing remembers whether a subscriber wants it. If a thread reaches one for the first time while
//! another thread adds its subscriber, that subscriber may get nothing of it. So these tests are in a process of their own,
//! where they run one after the other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "../src/testing.rs"]
#[allow(dead_code, reason = "the tests of observers use the rest")]
mod testing;
#[path = "observer/world.rs"]
#[allow(dead_code, reason = "the tests of observers use the rest")]
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hedge_core::bounded::Bounded;
use hedge_fleet::hedge_core::health::{BreakerOptions, FailureOptions};
use hedge_fleet::hedge_core::outcome::ErrorKind;
use hedge_fleet::{CallOptions, Setup};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::world::World;

/// Waits until no other test runs. The next one runs when the result is dropped.
fn alone() -> MutexGuard<'static, ()> {
    static RUNS: Mutex<()> = Mutex::new(());
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A subscriber that records events, and when spans open and close.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

/// The fields of a span, by name. The number of the call differs from run to run, so it is left out.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "hedge.call" {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = cx.span(id).unwrap();
        span.extensions_mut().insert(fields);
        let parent = span.parent().map_or("nothing", |parent| parent.name());
        self.0.lock().unwrap().push(format!("open {} in {parent}", span.name()));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let span = cx.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        self.0.lock().unwrap().push(format!("{level}{fields}"));
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        let span = cx.span(&id).unwrap();
        let line = format!("close {}{}", span.name(), span.extensions().get::<Fields>().unwrap());
        self.0.lock().unwrap().push(line);
    }
}

/// Runs `run`, and returns the lines that a subscriber has recorded meanwhile.
fn recorded(run: impl FnOnce()) -> Vec<String> {
    let spans = Spans::default();
    tracing::subscriber::with_default(Registry::default().with(spans.clone()), run);
    std::mem::take(&mut *spans.0.lock().unwrap())
}

fn backup() -> CallOptions {
    CallOptions::new().with_backup(Duration::from_millis(10))
}

#[test]
fn a_call_is_a_span_and_its_attempts_are_spans_inside() {
    let _alone = alone();
    let world = World::new(Setup::new(), &[1, 2]);
    let lines = recorded(|| {
        let request = tracing::info_span!("request");
        request.in_scope(|| world.run(&backup(), &[None, Some((3, Ok(())))]));
    });
    assert_eq!(
        lines,
        [
            "open request in nothing",
            "open hedge.call in request",
            "open hedge.attempt in hedge.call",
            "open sent in hedge.attempt",
            "open hedge.attempt in hedge.call",
            "open sent in hedge.attempt",
            "close sent",
            "close hedge.attempt hedge.attempt=1 hedge.kind=backup hedge.outcome=accept http.request.resend_count=1 \
             otel.kind=client server.address=10.0.0.2 server.port=80",
            "close sent",
            "close hedge.attempt hedge.attempt=0 hedge.kind=first hedge.outcome=abandoned otel.kind=client \
             server.address=10.0.0.1 server.port=80",
            "close hedge.call hedge.attempts=2 hedge.end=accepted hedge.winner=1 otel.kind=internal",
            "close request",
        ]
    );
}

#[test]
fn a_failed_attempt_closes_before_its_retry_opens_and_says_why() {
    let _alone = alone();
    let world = World::new(Setup::new(), &[1, 2]);
    let lines = recorded(|| {
        let internal = Some((1, Err(ErrorKind::Internal)));
        world.run(&CallOptions::new(), &[Some((1, Err(ErrorKind::ConnectTimeout))), internal]);
    });
    assert_eq!(
        lines.iter().filter(|line| !line.contains("sent")).map(|line| &**line).collect::<Vec<_>>(),
        [
            "open hedge.call in nothing",
            "open hedge.attempt in hedge.call",
            "close hedge.attempt error.type=connect_timeout hedge.attempt=0 hedge.kind=first hedge.outcome=retry \
             otel.kind=client otel.status_code=ERROR server.address=10.0.0.1 server.port=80",
            "open hedge.attempt in hedge.call",
            "close hedge.attempt error.type=internal hedge.attempt=1 hedge.kind=retry hedge.outcome=wait \
             http.request.resend_count=1 otel.kind=client otel.status_code=ERROR server.address=10.0.0.2 server.port=80",
            "close hedge.call error.type=internal hedge.attempts=2 hedge.end=failed hedge.not_hedged=disabled \
             otel.kind=internal otel.status_code=ERROR",
        ]
    );
}

#[test]
fn l12_a_dropped_call_closes_its_spans_as_cancelled() {
    let _alone = alone();
    let world = World::new(Setup::new(), &[1]);
    let lines = recorded(|| assert!(world.run_for(5, &CallOptions::new(), &[None]).is_none()));
    assert_eq!(
        lines[3..],
        [
            "close sent",
            "close hedge.attempt hedge.attempt=0 hedge.kind=first hedge.outcome=cancelled otel.kind=client \
             server.address=10.0.0.1 server.port=80",
            "close hedge.call error.type=cancelled hedge.attempts=1 hedge.end=cancelled hedge.not_hedged=disabled \
             otel.kind=internal",
        ]
    );
}

#[test]
fn l16_a_call_without_a_server_has_no_attempt() {
    let _alone = alone();
    let world = World::new(Setup::new(), &[]);
    let lines = recorded(|| _ = world.run(&CallOptions::new(), &[]));
    assert_eq!(
        lines,
        [
            "open hedge.call in nothing",
            "close hedge.call error.type=no_server hedge.attempts=0 hedge.end=no_server hedge.not_hedged=finished first \
             otel.kind=internal otel.status_code=ERROR",
        ]
    );
}

#[test]
fn a_subscriber_that_wants_no_spans_gets_none() {
    let _alone = alone();
    let world = World::new(Setup::new(), &[1]);
    let lines = Spans::default();
    let deaf = Registry::default().with(lines.clone().with_filter(LevelFilter::OFF));
    tracing::subscriber::with_default(deaf, || world.run(&backup(), &[Some((3, Ok(())))]));
    assert_eq!(*lines.0.lock().unwrap(), [""; 0]);
}

#[test]
fn h2_what_happens_to_servers_are_events() {
    let _alone = alone();
    let mut setup = Setup::new();
    setup.options.max_retry = 0;
    setup.breaker = Some(BreakerOptions::ConsecutiveFailures(FailureOptions {
        failures: Bounded::of::<1>(),
        ..FailureOptions::DEFAULT
    }));
    let world = World::new(setup, &[1, 2]);
    let lines = recorded(|| {
        world.run(&CallOptions::new(), &[Some((1, Err(ErrorKind::Broken)))]);
        world.set(&[1]);
        let error = std::io::Error::other("it is not there");
        world.servers.observers().naming_failed("/etc/servers", &error);
        let address = "10.0.0.1:80".parse().unwrap();
        world.servers.observers().connection_expired(&address, Duration::from_secs(10));
    });
    let events: Vec<_> = lines.iter().filter(|line| !line.starts_with(['o', 'c'])).collect();
    assert_eq!(
        events,
        [
            "WARN hedge.change=isolated for 100 ms hedge.server=10.0.0.1:80 message=server changed",
            "INFO hedge.change=removed hedge.server=10.0.0.2:80 message=server changed",
            "INFO hedge.change=isolation lifted hedge.server=10.0.0.1:80 message=server changed",
            "WARN error.message=it is not there hedge.source=/etc/servers message=naming failed",
            "DEBUG hedge.idle_us=10000000 hedge.server=10.0.0.1:80 message=idle connection expired",
        ]
    );
}

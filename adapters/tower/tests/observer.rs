//! The events of a layer's and a set's calls that observers and subscribers get, in tokio's paused time.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use common::{NEVER, Scripted, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::{
    AttemptEnded, AttemptStarted, Builder, CallEnd, CallId, HedgeSet, Observer, ServerChange, ServerRef,
};
use tower::Layer;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;

/// An observer that records one line for each event.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Recorder {
    fn call_started(&self, _: CallId) {
        self.push("started".into());
    }

    fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        self.push(format!("{} to {}", attempt.kind, attempt.server));
    }

    fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        self.push(format!("{} at {} {}", attempt.kind, attempt.server, attempt.outcome()));
    }

    fn call_ended(&self, _: CallId, end: &CallEnd<'_>) {
        self.push(end.end().unwrap().to_string());
    }

    fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        let mut line = format!("{server} {change}");
        if let Some(key) = server.key::<u16>() {
            write!(line, ", key {key}").unwrap();
        }
        self.push(line);
    }
}

fn observed(builder: Builder<Tokio>) -> (Arc<Recorder>, Builder<Tokio>) {
    let recorder = Arc::new(Recorder::default());
    (Arc::clone(&recorder), builder.observer(recorder))
}

#[tokio::test(start_paused = true)]
async fn l7_a_set_tells_of_its_servers_and_calls_and_counts() {
    let (recorder, builder) = observed(builder().backup(ms(50)));
    let mut set: HedgeSet<u16, Scripted, Tokio> = builder.set().unwrap();
    set.insert(7, Scripted::new(&[(NEVER, Ok("late"))])).unwrap();
    set.insert(8, Scripted::new(&[(NEVER, Ok("late")), (5, Ok("yes"))])).unwrap();
    assert_eq!(recorder.take(), ["7 inserted, key 7", "8 inserted, key 8"]);
    // Neither server answers in time, so the call ends at its deadline.
    assert!(call(&mut set, ()).await.0.is_err());
    let told = recorder.take();
    assert_eq!((told.first().unwrap().as_str(), told.last().unwrap().as_str()), ("started", "deadline passed"));
    set.set_usable(&7, false);
    assert_eq!(call(&mut set, ()).await.0.unwrap(), "yes");
    assert_eq!(recorder.take(), ["7 withdrawn, key 7", "started", "first to 8", "first at 8 accept", "accepted"]);
    set.remove(7);
    assert_eq!(recorder.take(), ["7 removed, key 7"]);
    let counters = set.counters();
    assert_eq!((counters.calls(), counters.accepted, counters.deadline), (2, 1, 1));
    assert_eq!((counters.attempts(), counters.backups, counters.backups_won), (3, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn l7_a_layer_tells_of_its_calls_and_counts() {
    let (recorder, builder) = observed(builder().backup(ms(50)));
    let mut service = builder.layer().unwrap().layer(Scripted::new(&[(NEVER, Ok("late")), (5, Ok("yes"))]));
    assert_eq!(call(&mut service, ()).await.0.unwrap(), "yes");
    assert_eq!(
        recorder.take(),
        [
            "started",
            "first to server 0.0",
            "backup to server 0.0",
            "backup at server 0.0 accept",
            "first at server 0.0 abandoned",
            "accepted"
        ]
    );
    let counters = service.counters();
    assert_eq!((counters.accepted, counters.backups, counters.backups_won), (1, 1, 1));
}

/// A writer that keeps the text that is written to it.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A subscriber that records nothing. With a single subscriber, tracing asks only the thread that reaches a span first
/// whether the span is wanted, and remembers the answer. That thread may belong to another test and have no subscriber.
/// With this second subscriber alive, tracing asks all subscribers.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default().with(LevelFilter::OFF)));

#[tokio::test(start_paused = true)]
async fn a_subscriber_prints_a_span_for_each_attempt() {
    LazyLock::force(&SECOND);
    let printed = Printed::default();
    let writer = printed.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut set: HedgeSet<&str, Scripted, Tokio> = builder().backup(ms(50)).set().unwrap();
    set.insert("10.0.0.1:80", Scripted::new(&[(60, Ok("slow"))])).unwrap();
    set.insert("backend", Scripted::new(&[(60, Ok("slow"))])).unwrap();
    assert_eq!(call(&mut set, ()).await.0.unwrap(), "slow");
    let text = String::from_utf8(printed.0.lock().unwrap().clone()).unwrap();
    let closed = |kind: &str, server: &str, outcome: &str| {
        let mut lines = text.lines().filter(|line| line.contains("hedge.attempt{") && line.contains("close"));
        lines.any(|line| [kind, server, outcome].iter().all(|part| line.contains(part)))
    };
    let first = text.contains("server.address=10.0.0.1 server.port=80 hedge.outcome=\"accept\"");
    let (one, other) = ("server.address=10.0.0.1 server.port=80", "server.address=backend");
    let (winner, loser) = if first { (one, other) } else { (other, one) };
    assert!(closed("hedge.kind=first", winner, "hedge.outcome=\"accept\""), "{text}");
    assert!(closed("hedge.kind=backup", loser, "hedge.outcome=\"abandoned\""), "{text}");
    assert!(text.lines().any(|line| line.contains("hedge.end=\"accepted\"") && line.contains("close")), "{text}");
}

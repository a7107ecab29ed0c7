//! What an observer is told over sockets, and the counters.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_net::{
    Address, AttemptEnded, AttemptStarted, CallEnd, CallId, CallOptions, CheckEnded, CheckOptions, CheckOutcome,
    CheckStep, Denial, Extra, LimitOptions, Observer, RatioOptions, Runtime, Server, ServerChange, ServerRef,
};

use super::health::until;
use super::mortal::Mortal;
use super::server::{TestServer, ok};
use super::{get, list, server};

/// What an observer was told, without times.
#[derive(Clone, PartialEq, Debug)]
enum Told {
    CallStarted,
    AttemptStarted(Server),
    AttemptEnded(Server, &'static str),
    CallEnded(String),
    Changed(Server, ServerChange),
    Checked(Server, CheckStep, CheckOutcome),
    Expired(Address),
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Told>>);

impl Recorder {
    fn push(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn was_told(&self, told: &Told) -> bool {
        self.0.lock().unwrap().contains(told)
    }
}

fn key(server: &ServerRef<'_>) -> Server {
    let key = server.key::<Server>().unwrap().clone();
    assert_eq!((server.to_string(), server.address()), (key.to_string(), Some(key.address.clone())));
    key
}

impl Observer for Recorder {
    fn call_started(&self, _: CallId) {
        self.push(Told::CallStarted);
    }

    fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        self.push(Told::AttemptStarted(key(&attempt.server)));
    }

    fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        self.push(Told::AttemptEnded(key(&attempt.server), attempt.outcome()));
    }

    fn call_ended(&self, _: CallId, end: &CallEnd<'_>) {
        self.push(Told::CallEnded(end.end().unwrap().to_string()));
    }

    fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        self.push(Told::Changed(key(server), change));
    }

    fn server_checked(&self, check: &CheckEnded<'_>) {
        self.push(Told::Checked(key(&check.server), check.step, check.outcome));
    }

    fn connection_expired(&self, address: &Address, _: Duration) {
        self.push(Told::Expired(address.clone()));
    }
}

pub async fn h1_a_server_that_refuses_and_returns_is_told_step_by_step<R: Runtime>(runtime: R) {
    let recorder = Arc::new(Recorder::default());
    let mut dies = Mortal::start();
    let at = server(dies.address);
    let checks = CheckOptions { interval: BoundedSpan::of_millis::<20>(), ..CheckOptions::DEFAULT };
    let channel = list(&runtime, &[dies.address]).health_checks(checks).max_idle_per_server(0);
    let channel = channel.observer(Arc::clone(&recorder) as Arc<dyn Observer>).build().unwrap();
    assert_eq!(recorder.take(), [Told::Changed(at.clone(), ServerChange::Inserted)]);

    assert_eq!(channel.get("/").await.unwrap().status(), 200);
    let whole_call = [
        Told::CallStarted,
        Told::AttemptStarted(at.clone()),
        Told::AttemptEnded(at.clone(), "accept"),
        Told::CallEnded("accepted".into()),
    ];
    assert_eq!(recorder.take(), whole_call);

    dies.kill();
    assert!(channel.get("/").await.is_err());
    let failed = Told::Checked(at.clone(), CheckStep::Connect, CheckOutcome::Failed);
    until(|| recorder.was_told(&failed)).await;
    let mut told = recorder.take();
    // The first check may end before the call's thread goes on.
    told.retain(|told| !matches!(told, Told::Checked(..)));
    assert_eq!(
        told,
        [
            Told::CallStarted,
            Told::AttemptStarted(at.clone()),
            Told::Changed(at.clone(), ServerChange::Broken),
            Told::AttemptEnded(at.clone(), "retry"),
            Told::CallEnded("failed".into()),
        ]
    );

    dies.restart();
    until(|| recorder.was_told(&Told::Changed(at.clone(), ServerChange::Connected))).await;
    let told = recorder.take();
    let passed = Told::Checked(at.clone(), CheckStep::Connect, CheckOutcome::Passed);
    assert_eq!(told[told.len() - 2..], [passed, Told::Changed(at.clone(), ServerChange::Connected)]);

    assert_eq!(channel.get("/").await.unwrap().status(), 200);
    assert_eq!(recorder.take(), whole_call);
    channel.set_usable(&at, false);
    channel.set_servers(Vec::new()).unwrap();
    let last = [ServerChange::Withdrawn, ServerChange::Removed].map(|change| Told::Changed(at.clone(), change));
    assert_eq!(recorder.take(), last);
}

pub async fn c4_a_connection_that_was_idle_for_too_long_is_told<R: Runtime>(runtime: R) {
    let (there, recorder) = (TestServer::answering(|_| ok("")), Arc::new(Recorder::default()));
    let channel = list(&runtime, &[there.address]).idle_timeout(Duration::from_millis(1));
    let channel = channel.observer(Arc::clone(&recorder) as Arc<dyn Observer>).build().unwrap();
    assert_eq!(channel.get("/").await.unwrap().status(), 200);
    until(|| recorder.was_told(&Told::Expired(there.address.into()))).await;
    assert_eq!(channel.transport().counters().expired, 1);
}

pub async fn counters_count_calls_attempts_and_connections<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("there"));
    let stalling = TestServer::stalling();
    let limits = LimitOptions {
        ratio: Some(RatioOptions { burst: Bounded::of::<1>(), ..RatioOptions::DEFAULT }),
        ..LimitOptions::NONE
    };
    let channel = list(&runtime, &[there.address]).limits(limits).build().unwrap();
    for _ in 0..5 {
        assert_eq!(channel.get("/").await.unwrap().status(), 200);
    }
    let both = vec![server(stalling.address), server(there.address)];
    let backup = CallOptions { servers: Some(both), ..CallOptions::new().with_backup(Duration::from_millis(1)) };
    assert_eq!(channel.call_with(get("/"), &backup).await.unwrap().status(), 200);
    let short = backup.clone().with_timeout(Duration::from_secs(2));
    assert_eq!(channel.call_with(get("/"), &short).await.unwrap_err().kind(), "deadline");

    let counters = channel.counters();
    assert_eq!((counters.calls(), counters.accepted, counters.deadline), (7, 6, 1));
    assert_eq!((counters.first_attempts, counters.backups, counters.backups_won), (7, 1, 1));
    let denied = counters.denied(Extra::Backup, Denial::Ratio);
    assert_eq!((denied, channel.denied(Extra::Backup, Denial::Ratio)), (1, 1));

    let connections = channel.transport().counters();
    assert_eq!((connections.opened, connections.reused, connections.resent), (3, 5, 0));
    // The server never answers, so the connections of abandoned attempts are closed in the end.
    until(|| channel.transport().counters().closed == 2).await;
    assert_eq!(channel.transport().counters().open(), 1);
}

//! A channel whose servers answer by a script, on a clock that the test moves.

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use hedge_fleet::hedge_core::drive::Timer;
use hedge_fleet::hedge_core::outcome::ErrorKind;
use hedge_fleet::hedge_core::policy::{AttemptError, ConfigError, DefaultRetryPolicy};
use hedge_fleet::hedge_core::time::{Instant, Micros};
use hedge_fleet::{
    AttemptEnded, AttemptStarted, Balancer, CallEnd, CallHost, CallId, CallOptions, ChannelContext, ListEntry, Node,
    Observer, OwnAddress, Report, ServerChange, ServerRef, Servers, Settings, Setup,
};

/// A clock that only the test moves, in milliseconds.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Sleep(Clock, Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.now() >= self.1 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        // Not zero, as in a program that has run for a while.
        Instant::from_millis(1_000 + self.ms())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(self.clone(), at)
    }
}

#[derive(Debug)]
pub(crate) struct Failed(pub(crate) ErrorKind);

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

/// What an attempt answers, and how many ms after its start; `None`: never.
pub(crate) type Answer = Option<(u64, Result<(), ErrorKind>)>;

/// With this seed, `rr` begins at the first of two servers.
const FIRST_IS_FIRST: u64 = 2;

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) servers: Servers<u16, OwnAddress<()>>,
    settings: Settings,
}

impl World {
    /// Servers with these keys.
    pub(crate) fn new(setup: Setup, keys: &[u16]) -> Self {
        let servers = Servers::new(Balancer::named("rr", FIRST_IS_FIRST).unwrap(), setup.health().unwrap(), 1 << 16);
        let servers = servers.observed_by(setup.observers.clone());
        let world = Self { clock: Clock::default(), servers, settings: setup.into_settings(1).unwrap() };
        world.set(keys);
        world
    }

    /// Replaces the list.
    pub(crate) fn set(&self, keys: &[u16]) {
        let new = |key: &u16| ListEntry::New { key: *key, service: OwnAddress(()), weight: NonZeroU32::MIN };
        let write = |key: &u16, out: &mut dyn std::fmt::Write| write!(out, "10.0.0.{key}:80");
        self.servers
            .change(write, self.clock.now(), |old| {
                let place = |key| old.list().named(key).cloned().map_or_else(|| new(key), ListEntry::Stays);
                Some(keys.iter().map(place).collect())
            })
            .unwrap();
    }

    pub(crate) fn node(&self, key: u16) -> Arc<Node<u16, OwnAddress<()>>> {
        Arc::clone(self.servers.load().list().named(&key).unwrap())
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A call whose attempts answer as the script says.
    pub(crate) async fn call(&self, options: &CallOptions, script: &[Answer]) -> Result<Report, ConfigError> {
        let mut host = CallHost::new(self, ());
        hedge_fleet::run!(
            host,
            options,
            Idempotency::Unset,
            |attempt: AttemptInfo<u16>| self.answer(script.get(attempt.attempt.index()).copied().flatten()),
            |call, _result| call.report().clone()
        )
    }

    fn answer(&self, answer: Answer) -> impl Future<Output = Result<(), Failed>> {
        let begun = self.clock.ms();
        // As a transport that has spans of its own.
        let sent = tracing::info_span!("sent");
        poll_fn(move |_| match answer {
            Some((after, result)) if self.clock.ms() >= begun + after => Poll::Ready(result.map_err(Failed)),
            _ => {
                // It is open as long as this future lives.
                let _ = &sent;
                Poll::Pending
            }
        })
    }

    /// Runs a call to its end.
    pub(crate) fn run(&self, options: &CallOptions, script: &[Answer]) -> Report {
        self.run_for(u64::MAX, options, script).unwrap()
    }

    /// Runs a call for at most `ms`, and then drops it.
    pub(crate) fn run_for(&self, ms: u64, options: &CallOptions, script: &[Answer]) -> Option<Report> {
        let mut call = pin!(self.call(options, script));
        for _ in 0..ms.min(10_000) {
            if let Poll::Ready(ended) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(ended.unwrap());
            }
            self.clock.advance(1);
        }
        assert!(ms < 10_000, "the call never ended");
        None
    }
}

impl ChannelContext for World {
    type Key = u16;
    type Service = OwnAddress<()>;
    type Address = u16;
    type Call = ();
    type Timer = Clock;
    type RetryPolicy = DefaultRetryPolicy;

    fn servers(&self) -> &Servers<u16, OwnAddress<()>> {
        &self.servers
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn timer(&self) -> &Clock {
        &self.clock
    }

    fn retry_policy(&self) -> &DefaultRetryPolicy {
        &DefaultRetryPolicy
    }

    fn address(&self, node: &Node<u16, OwnAddress<()>>) -> u16 {
        *node.key()
    }
}

/// Writes down what it is told. Calls are numbered from 0.
#[derive(Default)]
pub(crate) struct Recorder {
    lines: Mutex<Vec<String>>,
    calls: Mutex<Vec<CallId>>,
}

impl Recorder {
    /// What it was told since this was called last.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    fn line(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn number(&self, call: CallId) -> usize {
        let mut calls = self.calls.lock().unwrap();
        let known = calls.iter().position(|known| *known == call);
        known.unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        })
    }
}

impl Observer for Recorder {
    fn call_started(&self, call: CallId) {
        self.line(format!("call {} started", self.number(call)));
    }

    fn attempt_started(&self, attempt: &AttemptStarted<'_>) {
        let AttemptStarted { call, attempt: id, kind, server, started, .. } = attempt;
        self.line(format!(
            "call {}: {id} {kind} to {server} after {}",
            self.number(*call),
            Micros::from_duration(*started)
        ));
    }

    fn attempt_ended(&self, attempt: &AttemptEnded<'_>) {
        let AttemptEnded { call, attempt: id, server, code, latency, .. } = attempt;
        let key = server.key::<u16>();
        let call = self.number(*call);
        self.line(format!(
            "call {call}: {id} at {key:?} {}, {code}, {}",
            attempt.outcome(),
            Micros::from_duration(*latency)
        ));
    }

    fn call_ended(&self, call: CallId, end: &CallEnd<'_>) {
        let end = end.end().unwrap();
        self.line(format!("call {} {end}", self.number(call)));
    }

    fn server_changed(&self, server: &ServerRef<'_>, change: ServerChange) {
        self.line(format!("{server} {change}"));
    }
}

//! A channel whose servers answer by a script, on a clock that the test moves.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use hedge_fleet::hedge_core::outcome::ErrorKind;
use hedge_fleet::hedge_core::policy::ConfigError;
use hedge_fleet::hedge_core::time::Micros;
use hedge_fleet::{
    AttemptEnded, AttemptStarted, CallEnd, CallHost, CallId, CallOptions, Observer, Report, ServerChange, ServerRef,
    Setup,
};

use crate::testing::{Clock, Failed, Line};

/// The answer of an attempt: after how many milliseconds it comes, and its result. `None`: no answer comes.
pub(crate) type Answer = Option<(u64, Result<(), ErrorKind>)>;

/// The balancer's seed. With this seed, `rr` begins with the first of two servers.
const FIRST_IS_FIRST: u64 = 2;

pub(crate) type World = Line;

impl Clock {
    pub(crate) fn advance(&self, ms: u64) {
        self.set(self.millis() + ms);
    }
}

impl Line {
    /// A channel with these servers, whose clock has already run for a second, as in a program.
    pub(crate) fn new(setup: Setup, keys: &[u16]) -> Self {
        let world = Self::build("rr", FIRST_IS_FIRST, keys, |it| *it = setup);
        world.clock.set(1_000);
        world
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
        let begun = self.clock.millis();
        // A transport may have spans of its own.
        let sent = tracing::info_span!("sent");
        poll_fn(move |_| match answer {
            Some((after, result)) if self.clock.millis() >= begun + after => Poll::Ready(result.map_err(Failed)),
            _ => {
                // The span is open as long as this future exists.
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

/// An observer that records one line for each event. It numbers the calls from 0.
#[derive(Default)]
pub(crate) struct Recorder {
    lines: Mutex<Vec<String>>,
    calls: Mutex<Vec<CallId>>,
}

impl Recorder {
    /// The lines that were recorded since the last call of this method.
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

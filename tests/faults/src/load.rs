//! The callers of one run, and what they saw: [`run`] and [`Tally`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hedge_net::http::Http;
use hedge_net::{Address, CallError, Channel, Runtime, Trace};

use crate::server::Server;
use crate::upload::Requests;

/// How often it is looked whether a run is over.
const TICK: Duration = Duration::from_millis(20);
/// If no call ends for so long, none will: every call has a deadline.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send.
pub(crate) struct Load {
    pub(crate) calls: u64,
    /// So many callers, each with one call at a time.
    pub(crate) callers: u64,
    pub(crate) requests: Requests,
    /// No call begins after so long.
    pub(crate) at_most: Duration,
    /// The first of them is bad …
    pub(crate) servers: Vec<Server>,
    /// … from this call on.
    pub(crate) bad_from: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of all calls that ended, in microseconds.
    pub(crate) latencies: Vec<u64>,
    /// What failed calls said.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Calls that never came to an end.
    pub(crate) lost: u64,
    /// Of the calls since the server is bad: how many attempts they made, and how many of these at the bad server.
    pub(crate) since: Attempts,
    pub(crate) took: Duration,
    /// By how much a thread that only waits was woken too late, at worst: what the machine itself cost.
    pub(crate) lag: Duration,
}

/// Attempts of calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) calls: u64,
    pub(crate) all: u64,
    pub(crate) at_bad: u64,
}

impl Attempts {
    /// Attempts a call.
    pub(crate) fn a_call(self) -> f64 {
        share(self.all, self.calls)
    }

    /// The part of them that went to the bad server.
    pub(crate) fn share_of_bad(self) -> f64 {
        share(self.at_bad, self.all)
    }
}

/// 0 of nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Tally {
    /// Calls that began.
    pub(crate) const fn calls(&self) -> u64 {
        self.latencies.len() as u64 + self.lost
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum::<u64>() + self.lost
    }

    /// The smallest latency that so many hundredths of the calls do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        Duration::from_micros(sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default())
    }
}

/// What the callers of one run share.
struct Run<R: Runtime> {
    runtime: R,
    channel: Channel<R, Http<R>>,
    load: Load,
    stop: AtomicBool,
    begun: AtomicU64,
    tally: Mutex<Tally>,
}

/// Runs the load to its end. It blocks its thread; the callers are tasks of the runtime. Answers also the load's servers, to
/// be stopped; `None` if calls that never ended still have them.
pub(crate) fn run<R: Runtime + Unpin>(
    runtime: &R,
    channel: Channel<R, Http<R>>,
    load: Load,
) -> (Tally, Option<Vec<Server>>) {
    let (runtime, own) = (runtime.clone(), runtime);
    let (stop, begun, tally) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::default());
    let run = Arc::new(Run { runtime, channel, load, stop, begun, tally });
    run.begin(0);
    let (working, ended) = mpsc::channel();
    let start = Instant::now();
    for _ in 0..run.load.callers {
        own.spawn(Arc::clone(&run).call(working.clone()));
    }
    drop(working);
    let (mut last, mut lag, mut ticked) = ((0, start), Duration::ZERO, start);
    // The last caller's end closes the channel.
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        lag = lag.max((now - ticked).saturating_sub(TICK));
        ticked = now;
        let done = run.tally().latencies.len();
        if now - start >= run.load.at_most {
            run.stop.store(true, Ordering::Relaxed);
        }
        if done != last.0 {
            last = (done, now);
        } else if now - last.1 >= PATIENCE {
            run.stop.store(true, Ordering::Relaxed);
            break;
        }
    }
    let took = start.elapsed();
    let begun = run.begun.load(Ordering::Relaxed).min(run.load.calls);
    let mut tally = std::mem::take(&mut *run.tally());
    tally.lost = begun.saturating_sub(tally.latencies.len() as u64);
    (tally.took, tally.lag) = (took, lag);
    let servers = Arc::into_inner(run).map(|run| run.load.servers);
    (tally, servers)
}

impl<R: Runtime + Unpin> Run<R> {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next call; `None` if there is none.
    fn next(&self) -> Option<u64> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.begun.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < self.load.calls)
    }

    /// A call begins.
    fn begin(&self, number: u64) {
        if let Some(bad) = self.load.servers.first().filter(|_| number == self.load.bad_from) {
            bad.turn_bad();
        }
    }

    /// One caller: one call after the other.
    async fn call(self: Arc<Self>, _working: Sender<()>) {
        while let Some(number) = self.next() {
            self.begin(number);
            let request = self.load.requests.make(number, &self.runtime);
            let begun = Instant::now();
            let result = self.channel.call(request).await;
            let latency = begun.elapsed();
            let (trace, failure) = match &result {
                // Whatever a status says, these servers only answer 200.
                Ok(reply) => (reply.trace(), None),
                Err(error) => (error.trace(), Some(self.describe(error))),
            };
            let attempts = self.attempts(trace);
            let mut tally = self.tally();
            tally.latencies.push(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            if let Some(failure) = failure {
                *tally.failures.entry(failure).or_default() += 1;
            }
            if number >= self.load.bad_from {
                tally.since.calls += 1;
                tally.since.all += attempts.all;
                tally.since.at_bad += attempts.at_bad;
            }
        }
    }

    fn attempts(&self, trace: &Trace) -> Attempts {
        let bad = self.load.servers.first().map(|server| Address::Socket(server.address()));
        let at_bad = trace.ids().filter(|id| trace.server(*id).map(|server| &server.address) == bad.as_ref());
        Attempts { calls: 1, all: trace.attempts().len() as u64, at_bad: at_bad.count() as u64 }
    }

    /// The error's text without what is different in every call, and why no backup was sent.
    fn describe<B, E: Display>(&self, error: &CallError<B, E>) -> String {
        let trace = error.trace();
        let mut text = error.to_string().replacen(&format!(" after {}", trace.elapsed_micros()), "", 1);
        for (index, server) in self.load.servers.iter().enumerate() {
            let name = if index == 0 { "the bad server" } else { "a good server" };
            text = text.replace(&server.address().to_string(), name);
        }
        match trace.not_hedged() {
            Some(reason) => format!("{text} (no backup: {reason})"),
            None => text,
        }
    }
}

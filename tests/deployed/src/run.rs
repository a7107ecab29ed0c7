//! One run: calls over one protocol on one runtime to three servers under [`Chaos`].

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hedge_core::health::CheckOptions;
use hedge_net::http::HttpCounters;
use hedge_net::{BoundedSpan, LimitOptions, Runtime};
use http::{StatusCode, Version};

use crate::certificate::Certificate;
use crate::chaos::Chaos;
use crate::client::{self, CountedChannel};
use crate::counting::Counting;
use crate::left::{Before, Left};
use crate::protocol::Protocol;
use crate::server::{PAGE, PATH, Server};
use crate::settings::Settings;

/// How long a call may take. No call may fail, so this is long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const BACKUP: Duration = Duration::from_millis(40);
/// How often a server that is down is checked: often enough that it is back before the next one goes away.
pub(crate) const CHECKS: CheckOptions =
    CheckOptions { interval: BoundedSpan::of_millis::<50>(), ..CheckOptions::DEFAULT };
/// How long making a connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one attempt may take. A frozen server answers nothing.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(400);

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    /// The errors, each with its count.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) attempts: u64,
    pub(crate) connections: HttpCounters,
    pub(crate) chaos: Chaos,
    pub(crate) took: Duration,
    pub(crate) left: Left,
}

impl Outcome {
    /// The title of the columns.
    pub(crate) const HEAD: &str = "  calls failed attempts opened  reused kills freezes pairs   fds tasks       s";

    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.left.is_nothing()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: u64 = self.failures.values().sum();
        let Chaos { kills, freezes, pairs } = self.chaos;
        write!(
            f,
            "{:>7} {failed:>6} {:>8.3} {:>6} {:>7} {kills:>5} {freezes:>7} {pairs:>5} {} {:>7.1}",
            self.calls,
            self.attempts as f64 / self.calls.max(1) as f64,
            self.connections.opened,
            self.connections.reused,
            self.left,
            self.took.as_secs_f64(),
        )?;
        self.failures.iter().try_for_each(|(text, count)| write!(f, "\n    {count} × {text}"))
    }
}

/// What the callers share.
struct Load<R: Runtime> {
    channel: CountedChannel<R>,
    /// The version that every answer must have.
    version: Version,
    left: AtomicU64,
    calls: u64,
    attempts: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl<R: Runtime + Unpin> Load<R> {
    /// One caller, which makes one call after the other.
    async fn call(self: Arc<Self>, _working: Sender<()>) {
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let (attempts, failure) = match self.channel.get(PATH).await {
                Ok(reply) => {
                    let body = reply.text().unwrap_or_else(|error| error.to_string());
                    let (status, version) = (reply.status(), reply.version());
                    let is_right = status == StatusCode::OK && version == self.version && body == PAGE;
                    (reply.report().attempts().len(), (!is_right).then(|| format!("{version:?} {status}: {body}")))
                }
                Err(error) => (0, Some(error.to_string())),
            };
            self.attempts.fetch_add(attempts as u64, Ordering::Relaxed);
            if let Some(failure) = failure {
                *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(failure).or_default() += 1;
            }
        }
    }
}

/// Makes all calls of a run.
///
/// # Errors
/// A server or the channel cannot be made.
pub(crate) fn run<R: Runtime + Unpin>(runtime: R, settings: Settings, home: &Path) -> Result<Outcome, Box<dyn Error>> {
    let Settings { protocol, calls, callers, seed, .. } = settings;
    let certificate = Certificate::make(home)?;
    let mut servers = Vec::new();
    for (index, kind) in protocol.servers().into_iter().enumerate() {
        servers.push(Server::start(kind, protocol, &certificate, home.join(format!("{}{index}", kind.name())))?);
    }
    let before = Before::note(&runtime)?;
    let runtime = Counting::new(runtime);
    let channel = build(&runtime, protocol, &certificate, &servers, seed)?;
    let load = Arc::new(Load {
        channel: channel.clone(),
        version: protocol.version(),
        left: AtomicU64::new(calls),
        calls,
        attempts: AtomicU64::new(0),
        failures: Mutex::default(),
    });
    let start = Instant::now();
    let (working, ended) = mpsc::channel();
    let (running, over) = mpsc::channel();
    let chaos = thread::scope(|scope| {
        let servers = &mut servers;
        let chaos = scope.spawn(move || Chaos::run(servers, seed, &over));
        for _ in 0..callers {
            hedge_net::Spawn::spawn(&runtime, Arc::clone(&load).call(working.clone()));
        }
        drop(working);
        // The channel closes when the last caller has ended.
        let _ = ended.recv();
        drop(running);
        chaos.join()
    });
    let took = start.elapsed();
    let mut outcome = Outcome { calls: load.calls, took, ..Outcome::default() };
    outcome.chaos = chaos.map_err(|_| "the chaos panicked")??;
    outcome.attempts = load.attempts.load(Ordering::Relaxed);
    outcome.failures = std::mem::take(&mut *load.failures.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.connections = channel.transport().counters();
    drop((load, channel));
    outcome.left = before.left(&runtime)?;
    Ok(outcome)
}

/// The channel of a run.
fn build<R: Runtime>(
    runtime: &Counting<R>,
    protocol: Protocol,
    certificate: &Certificate,
    servers: &[Server],
    seed: u64,
) -> Result<CountedChannel<R>, Box<dyn Error>> {
    let builder = client::builder(runtime, protocol, certificate, servers)?
        .timeout(TIMEOUT)
        // On a busy machine a handshake takes long, and that is not what this test is about.
        .connect_timeout(CONNECT_TIMEOUT)
        .attempt_timeout(ATTEMPT_TIMEOUT)
        .max_retry(7)
        .backup(BACKUP)
        .max_backups(2)
        .limits(LimitOptions::NONE)
        .health_checks(CHECKS)
        .seed(seed);
    Ok(builder.build()?)
}

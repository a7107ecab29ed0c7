//! Calls over HTTP/2 that are cancelled in flight, by the thousand, on one connection to nghttpd: [`run`].

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hedge_core::drive::Timer as _;
use hedge_link::before;
use hedge_net::http::HttpCounters;
use hedge_net::{LimitOptions, Runtime};
use http::StatusCode;

use crate::certificate::Certificate;
use crate::client::{self, CountedChannel};
use crate::counting::Counting;
use crate::left::{Before, Left};
use crate::server::{Kind, PAGE, PATH, Server};
use crate::settings::Settings;

/// A page that takes longer than a call may wait for it, often enough.
const LARGE: &str = "/large.bin";
const LARGE_SIZE: usize = 256 * 1024;
/// How long a caller waits for an answer before it cancels its call: up to so many microseconds.
const WAIT_MICROS: u64 = 2_000;
/// How many cancelled calls may have a stream that has not ended. nghttpd takes 100 streams at a time, and beyond that
/// the client makes another connection.
const MAX_ENDING: u64 = 64;
/// How long a caller waits before it looks again whether there are so many.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a run may take to cancel all calls.
const PATIENCE: Duration = Duration::from_secs(60);

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Cancelled {
    /// How many calls were to be cancelled while their streams were open.
    wanted: u64,
    /// How many were cancelled.
    calls: u64,
    /// Calls that were answered before they were cancelled.
    answered: u64,
    /// The errors of calls.
    failures: Vec<String>,
    connections: HttpCounters,
    took: Duration,
    left: Left,
}

impl Cancelled {
    /// The title of the columns.
    pub(crate) const HEAD: &str = "cancelled answered failed opened closed  reset drained   fds tasks       s";

    /// Streams that were ended before their calls were.
    const fn streams(&self) -> u64 {
        self.connections.reset + self.connections.drained
    }

    /// Whether so many calls were cancelled, no call failed, and their one connection lives.
    pub(crate) fn is_good(&self) -> bool {
        let HttpCounters { opened, closed, .. } = self.connections;
        self.streams() >= self.wanted
            && self.failures.is_empty()
            && (opened, closed) == (1, 0)
            && self.left.is_nothing()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HttpCounters { opened, closed, reset, drained, .. } = self.connections;
        write!(
            f,
            "{:>9} {:>8} {:>6} {opened:>6} {closed:>6} {reset:>6} {drained:>7} {} {:>7.1}",
            self.calls,
            self.answered,
            self.failures.len(),
            self.left,
            self.took.as_secs_f64(),
        )?;
        self.failures.iter().take(5).try_for_each(|text| write!(f, "\n    {text}"))
    }
}

/// What the callers share.
struct Load<R: Runtime> {
    runtime: Counting<R>,
    channel: CountedChannel<R>,
    wanted: u64,
    /// When the callers give up.
    end: Instant,
    answered: AtomicU64,
    cancelled: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl<R: Runtime + Unpin> Load<R> {
    /// How many streams were ended before their calls were.
    fn streams(&self) -> u64 {
        let HttpCounters { reset, drained, .. } = self.channel.transport().counters();
        reset + drained
    }

    fn is_over(&self) -> bool {
        self.streams() >= self.wanted || Instant::now() >= self.end
    }

    /// One caller, which makes one call after the other and cancels those that are not answered soon.
    async fn call(self: Arc<Self>, mut rng: Rng, _working: mpsc::Sender<()>) {
        while !self.is_over() {
            if self.cancelled.load(Ordering::Relaxed).saturating_sub(self.streams()) >= MAX_ENDING {
                self.runtime.sleep_until(self.runtime.now() + PAUSE).await;
                continue;
            }
            let wait = Duration::from_micros(rng.u64(..WAIT_MICROS));
            let call = self.channel.get(LARGE).into_future();
            match before(&self.runtime, Some(self.runtime.now() + wait), call).await {
                Some(Ok(reply)) if reply.status() == StatusCode::OK => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Some(Ok(reply)) => self.fail(reply.status().to_string()),
                Some(Err(error)) => self.fail(error.to_string()),
                None => {
                    self.cancelled.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// A call that must be answered.
    async fn call_once(self: Arc<Self>, _working: mpsc::Sender<()>) {
        match self.channel.get(PATH).await {
            Ok(reply) if reply.text().is_ok_and(|text| text == PAGE) => {}
            Ok(reply) => self.fail(format!("a call of the small page: {}", reply.status())),
            Err(error) => self.fail(format!("a call of the small page: {error}")),
        }
    }

    fn fail(&self, text: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// Cancels so many calls, of which each has a stream on the connection. One call before, which makes the connection, and one
/// after must be answered. At most 20 streams a second are reset, so most answers are read and thrown away.
///
/// # Errors
/// The server or the channel cannot be made.
pub(crate) fn run<R: Runtime + Unpin>(
    runtime: R,
    settings: Settings,
    home: &Path,
) -> Result<Cancelled, Box<dyn Error>> {
    let Settings { protocol, cancel: wanted, callers, seed, .. } = settings;
    let certificate = Certificate::make(home)?;
    let server = Server::start(Kind::Nghttpd, protocol, &certificate, home.join("nghttpd"))?;
    fs::write(server.pages().join(LARGE.trim_start_matches('/')), vec![b'x'; LARGE_SIZE])?;
    let before = Before::note(&runtime)?;
    let runtime = Counting::new(runtime);
    let channel = client::builder(&runtime, protocol, &certificate, std::slice::from_ref(&server))?
        .limits(LimitOptions::NONE)
        .seed(seed)
        .build()?;
    let start = Instant::now();
    let load = Arc::new(Load {
        runtime: runtime.clone(),
        channel,
        wanted,
        end: start + PATIENCE,
        answered: AtomicU64::new(0),
        cancelled: AtomicU64::new(0),
        failures: Mutex::default(),
    });
    let mut rng = Rng::with_seed(seed);
    await_all(&runtime, [|working| Arc::clone(&load).call_once(working)]);
    await_all(
        &runtime,
        (0..callers).map(|_| {
            let (load, rng) = (Arc::clone(&load), rng.fork());
            move |working| load.call(rng, working)
        }),
    );
    await_all(&runtime, [|working| Arc::clone(&load).call_once(working)]);
    let took = start.elapsed();
    let mut cancelled = Cancelled { wanted, took, ..Cancelled::default() };
    cancelled.connections = load.channel.transport().counters();
    cancelled.calls = load.cancelled.load(Ordering::Relaxed);
    cancelled.answered = load.answered.load(Ordering::Relaxed);
    cancelled.failures = std::mem::take(&mut *load.failures.lock().unwrap_or_else(PoisonError::into_inner));
    drop(load);
    cancelled.left = before.left(&runtime)?;
    Ok(cancelled)
}

/// Runs tasks to their ends. Each gets a sender that it drops at its end.
pub(crate) fn await_all<R: Runtime, F: Future<Output = ()> + Send + 'static>(
    runtime: &Counting<R>,
    tasks: impl IntoIterator<Item = impl FnOnce(mpsc::Sender<()>) -> F>,
) {
    let (working, ended) = mpsc::channel();
    for task in tasks {
        hedge_net::Spawn::spawn(runtime, task(working.clone()));
    }
    drop(working);
    // The channel closes when the last task has ended.
    let _ = ended.recv();
}

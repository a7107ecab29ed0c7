//! Channels of channels over 50 nginx, some of which are frozen: [`run`].

mod parallel;
mod selective;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hedge_net::Runtime;
use hedge_net::http::{Request, RequestBody};

use crate::cancel::await_all;
use crate::certificate::Certificate;
use crate::client::{self, CountedBuilder};
use crate::counting::Counting;
use crate::left::{Before, Left};
use crate::protocol::Protocol;
use crate::server::{Kind, PATH, Server};
use crate::settings::Settings;

/// How many servers there are.
const SERVERS: usize = 50;
/// The servers of a cluster. One cluster is frozen, and another one is not.
const CLUSTER: usize = 3;
/// How long a call that must not fail may take. It is long, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The results of a run: one row for each channel of channels.
#[derive(Debug, Default)]
pub(crate) struct Combined {
    rows: Vec<Row>,
    left: Left,
    took: Duration,
}

/// What the calls of one channel have done.
#[derive(Debug, Default)]
struct Row {
    name: &'static str,
    calls: u64,
    /// Calls that were answered.
    answered: u64,
    backups: u64,
    /// How long each call took, in order, in microseconds.
    micros: Vec<u32>,
    /// What was wrong.
    wrong: Vec<String>,
}

impl Combined {
    /// The title of the columns.
    pub(crate) const HEAD: &str = "combined                      calls answered backups  p50 ms  p99 ms  max ms";

    /// Whether every call ended as it must, and nothing is left.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.wrong.is_empty()) && self.left.is_nothing()
    }
}

impl fmt::Display for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            write!(f, "{row}\n{:21}", "")?;
        }
        let Left { descriptors, tasks } = self.left;
        write!(f, "left: {descriptors} descriptors, {tasks} tasks; {:.1} s", self.took.as_secs_f64())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, calls, answered, backups, micros, wrong } = self;
        write!(f, "{name:<26} {calls:>8} {answered:>8} {backups:>7}")?;
        for part in [500, 990, 1_000] {
            let at = (micros.len() * part).div_ceil(1_000).saturating_sub(1);
            let micros = micros.get(at).copied().unwrap_or(0);
            write!(f, " {:>7.1}", f64::from(micros) / 1_000.0)?;
        }
        wrong.iter().take(5).try_for_each(|text| write!(f, "\n    {text}"))
    }
}

/// The servers of a run, and what makes channels to them.
struct Place<'a, R> {
    runtime: &'a Counting<R>,
    certificate: Certificate,
    servers: Vec<Server>,
    settings: Settings,
}

impl<R: Runtime> Place<'_, R> {
    /// A builder of a channel to some of the servers.
    fn builder(&self, servers: std::ops::Range<usize>) -> Result<CountedBuilder<R>, Box<dyn Error>> {
        let servers = self.servers.get(servers).ok_or("there are not so many servers")?;
        let builder = client::builder(self.runtime, Protocol::Http1, &self.certificate, servers)?;
        Ok(builder.connect_timeout(PATIENCE).seed(self.settings.seed))
    }

    /// Makes `calls` calls, some at a time. `call` makes one, and returns whether it was answered, or what was wrong.
    fn row<F>(&self, name: &'static str, calls: u64, call: impl Fn() -> F + Clone + Send + 'static) -> Row
    where
        F: Future<Output = Result<bool, String>> + Send,
    {
        let load = Arc::new(Load { left: AtomicU64::new(calls), row: Mutex::default() });
        await_all(
            self.runtime,
            (0..self.settings.callers).map(|_| {
                let (load, call) = (Arc::clone(&load), call.clone());
                async move |working| load.call(call, working).await
            }),
        );
        let mut row = std::mem::take(&mut *load.row.lock().unwrap_or_else(PoisonError::into_inner));
        row.micros.sort_unstable();
        Row { name, calls, ..row }
    }
}

/// What the callers of a row share.
struct Load {
    left: AtomicU64,
    row: Mutex<Row>,
}

impl Load {
    /// One caller, which makes one call after the other.
    async fn call<F>(self: Arc<Self>, call: impl Fn() -> F, _working: std::sync::mpsc::Sender<()>)
    where
        F: Future<Output = Result<bool, String>>,
    {
        let mut own = Row::default();
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let start = Instant::now();
            match call().await {
                Ok(answered) => own.answered += u64::from(answered),
                Err(wrong) => own.wrong.push(wrong),
            }
            own.micros.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        row.answered += own.answered;
        row.micros.append(&mut own.micros);
        row.wrong.append(&mut own.wrong);
    }
}

/// Makes all calls of a run. First, one of two clusters is frozen, and then one of 50 servers.
///
/// # Errors
/// A server or a channel cannot be made.
pub(crate) fn run<R: Runtime + Unpin>(runtime: R, settings: Settings, home: &Path) -> Result<Combined, Box<dyn Error>> {
    let certificate = Certificate::make(home)?;
    let start = |index| Server::start(Kind::Nginx, Protocol::Http1, &certificate, home.join(format!("nginx{index}")));
    let servers = (0..SERVERS).map(start).collect::<Result<Vec<_>, _>>()?;
    let before = Before::note(&runtime)?;
    let runtime = Counting::new(runtime);
    let start = Instant::now();
    let mut place = Place { runtime: &runtime, certificate, servers, settings };
    for server in place.servers.iter_mut().take(CLUSTER) {
        server.freeze()?;
    }
    let mut rows = selective::rows(&place)?;
    for server in place.servers.iter_mut().take(CLUSTER).skip(1) {
        server.thaw()?;
    }
    rows.extend(parallel::rows(&place)?);
    Ok(Combined { rows, took: start.elapsed(), left: before.left(&runtime)? })
}

fn request() -> Result<Request<RequestBody>, Box<dyn Error>> {
    Ok(Request::get(PATH).body(RequestBody::from(()))?)
}

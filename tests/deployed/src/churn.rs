//! Calls over three sources whose lists change several times a second, to servers that come and go: [`run`].

mod dnsmasq;
mod fleet;
pub(crate) mod replica;
mod source;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hedge_net::http::Http;
use hedge_net::{Channel, Inspect as _, LimitOptions, Runtime};
use http::StatusCode;

use self::fleet::Fleet;
use self::source::Source;
use crate::chaos::is_over;
use crate::client::CountedChannel;
use crate::counting::Counting;
use crate::left::{Before, Left};
use crate::run::{BACKUP, CHECKS, CONNECT_TIMEOUT, TIMEOUT};
use crate::server::{PAGE, PATH};
use crate::settings::Settings;

/// In each step of this length, the list of one source is replaced. The three sources take turns.
const STEP: Duration = Duration::from_millis(50);
/// Once in this number of steps, one channel is replaced by a new one.
const STEPS_OF_A_CHANNEL: usize = 10;
/// How long a source may take to learn that its watcher has gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Churned {
    calls: u64,
    /// The errors, each with its count.
    failures: BTreeMap<String, u64>,
    attempts: u64,
    /// Lists that were written.
    written: u64,
    /// The number of lists that channels have received, for each source.
    seen: [u64; 3],
    /// Channels that were made.
    channels: u64,
    kills: u32,
    took: Duration,
    /// Descriptors and tasks before the run, and when the last call had ended.
    before: Left,
    during: Left,
    left: Left,
    /// Watchers of etcd when the last call had ended, and at the end.
    watchers: [u64; 2],
}

impl Churned {
    /// The title of the columns.
    pub(crate) const HEAD: &str = "  calls failed attempts lists seen: file   dns  etcd channels kills    before    during      left watchers       s";

    pub(crate) fn is_good(&self) -> bool {
        let saw = self.seen.iter().all(|seen| *seen > 0);
        self.failures.is_empty() && saw && self.left.is_nothing() && self.watchers == [1, 0]
    }
}

impl fmt::Display for Churned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: u64 = self.failures.values().sum();
        let ([file, dns, etcd], [during, left]) = (self.seen, self.watchers);
        let pair = |left: Left| format!("{}/{}", left.descriptors, left.tasks);
        write!(
            f,
            "{:>7} {failed:>6} {:>8.3} {:>5} {file:>10} {dns:>5} {etcd:>5} {:>8} {:>5} {:>9} {:>9} {:>9} {:>8} {:>7.1}",
            self.calls,
            self.attempts as f64 / self.calls.max(1) as f64,
            self.written,
            self.channels,
            self.kills,
            pair(self.before),
            pair(self.during),
            pair(self.left),
            format!("{during}/{left}"),
            self.took.as_secs_f64(),
        )?;
        self.failures.iter().try_for_each(|(text, count)| write!(f, "\n    {count} × {text}"))
    }
}

/// What the callers share.
struct Load<R: Runtime> {
    /// Two channels of each source, which share its watcher.
    channels: [[Mutex<CountedChannel<R>>; 2]; 3],
    left: AtomicU64,
    attempts: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl<R: Runtime + Unpin> Load<R> {
    /// Runs one caller. It makes one call after the other, and draws a channel for each call.
    async fn call(self: Arc<Self>, mut rng: Rng, _working: Sender<()>) {
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let (source, number) = (rng.usize(..3), rng.usize(..2));
            let Some(channel) = self.channel(source, number) else { return };
            let failure = match channel.get(PATH).await {
                Ok(reply) => {
                    self.attempts.fetch_add(reply.report().attempts().len() as u64, Ordering::Relaxed);
                    let body = reply.text().unwrap_or_else(|error| error.to_string());
                    let is_right = reply.status() == StatusCode::OK && body == PAGE;
                    (!is_right).then(|| format!("{}: {body}", reply.status()))
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(failure) = failure {
                let failure = format!("{}: {failure}", ["file", "dns", "etcd"].get(source).unwrap_or(&""));
                *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(failure).or_default() += 1;
            }
        }
    }

    fn channel(&self, source: usize, number: usize) -> Option<CountedChannel<R>> {
        let channel = self.channels.get(source)?.get(number)?;
        Some(channel.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Puts a channel in the place of another one, which is returned.
    fn replace(&self, source: usize, number: usize, new: CountedChannel<R>) -> Option<CountedChannel<R>> {
        let channel = self.channels.get(source)?.get(number)?;
        Some(std::mem::replace(&mut *channel.lock().unwrap_or_else(PoisonError::into_inner), new))
    }

    fn all(&self) -> impl Iterator<Item = (usize, CountedChannel<R>)> {
        (0..6).filter_map(|index| Some((index / 2, self.channel(index / 2, index % 2)?)))
    }
}

/// What changes the lists, the servers and the channels.
struct Churn<'a, R: Runtime> {
    runtime: &'a Counting<R>,
    load: &'a Load<R>,
    fleet: &'a mut Fleet,
    sources: &'a mut [Source; 3],
    rng: Rng,
    done: Churned,
}

impl<R: Runtime + Unpin> Churn<'_, R> {
    /// Makes changes until `over` closes. Returns the counts.
    ///
    /// # Errors
    /// A server cannot be started, or a source cannot be written to.
    fn run(mut self, over: &Receiver<()>) -> Result<Churned, String> {
        for step in 0.. {
            if is_over(over, STEP) {
                break;
            }
            self.step(step).map_err(|error| error.to_string())?;
        }
        for (source, channel) in self.load.all() {
            self.count(source, &channel);
        }
        self.done.kills = self.fleet.kills;
        Ok(self.done)
    }

    fn step(&mut self, step: usize) -> Result<(), Box<dyn Error>> {
        self.fleet.disturb(&mut self.rng)?;
        let list = self.fleet.draw(&mut self.rng);
        if let Some(source) = self.sources.get_mut(step % 3) {
            source.write(&list)?;
            self.done.written += 1;
        }
        if step.is_multiple_of(STEPS_OF_A_CHANNEL) {
            let (index, number) = (self.rng.usize(..3), self.rng.usize(..2));
            if let Some(source) = self.sources.get(index) {
                let new = build(self.runtime, source, self.fleet.port(), self.rng.u64(..))?;
                let old = self.load.replace(index, number, new);
                old.inspect(|old| self.count(index, old));
                self.done.channels += 1;
            }
        }
        let lists: Vec<_> = self.load.all().map(|(_, channel)| channel.inspect().servers).collect();
        self.fleet.hand_over(&mut self.rng, &lists);
        Ok(())
    }

    /// Counts the lists that a channel has received.
    fn count(&mut self, source: usize, channel: &CountedChannel<R>) {
        if let (Some(seen), Some(naming)) = (self.done.seen.get_mut(source), channel.naming()) {
            *seen += naming.updates;
        }
    }
}

/// Makes all calls of a run.
///
/// # Errors
/// A server, a source or a channel cannot be made.
pub(crate) fn run<R: Runtime + Unpin>(runtime: R, settings: Settings, home: &Path) -> Result<Churned, Box<dyn Error>> {
    let Settings { churn: calls, callers, seed, .. } = settings;
    let mut rng = Rng::with_seed(seed);
    let mut fleet = Fleet::start()?;
    let mut sources = Source::all(home, &fleet.draw(&mut rng))?;
    let before = Before::note(&runtime)?;
    let runtime = Counting::new(runtime);
    let mut channels = Vec::new();
    for source in &sources {
        let mut channel = || build(&runtime, source, fleet.port(), rng.u64(..)).map(Mutex::new);
        channels.push([channel()?, channel()?]);
    }
    let load = Arc::new(Load {
        channels: channels.try_into().map_err(|_| "three sources")?,
        left: AtomicU64::new(calls),
        attempts: AtomicU64::new(0),
        failures: Mutex::default(),
    });
    let start = Instant::now();
    let (working, ended) = mpsc::channel();
    let (running, over) = mpsc::channel();
    let done = Churned { calls, channels: 6, before: before.all(), ..Churned::default() };
    let churned = thread::scope(|scope| {
        let churn_rng = rng.fork();
        let (fleet, sources) = (&mut fleet, &mut sources);
        let churn = Churn { runtime: &runtime, load: &load, fleet, sources, rng: churn_rng, done };
        let churning = scope.spawn(move || churn.run(&over));
        for _ in 0..callers {
            hedge_net::Spawn::spawn(&runtime, Arc::clone(&load).call(rng.fork(), working.clone()));
        }
        drop(working);
        // The channel closes when the last caller has ended.
        let _ = ended.recv();
        drop(running);
        churning.join()
    });
    let took = start.elapsed();
    let mut churned = churned.map_err(|_| "the churn panicked")??;
    churned.took = took;
    churned.attempts = load.attempts.load(Ordering::Relaxed);
    churned.failures = std::mem::take(&mut *load.failures.lock().unwrap_or_else(PoisonError::into_inner));
    churned.during = Left::now(&runtime)?;
    let [.., etcd] = &sources;
    let during = etcd.watchers()?;
    drop(load);
    churned.left = before.left(&runtime)?;
    churned.watchers = [during, watchers_left(etcd)?];
    Ok(churned)
}

/// Waits until no watcher is left, at most 5 s. Returns how many are left then.
fn watchers_left(source: &Source) -> Result<u64, Box<dyn Error>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let watchers = source.watchers()?;
        if watchers == 0 || Instant::now() >= deadline {
            return Ok(watchers);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Makes a channel of a run. A call has up to three retries, so it can find three servers dead.
fn build<R: Runtime>(
    runtime: &Counting<R>,
    source: &Source,
    port: u16,
    seed: u64,
) -> Result<CountedChannel<R>, Box<dyn Error>> {
    let builder = Channel::<_, Http<_>>::builder(runtime.clone(), source.url(port))
        .schemes(source.sources(runtime).schemes())
        .load_balancer("p2c")
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .max_retry(3)
        .backup(BACKUP)
        .limits(LimitOptions::NONE)
        .health_checks(CHECKS)
        .seed(seed);
    Ok(builder.build()?)
}

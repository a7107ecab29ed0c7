//! What a request over a socket costs the thread that makes it: processor time and allocations, beside bare hyper and
//! other clients, in one run.
//!
//! The server and the clients run on a thread each, and on a processor of its own where there are two. What is measured
//! is the time for which the client's thread runs, not what it waits for: the server's work is not in it.
//!
//! # What a call costs in addition to bare hyper
//! A request over HTTP/1.1, with 64 callers and a backup armed, built without link-time optimization, takes 29,782
//! instructions. Bare hyper takes 18,902, and hyper-util's client takes 31,604. Each task is polled as often as with
//! bare hyper, and there are as many system calls. In processor time on an idle machine these are 1.21 of bare hyper's,
//! and hyper-util's client takes 1.20.
//!
//! | what | instructions |
//! |---|---|
//! | answers are checked before hyper sees them; their heads are parsed once more (1,200) | 2,030 |
//! | the attempt's own copy of the head, since a backup may need the caller's | 1,990 |
//! | requests, replies and futures are copied from one place to the next | 1,930 |
//! | the core's decisions | 1,090 |
//! | the timer of deadline and backup: made, set and dropped in tokio's wheel | 640 |
//! | the pool: look-up, taking a connection, giving it back | 550 |
//! | three readings of the clock; fewer instructions where it needs no system call | 330 |
//! | the rest: driver, report, counters, futures | 2,320 |

mod clients;
pub(crate) mod instructions;
mod server;

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

use crate::harness::Target::AtMost;
use crate::harness::{Contender, Effort, measure};
use crate::table::table;

use self::clients::{Caller, bare, bare_http2, hedged, hyper_util, reqwest};

/// How many callers there are at once, for each section.
const CALLERS: [u32; 2] = [1, 64];
/// How many requests all callers make in one batch.
const REQUESTS: u32 = 64 * 32;
/// When a backup is sent. No answer takes so long.
const BACKUP: Duration = Duration::from_secs(1);

/// The version of HTTP of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    Http1,
    /// In clear text, and the client knows before that the server speaks it.
    Http2,
}

impl Version {
    const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|version| version.name() == name).ok_or_else(|| format!("no version {name}"))
    }
}

/// A row of each section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Client {
    Bare,
    HyperUtil,
    Reqwest,
    /// hedge, and no backup.
    Plain,
    /// hedge, and a backup that is never sent.
    Armed,
}

/// Makes so many requests. Answers whether each went as it should.
type Batch<'a> = Box<dyn FnMut(u32) -> bool + 'a>;

impl Client {
    const ALL: [Self; 5] = [Self::Bare, Self::HyperUtil, Self::Reqwest, Self::Plain, Self::Armed];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::HyperUtil => "hyper-util's client",
            Self::Reqwest => "reqwest",
            Self::Plain => "hedge, no backup",
            Self::Armed => "hedge, a backup armed",
        }
    }

    /// Batches in which `callers` tasks make requests.
    fn batch(self, to: SocketAddr, version: Version, runtime: &Runtime, callers: u32) -> Result<Batch<'_>, String> {
        match (self, version) {
            (Self::Bare, Version::Http1) => batch(runtime, callers, || runtime.block_on(bare(to))),
            (Self::Bare, Version::Http2) => {
                let shared = runtime.block_on(bare_http2(to))?;
                batch(runtime, callers, || Ok(shared.clone()))
            }
            (Self::HyperUtil, _) => batch(runtime, callers, hyper_util(to, version)),
            (Self::Reqwest, _) => batch(runtime, callers, reqwest(to, version)?),
            (Self::Plain, _) => batch(runtime, callers, hedged(to, version, None)?),
            (Self::Armed, _) => batch(runtime, callers, hedged(to, version, Some(BACKUP))?),
        }
    }
}

impl FromStr for Client {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|client| client.name() == name).ok_or_else(|| format!("no client {name}"))
    }
}

/// Measures and prints everything; answers whether no target was missed.
pub(crate) fn run(quick: bool) -> Result<bool, String> {
    let runtime = client_runtime()?;
    let rounds = if quick { 15 } else { 101 };

    let mut fine = true;
    for version in Version::ALL {
        let server = server::start(version).map_err(|error| format!("server: {error}"))?;
        for callers in CALLERS {
            let title = format!("{} over loopback, {callers} at once; the client thread's own time", version.name());
            let rows = Client::ALL.into_iter().map(|client| contender(client, server, version, &runtime, callers));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let names = rows.iter().map(|row| row.name).collect();
            let measured = measure(rows, Effort { batch: Duration::ZERO, rounds })?;
            let (text, met) = table(&[(&title, names)], &measured);
            println!("{text}");
            fine &= met;
        }
    }
    println!(
        "medians of {rounds} batches of {REQUESTS} requests, all rows in turn; ± and ratio as in the other sections"
    );
    Ok(fine)
}

/// The runtime of the clients, on this thread.
fn client_runtime() -> Result<Runtime, String> {
    keep_to(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("tokio: {error}"))
}

/// A row, whose time is that of this thread.
fn contender(
    client: Client,
    server: SocketAddr,
    version: Version,
    runtime: &Runtime,
    callers: u32,
) -> Result<Contender<'_>, String> {
    let mut batch = client.batch(server, version, runtime, callers)?;
    let timed = move |requests: u32| {
        let before = thread_time();
        let fine = batch(requests);
        (fine, thread_time().saturating_sub(before))
    };
    let floor = Client::Bare.name();
    let row = Contender::batched(client.name(), floor, timed).of(REQUESTS);
    Ok(match client {
        Client::Armed => row.target(AtMost(1.1, floor)).target(AtMost(1.0, Client::HyperUtil.name())),
        _ => row,
    })
}

/// Batches in which `callers` tasks, each with a client that `make` makes, make requests.
fn batch<'a, C: Caller>(
    runtime: &'a Runtime,
    callers: u32,
    mut make: impl FnMut() -> Result<C, String>,
) -> Result<Batch<'a>, String> {
    let mut all = (0..callers).map(|_| make()).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |requests| {
        runtime.block_on(async {
            let run = |mut caller: C| async move {
                let mut fine = true;
                for _ in 0..requests / callers {
                    fine &= caller.call().await;
                }
                (caller, fine)
            };
            let tasks: Vec<_> = all.drain(..).map(|caller| tokio::spawn(run(caller))).collect();
            let mut fine = true;
            for task in tasks {
                let Ok((caller, is_fine)) = task.await else { return false };
                all.push(caller);
                fine &= is_fine;
            }
            fine
        })
    }))
}

/// For how long this thread has run.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Keeps this thread to one processor, if there is such a one.
fn keep_to(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    // Without it the measurement is noisier, not wrong.
    let _ = sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_its_answers() {
        let runtime = client_runtime().unwrap();
        for version in Version::ALL {
            let server = server::start(version).unwrap();
            for callers in CALLERS {
                for client in Client::ALL {
                    let mut batch = client.batch(server, version, &runtime, callers).unwrap();
                    assert!(batch(2 * callers), "{client:?} over {}, {callers} at once", version.name());
                }
            }
        }
    }
}

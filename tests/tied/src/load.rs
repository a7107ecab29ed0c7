//! The calls of a run: [`run`].

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hedge_core::limit::LimitOptions;
use hedge_net::http::AlongHeaders;
use hedge_net::{CallOptions, Protocol};
use hedge_tokio::Channel;
use hedge_tower::tied::TiedCounters;
use http::StatusCode;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::fleet::{Fleet, SERVERS, list};

/// How many clients there are, each with its own connections. A client resets at most 20 streams a second on a connection
/// ([C2](hedge_core::rules#C2)), so one client alone could not cancel all losers.
const CLIENTS: u64 = 16;
/// How long a call may take, so that a busy machine fails none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How calls come, and what the servers do.
pub(crate) struct Plan {
    /// The share of the time at which a server is busy without backups.
    pub(crate) load: f64,
    /// How long a server works on a request.
    pub(crate) work: Duration,
    /// After how long a backup is sent.
    pub(crate) delay: Duration,
    /// For how long calls come.
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
}

/// What is done after the delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hedging {
    Off,
    Backup,
    Tied,
}

/// The results of a run.
pub(crate) struct Row {
    hedging: Hedging,
    /// The latencies of the calls that were answered, in ascending order.
    latencies_ms: Vec<f64>,
    failures: Vec<String>,
    calls: u64,
    counters: TiedCounters,
    /// The share of the time at which the servers were busy.
    busy: f64,
}

/// Makes calls at random times. They do not wait for each other.
pub(crate) fn run(runtime: &Runtime, fleet: &Fleet, hedging: Hedging, plan: &Plan) -> Result<Row, Box<dyn Error>> {
    let _entered = runtime.enter();
    let clients = (0..CLIENTS).map(|n| client(fleet, hedging, plan, n)).collect::<Result<Vec<_>, _>>()?;
    runtime.block_on(connect(fleet, &clients))?;
    let (before, busy_before, start) = (fleet.counters(), fleet.busy_seconds(), Instant::now());
    let (results, mut all) = mpsc::unbounded_channel();
    let (mut latencies_ms, mut failures) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        // The thread owns `results`, so that the channel of results ends after the last call.
        let clients = &clients;
        scope.spawn(move || arrivals(runtime.handle(), clients, plan, &results));
        runtime.block_on(async {
            while let Some(result) = all.recv().await {
                match result {
                    Ok(latency) => latencies_ms.push(latency),
                    Err(failure) => failures.push(failure),
                }
            }
        });
    });
    latencies_ms.sort_unstable_by(f64::total_cmp);
    let busy = (fleet.busy_seconds() - busy_before) / start.elapsed().as_secs_f64() / SERVERS as f64;
    let mut counters = fleet.counters();
    for (now, then) in [
        (&mut counters.begun, before.begun),
        (&mut counters.dropped, before.dropped),
        (&mut counters.full, before.full),
        (&mut counters.told, before.told),
        (&mut counters.unanswered, before.unanswered),
        (&mut counters.refused, before.refused),
    ] {
        *now -= then;
    }
    let calls = (latencies_ms.len() + failures.len()) as u64;
    Ok(Row { hedging, latencies_ms, failures, calls, counters, busy })
}

/// The latency of a call in ms, or why it failed.
type Outcome = Result<f64, String>;

/// Starts the calls when they are due. A thread of its own sleeps more exactly than the runtime's timer.
fn arrivals(runtime: &Handle, clients: &[Channel], plan: &Plan, results: &UnboundedSender<Outcome>) {
    let mut random = Rng::with_seed(plan.seed);
    let every = plan.work.as_secs_f64() / (plan.load * SERVERS as f64);
    let (start, mut at) = (Instant::now(), 0.0);
    while at < plan.seconds {
        at -= every * (1.0 - random.f64()).ln();
        let due = start + Duration::from_secs_f64(at);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let Some(channel) = random.choice(clients).cloned() else { return };
        let results = results.clone();
        runtime.spawn(async move {
            let result = match channel.get("/").await {
                Ok(reply) if reply.status() == StatusCode::OK => Ok(due.elapsed().as_secs_f64() * 1e3),
                Ok(reply) => Err(format!("status {}", reply.status())),
                Err(error) => Err(error.to_string()),
            };
            // The receiver lives until all calls have ended.
            let _ = results.send(result);
        });
    }
}

fn client(fleet: &Fleet, hedging: Hedging, plan: &Plan, n: u64) -> Result<Channel, Box<dyn Error>> {
    let mut builder = hedge_tokio::builder(list(&fleet.addresses))
        .protocol(Protocol::H2)
        .connection_group(&format!("client {n}"))
        .load_balancer("random")
        .limits(LimitOptions::NONE)
        .seed(plan.seed ^ n)
        .timeout(TIMEOUT);
    if hedging != Hedging::Off {
        builder = builder.backup(plan.delay);
    }
    if hedging == Hedging::Tied {
        builder = builder.along(AlongHeaders::tied());
    }
    Ok(builder.build()?)
}

/// Connects each client to each server.
async fn connect(fleet: &Fleet, clients: &[Channel]) -> Result<(), Box<dyn Error>> {
    for client in clients {
        for address in &fleet.addresses {
            let options = CallOptions { servers: Some(vec![(*address).into()]), ..CallOptions::new() };
            client.get("/").options(options).await?;
        }
    }
    Ok(())
}

impl Row {
    pub(crate) const HEAD: &str =
        "run             calls failed   load  p50 ms  p99 ms p99.9 ms    begun extra work  dropped messages unanswered";

    pub(crate) const fn name(&self) -> &'static str {
        match self.hedging {
            Hedging::Off => "no backup",
            Hedging::Backup => "plain backup",
            Hedging::Tied => "tied backup",
        }
    }

    /// The extra work: how many more requests than calls were worked on, as a share of the calls.
    pub(crate) fn extra(&self) -> f64 {
        self.counters.begun as f64 / self.calls as f64 - 1.0
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.percentile_ms(0.99)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among the latencies")]
    fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (self.latencies_ms.len() as f64 * share).ceil() as usize;
        self.latencies_ms.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    /// What must not happen, even on a busy machine.
    pub(crate) fn faults(&self) -> Vec<String> {
        let TiedCounters { begun, dropped, full, refused, .. } = self.counters;
        let mut faults: Vec<String> =
            self.failures.iter().take(3).map(|failure| format!("a call failed: {failure}")).collect();
        if begun < self.calls {
            faults.push(format!("{begun} copies have begun, of {} calls", self.calls));
        }
        if self.hedging != Hedging::Tied && dropped > 0 {
            faults.push(format!("{dropped} copies were dropped without a tie"));
        }
        if self.hedging == Hedging::Tied && dropped == 0 {
            faults.push("no copy was dropped".into());
        }
        if (full, refused) != (0, 0) {
            faults.push(format!("{full} requests and {refused} messages were refused"));
        }
        faults
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| self.percentile_ms(share));
        let TiedCounters { begun, dropped, told, unanswered, .. } = self.counters;
        write!(
            f,
            "{:<14} {:>6} {:>6} {:>4.0} % {p50:>7.1} {p99:>7.1} {p999:>8.1} {begun:>8} {:>8.1} % {dropped:>8} {told:>8} {unanswered:>10}",
            self.name(),
            self.calls,
            self.failures.len(),
            100.0 * self.busy,
            100.0 * self.extra(),
        )
    }
}

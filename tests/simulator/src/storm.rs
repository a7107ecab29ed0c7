//! Worlds made at random: any options, any faults, servers that come and go, callers that cancel and drop.

use std::collections::BTreeMap;
use std::fmt;

use hedge_core::balance::AnyBalancer;
use hedge_core::id::ServerId;
use hedge_core::outcome::{NotHedged, State};
use hedge_core::policy::{
    Backoff, BackupDelay, BackupPolicy, CallKind, CallOptions, ChannelOptions, Idempotency, OnEarlyFailure, RetryTarget,
};
use hedge_core::time::{Duration, Instant, Timeout};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::{Broken, CallPlan, Change, Faults, Latency, Line, Outcome, ServerModel, SimPolicy, World};

/// Calls of one world.
const CALLS: usize = 100;
/// What `crate::ATTEMPTS` holds besides the first.
const MOST_RETRIES: u8 = 7;

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
}

impl Coverage {
    /// Everything that must have happened at least once in a storm that is worth its name.
    #[must_use]
    pub fn wanted() -> Vec<String> {
        let ends = ["Accepted", "Failed", "Fatal", "Deadline", "Cancelled", "NoServer", "AllDown", "dropped"];
        let states = ["Finished(Accept)", "Finished(Retry)", "Finished(Wait)", "Finished(Fatal)", "Abandoned"];
        let reasons = [
            "Disabled",
            "NotHedgeable",
            "NotIdempotent",
            "DelayPastDeadline",
            "NoAttemptLeft",
            "NoOtherServer",
            "Denied(Policy)",
            "Denied(Ratio)",
            "Denied(Tokens)",
            "Denied(Budget)",
            "FinishedFirst",
            "sent",
        ];
        let group = |name: &str, of: &[&str]| of.iter().map(|it| format!("{name} {it}")).collect::<Vec<_>>();
        [
            group("end", &ends),
            group("attempt", &states),
            group("kind", &["First", "Retry", "Backup"]),
            group("backup", &reasons),
        ]
        .concat()
    }

    /// What should have happened and did not.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        Self::wanted().into_iter().filter(|name| !self.counts.contains_key(name)).collect()
    }

    /// How many calls were counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.counts.iter().filter(|(name, _)| name.starts_with("end ")).map(|(_, count)| count).sum()
    }

    fn count(&mut self, outcome: &Outcome) {
        let report = outcome.report();
        let mut add = |name: String| *self.counts.entry(name).or_default() += 1;
        match (outcome, report.end()) {
            (Outcome::Ended(_), Some(end)) => add(format!("end {end:?}")),
            _ => add("end dropped".into()),
        }
        for attempt in report.attempts() {
            if attempt.state() != State::InFlight {
                add(format!("attempt {:?}", attempt.state()));
            }
            add(format!("kind {:?}", attempt.kind()));
        }
        match report.not_hedged() {
            None => add("backup sent".into()),
            Some(NotHedged::Denied(denial)) => add(format!("backup Denied({denial:?})")),
            Some(reason) => add(format!("backup {reason:?}")),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(name, count)| writeln!(f, "{count:>10}  {name}"))
    }
}

/// A world that broke a promise, and the seed that makes it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenWorld {
    /// The seed for [`world`].
    pub seed: u64,
    /// What it broke.
    pub broken: Broken,
}

impl fmt::Display for BrokenWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "world {}: {}", self.seed, self.broken)
    }
}

impl std::error::Error for BrokenWorld {}

/// Runs at least `calls` calls in worlds that follow from `seed`; every hundredth world is run twice and compared.
///
/// # Errors
/// The first world that broke a promise.
pub fn storm(calls: u64, seed: u64) -> Result<Coverage, BrokenWorld> {
    let mut coverage = Coverage::default();
    let mut seeds = SmallRng::seed_from_u64(seed);
    for number in 0.. {
        if coverage.calls() >= calls {
            break;
        }
        let seed = seeds.random();
        let logged = number % 100 == 0;
        let run = || world(seed, logged).map_err(|broken| BrokenWorld { seed, broken });
        let (outcomes, log) = run()?;
        outcomes.iter().for_each(|outcome| coverage.count(outcome));
        if logged && run()?.1 != log {
            let what = "two runs from one seed differ".into();
            return Err(BrokenWorld { seed, broken: Broken { call: 0, at: Instant::ZERO, what } });
        }
    }
    Ok(coverage)
}

/// Tags are any numbers here.
const BALANCERS: &[&str] = &[
    "rr",
    "wrr:default_weight=3",
    "random",
    "wr:default_weight=3",
    "la",
    "p2c",
    "p2c:choices=4 tau_ms=100",
    "prequal",
    "c_murmurhash",
    "c_md5:replicas=7",
    "c_ketama:replicas=40",
];

/// One world of a hundred calls; answers what became of them, and every decision if `logged`.
///
/// # Errors
/// The first broken promise.
pub fn world(seed: u64, logged: bool) -> Result<(Vec<Outcome>, Option<crate::Log>), Broken> {
    let rng = &mut SmallRng::seed_from_u64(seed);
    let setup = |what: String| Broken { call: 0, at: Instant::ZERO, what };
    let own_delay = maybe(rng, 0.3, delay);
    let policy = SimPolicy::new(own_delay, pick(rng, &[0, 0, 20, 60, 100]));
    let balancer = AnyBalancer::named(pick(rng, BALANCERS), rng.random()).map_err(|e| setup(e.to_string()))?;
    let line = Line::new(channel_options(rng), balancer, policy, rng.random());

    let addresses = pick(rng, &[0u16, 1, 1, 2, 2, 3, 3, 4, 6, 9]);
    for address in 0..addresses {
        for tag in 0..pick(rng, &[1, 1, 1, 2]) {
            line.apply(Change::Insert(address, tag), Instant::ZERO);
        }
    }
    let all_down = rng.random_bool(0.05);
    if all_down {
        for (address, tag) in (0..addresses).flat_map(|address| [(address, 0), (address, 1)]) {
            line.apply(Change::Usable(address, tag, false), Instant::ZERO);
        }
    }
    let servers = (0..addresses.max(1)).map(|_| server(rng)).collect();
    let changes = if all_down { Vec::new() } else { changes(rng, addresses) };

    let own_policy = SimPolicy::new(None, 30);
    let named: Vec<ServerId> = (0..pick(rng, &[1, 2, 3])).map(|slot| ServerId::new(slot, 0)).collect();
    let options: Vec<CallOptions<'_>> = (0..12).map(|_| call_options(rng, &own_policy, &named)).collect();
    let mut start = Instant::ZERO;
    let plans: Vec<CallPlan<'_>> = (0..CALLS)
        .map(|_| {
            start = start + Duration::from_micros(rng.random_range(0..20_000));
            call_plan(rng, start, &options)
        })
        .collect();
    let world = World::new(&line, servers, rng.random());
    let world = if logged { world.logged() } else { world };
    let (outcomes, log) = world.run(&plans, &changes)?;
    let told = line.told() + own_policy.told();
    if told as usize != outcomes.len() {
        return Err(setup(format!("B2: {} calls were polled, {told} endings told", outcomes.len())));
    }
    Ok((outcomes, log))
}

fn pick<T: Copy>(rng: &mut SmallRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

/// `usual`, or one time in eight `rare`.
fn unless_rare<T>(rng: &mut SmallRng, usual: T, rare: T) -> T {
    if rng.random_bool(0.125) { rare } else { usual }
}

fn maybe<T>(rng: &mut SmallRng, probability: f64, make: impl FnOnce(&mut SmallRng) -> T) -> Option<T> {
    rng.random_bool(probability).then(|| make(rng))
}

/// Mostly whole milliseconds, so that things fall on the same instant.
fn span(rng: &mut SmallRng, most: u64) -> Duration {
    if rng.random_bool(0.8) {
        Duration::from_millis(rng.random_range(0..=most))
    } else {
        Duration::from_micros(rng.random_range(0..=most * 1_000))
    }
}

fn delay(rng: &mut SmallRng) -> BackupDelay {
    if rng.random_bool(0.2) { BackupDelay::OFF } else { BackupDelay::after(span(rng, 60)) }
}

fn backoff(rng: &mut SmallRng) -> Backoff {
    let (one, other) = (span(rng, 40), span(rng, 40));
    let (min, max) = (one.min(other), one.max(other));
    match rng.random_range(0..5) {
        0 => Backoff::fixed(one),
        1 => Backoff::jittered(min, max).unwrap_or_default(),
        2 => Backoff::exponential(min, rng.random_range(1_000..4_000), max).unwrap_or_default(),
        _ => Backoff::OFF,
    }
}

fn channel_options(rng: &mut SmallRng) -> ChannelOptions {
    ChannelOptions {
        timeout: Timeout::after(span(rng, 200)),
        connect_timeout: if rng.random_bool(0.5) { Timeout::NEVER } else { span(rng, 100).into() },
        max_retry: rng.random_range(0..=MOST_RETRIES),
        backup: delay(rng),
        max_backups: pick(rng, &[0, 1, 1, 1, 2, 3]),
        backoff: backoff(rng),
        no_backoff_remaining: if rng.random_bool(0.2) { span(rng, 60) } else { Duration::ZERO },
        retry_target: if rng.random_bool(0.2) { RetryTarget::Same } else { RetryTarget::Another },
        same_server_backup: rng.random_bool(0.2),
        on_early_failure: if rng.random_bool(0.3) { OnEarlyFailure::Wait } else { OnEarlyFailure::StartNext },
        idempotency: unless_rare(rng, Idempotency::Unset, Idempotency::NotIdempotent),
        pushback_for_service: rng.random_bool(0.2),
    }
}

fn call_options<'o>(rng: &mut SmallRng, policy: &'o SimPolicy, named: &'o [ServerId]) -> CallOptions<'o> {
    let policy: &'o (dyn BackupPolicy + Sync) = policy;
    CallOptions {
        timeout: maybe(rng, 0.2, |rng| if rng.random_bool(0.2) { Timeout::NEVER } else { span(rng, 150).into() }),
        connect_timeout: maybe(rng, 0.1, |rng| span(rng, 20).into()),
        max_retry: maybe(rng, 0.2, |rng| rng.random_range(0..=MOST_RETRIES)),
        backup: maybe(rng, 0.3, delay),
        max_backups: maybe(rng, 0.1, |rng| rng.random_range(0..4)),
        backoff: maybe(rng, 0.2, backoff),
        retry_target: maybe(rng, 0.1, |rng| pick(rng, &[RetryTarget::Same, RetryTarget::Another])),
        idempotency: unless_rare(rng, Idempotency::Unset, Idempotency::NotIdempotent),
        kind: unless_rare(rng, CallKind::Unary, CallKind::OneWay),
        streaming: false,
        request_code: Some(rng.random()),
        backup_policy: rng.random_bool(0.1).then_some(policy),
        servers: rng.random_bool(0.1).then_some(named),
    }
}

fn call_plan<'o>(rng: &mut SmallRng, start: Instant, options: &'o [CallOptions<'o>]) -> CallPlan<'o> {
    let options = &options[rng.random_range(0..options.len())];
    let cancel_at = maybe(rng, 0.05, |rng| start + span(rng, 80));
    // Who sets no deadline must be ready to give up.
    let gives_up = if options.timeout == Some(Timeout::NEVER) { 1.0 } else { 0.05 };
    let drop_at = maybe(rng, gives_up, |rng| start + span(rng, 300));
    CallPlan { start, options, cancel_at, drop_at }
}

fn server(rng: &mut SmallRng) -> ServerModel {
    let base = match rng.random_range(0..4) {
        0 => Latency::Constant(span(rng, 50)),
        1 => Latency::Exponential(span(rng, 30)),
        2 => Latency::LogNormal(span(rng, 20), 0.5),
        _ => Latency::Scripted((0..5).map(|_| span(rng, 60)).collect()),
    };
    let latency = if rng.random_bool(0.3) {
        Latency::Stalling { base: Box::new(base), stall: span(rng, 100), probability: 0.05 }
    } else {
        base
    };
    let mut rate = |most: f64| if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..most) };
    let faults = Faults {
        retry: rate(0.4),
        refused: rate(0.2),
        internal: rate(0.1),
        fatal: rate(0.05),
        silent: rate(0.1),
        pushback: rate(0.5),
    };
    ServerModel::new(latency, faults, pick(rng, &[0, 0, 1, 4]))
}

/// What happens to the list in the two seconds of a world.
fn changes(rng: &mut SmallRng, addresses: u16) -> Vec<(Instant, Change)> {
    if addresses == 0 || rng.random_bool(0.5) {
        return Vec::new();
    }
    let count = rng.random_range(1..20);
    let change = |rng: &mut SmallRng| {
        let (address, tag) = (rng.random_range(0..addresses), pick(rng, &[0, 0, 0, 1]));
        match rng.random_range(0..4) {
            0 => Change::Remove(address, tag),
            1 => Change::Usable(address, tag, false),
            2 => Change::Usable(address, tag, true),
            _ => Change::Insert(address, tag),
        }
    };
    (0..count).map(|_| (Instant::ZERO + span(rng, 1_000), change(rng))).collect()
}

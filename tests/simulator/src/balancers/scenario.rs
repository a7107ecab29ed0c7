//! Fleets and what happens to them.

use hedge_core::health::BreakerOptions;
use hedge_core::policy::{BackupDelay, ChannelOptions};
use hedge_core::time::Duration;

use super::{Condition, Service, WORKERS};
use crate::Latency;

/// How many servers there are.
pub const SERVERS: u16 = 10;

/// How much work a request is on average.
const WORK: Duration = Duration::from_millis(10);

/// How many different keys calls have, where nothing else is said.
const KEYS: usize = 10_000;

/// The server that something is wrong with, where it is one.
const ODD: u16 = 3;

/// How the keys of calls follow each other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Keys {
    /// So many, all alike.
    Uniform(usize),
    /// So many, the most popular one first, the n-th n^-exponent times as popular.
    Zipf(usize, f64),
    /// So many, one after the other, and again.
    InTurn(usize),
}

impl Keys {
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        let (Self::Uniform(count) | Self::Zipf(count, _) | Self::InTurn(count)) = self;
        count
    }
}

/// How calls follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrivals {
    /// As a Poisson process.
    Poisson,
    /// Evenly.
    Even,
    /// By so many callers, each of whom calls again as soon as the last call has ended.
    InRow(usize),
}

/// One change of a server's condition.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// So long after the warm-up.
    pub after: Duration,
    /// Which server.
    pub server: u16,
    /// How it is from then on.
    pub condition: Condition,
}

/// A fleet, its load and what happens to it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// How many times as long as others each server takes.
    pub paces: Vec<f64>,
    /// What its tag says that it weighs.
    pub weights: Vec<u16>,
    /// What a request costs.
    pub service: Service,
    /// How many calls arrive in a second, on average.
    pub per_second: f64,
    /// How they follow each other.
    pub arrivals: Arrivals,
    /// What their keys are.
    pub keys: Keys,
    /// How many channels there are that know nothing of each other; each call is made on one of them, by chance.
    pub clients: usize,
    /// How long it runs before it is measured and anything happens.
    pub warm_up: Duration,
    /// What happens.
    pub steps: Vec<Step>,
    /// After so long it happens again.
    pub again: Option<Duration>,
    /// The options of the channels.
    pub options: ChannelOptions,
    /// The breaker that the servers are under.
    pub breaker: Option<BreakerOptions>,
    /// How long the body of each client's first call takes, whose answer's head comes as soon as others' answers: a stream
    /// among calls that are none.
    pub stream: Option<Duration>,
}

impl Scenario {
    /// Ten servers that are all alike, and calls that keep them busy for `load` of the time.
    #[must_use]
    pub fn alike(name: &'static str, load: f64) -> Self {
        Self {
            name,
            paces: vec![1.0; SERVERS.into()],
            weights: vec![1; SERVERS.into()],
            service: Service::Plain(Latency::Exponential(WORK)),
            per_second: load * capacity(),
            arrivals: Arrivals::Poisson,
            keys: Keys::Uniform(KEYS),
            clients: 1,
            warm_up: Duration::from_secs(5),
            steps: Vec::new(),
            again: None,
            options: ChannelOptions::brpc(),
            breaker: None,
            stream: None,
        }
    }

    /// Those of the table, in its order.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let slow = Condition::Slow(10.0);
        vec![
            Self::alike("ten alike, load 0.3", 0.3),
            Self::alike("ten alike, load 0.7", 0.7),
            Self::alike("ten alike, load 0.9", 0.9),
            Self::alike("ten alike, load 1.0", 1.0),
            Self::alike("ten alike, load 1.1", 1.1),
            Self::two_speeds("five half as fast, weighed 2 to 1, load 0.7", [2, 1]),
            Self::two_speeds("five half as fast, weighed 1 to 2, load 0.7", [1, 2]),
            Self::alike("one ten times slower, load 0.5", 0.5).with(slow),
            Self::alike("one fails in 1 ms, load 0.5", 0.5).with(Condition::Failing),
            Self::alike("one frozen, load 0.5", 0.5).with(Condition::Frozen),
            Self::alike("one answers wrongly in 1 ms, load 0.5", 0.5).with(Condition::Wrong),
            Self::rolling_restart("each in turn down for 2 s and cold for 1 s, load 0.6"),
            Self::one_more_and_one_less("an eleventh comes and goes, load 0.5"),
            Self::caches("caches: 1 ms for a key seen lately, 10 ms for another"),
            Self { clients: 10, ..Self::alike("10 clients, ten alike, load 0.9", 0.9) },
            Self { clients: 100, ..Self::alike("100 clients, ten alike, load 0.9", 0.9) },
            Self { clients: 1_000, ..Self::alike("1000 clients, ten alike, load 0.9", 0.9) },
            Self { clients: 100, ..Self::alike("100 clients, one ten times slower, load 0.5", 0.5).with(slow) },
            Self::now_this_now_that("20 calls/s, now this one ten times slower, now that"),
            Self::alike("one ten times slower, load 0.5, backup after 50 ms", 0.5).with(slow).backed_up(),
            Self::alike("one frozen, load 0.5, backup after 50 ms", 0.5).with(Condition::Frozen).backed_up(),
        ]
    }

    /// The same with one server in this condition.
    #[must_use]
    pub fn with(mut self, condition: Condition) -> Self {
        self.steps.push(Step { after: Duration::ZERO, server: ODD, condition });
        self
    }

    /// The same with the first server in this condition.
    #[must_use]
    pub(super) fn with_first(mut self, condition: Condition) -> Self {
        self.steps.push(Step { after: Duration::ZERO, server: 0, condition });
        self
    }

    /// The same until so long after the warm-up, and well from then on.
    #[must_use]
    pub fn until(mut self, after: Duration) -> Self {
        let recovered: Vec<_> =
            self.steps.iter().map(|step| Step { after, condition: Condition::Well, ..*step }).collect();
        self.steps.extend(recovered);
        self
    }

    fn backed_up(mut self) -> Self {
        self.options.backup = BackupDelay::after(Duration::from_millis(50));
        self
    }

    /// The first five are fast.
    fn two_speeds(name: &'static str, weights: [u16; 2]) -> Self {
        let each = |server: u16| usize::from(server >= SERVERS / 2);
        let paces: Vec<f64> = (0..SERVERS).map(|server| [1.0, 2.0][each(server)]).collect();
        let weights = (0..SERVERS).map(|server| weights[each(server)]).collect();
        // 7.5 servers' worth.
        Self { paces, weights, ..Self::alike(name, 0.7 * 0.75) }
    }

    fn rolling_restart(name: &'static str) -> Self {
        let secs = Duration::from_secs;
        let steps = (0..).zip(0..SERVERS).flat_map(|(turn, server)| {
            [(0, Condition::Down), (2, Condition::Slow(5.0)), (3, Condition::Well)].map(|(after, condition)| Step {
                after: secs(4 * turn + after),
                server,
                condition,
            })
        });
        let again = Some(secs(4 * u64::from(SERVERS)));
        Self { steps: steps.collect(), again, ..Self::alike(name, 0.6) }
    }

    /// Each key is called once between two changes of the list.
    fn one_more_and_one_less(name: &'static str) -> Self {
        let mut scenario = Self { arrivals: Arrivals::Even, ..Self::alike(name, 0.5) };
        let half = scenario.warm_up;
        scenario.again = Some(half + half);
        // 2,000 calls a second.
        scenario.keys = Keys::InTurn(10_000);
        scenario.paces.push(1.0);
        scenario.weights.push(1);
        let step = |after, condition| Step { after, server: SERVERS, condition };
        scenario.steps = vec![step(Duration::ZERO, Condition::Well), step(half, Condition::Absent)];
        scenario
    }

    fn caches(name: &'static str) -> Self {
        let of = |ms| Latency::Exponential(Duration::from_millis(ms));
        let service = Service::Cached { hit: of(1), miss: of(10), keeps: 5_000 };
        let keys = Keys::Zipf(20_000, 0.8);
        Self { service, keys, per_second: 6_000.0, ..Self::alike(name, 0.0) }
    }

    fn now_this_now_that(name: &'static str) -> Self {
        let after = |turn: u64| Duration::from_secs(10 * turn);
        // Neighbours in time are none in the list.
        let servers = (0..SERVERS).map(|turn| turn * 3 % SERVERS);
        let steps = (0..).zip(servers.clone().zip(servers.cycle().skip(1))).flat_map(|(turn, (last, server))| {
            let well = Step { after: after(turn), server: last, condition: Condition::Well };
            [well, Step { server, condition: Condition::Slow(10.0), ..well }]
        });
        let (steps, again) = (steps.collect(), Some(after(SERVERS.into())));
        Self { steps, again, per_second: 20.0, ..Self::alike(name, 0.0) }
    }
}

/// How many requests a second ten servers that are alike can serve.
fn capacity() -> f64 {
    f64::from(SERVERS) * WORKERS as f64 * 1e6 / WORK.as_micros() as f64
}

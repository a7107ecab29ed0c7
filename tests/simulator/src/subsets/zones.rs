//! Latencies around the failure of a zone: [`zone_down`].

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::Write as _;

use hedge_core::balance::grouped::{Grouped, Grouping, LocalityOptions, SubsetOptions, SubsetSize};
use hedge_core::balance::{AnyBalancer, AnyStats, Balancer, Heap, RandomChoice, Selection, ServerList, select};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::time::{Instant, Timeout};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp};

use super::{Seen, ZONES};

/// What is found around the failure of a zone. The three phases are before the failure, during it, and after it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ZoneDown {
    /// By phase: the share of the calls that go to another zone than their client's.
    pub away: [f64; 3],
    /// By phase: the 99th percentile of the latencies, in ms.
    pub p99: [f64; 3],
    /// The largest number of servers to which a client has sent calls.
    pub connections: usize,
}

impl ZoneDown {
    /// Writes a row of the table of `BALANCERS.md`.
    pub(super) fn write(&self, text: &mut String, name: &str) -> Option<()> {
        let Self { away: [before, during, after], p99, connections } = self;
        let [before, during, after] = [before, during, after].map(|share| share * 100.0);
        write!(text, "| {name} | {connections} | {before:.0} %, {during:.0} %, {after:.0} % |").ok()?;
        p99.iter().try_for_each(|p99| write!(text, " {p99:.0} |")).ok()?;
        text.push('\n');
        Some(())
    }
}

/// The model: servers in three zones with four workers each, exponential work of 10 ms, and 5 ms more for a call to
/// another zone. The load is half of the capacity. During the second of three phases, the servers of the first zone are
/// down, and all clients know it. The first fifth of a phase is not measured.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// How many clients there are, a third in each zone.
    pub clients: u32,
    /// How many servers there are, a third in each zone.
    pub servers: u32,
    /// The length of a phase, in microseconds.
    pub phase_us: u64,
    /// The seed of all random numbers.
    pub seed: u64,
}

/// Which servers the balancer of a client sees. A fleet of 10,000 clients that see 10,000 servers each would need too
/// much memory here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sees {
    /// All servers.
    All,
    /// Only those that a `subset` of this size uses, without its reserve.
    Subset(u32),
    /// Only those that a `subset` of this size behind `locality` uses, without its reserves.
    SubsetOfZones(u32),
}

impl Sees {
    /// Returns the list of a client.
    fn list(self, all: &Seen<()>, client: u32, stats: impl Fn() -> AnyStats<Heap>) -> Option<Seen<AnyStats<Heap>>> {
        let (size, zone) = match self {
            Self::All => return Some(all.only(0..all.len(), stats)),
            Self::Subset(size) => (size, None),
            Self::SubsetOfZones(size) => (size, Some(zone_of(client).parse().ok()?)),
        };
        let locality = zone.map(|zone| LocalityOptions { zone: Some(zone) });
        let subset = Some(SubsetOptions { size: SubsetSize::new(size).ok()?, id: Some(client) });
        let mut grouped = Grouped::<_, Heap>::new(Grouping { locality, subset }, RandomChoice, 0);
        grouped.arrange(all).ok()?;
        let used: BTreeSet<usize> = grouped.used().collect();
        Some(all.only(used.into_iter(), stats))
    }
}

const WORKERS: usize = 4;
const WORK_US: f64 = 10_000.0;
const FAR_US: u64 = 5_000;

fn zone_of(client: u32) -> &'static str {
    ZONES[client as usize % ZONES.len()].trim_start_matches("zone=")
}

/// A client: its balancer, its servers, and the numbers of the servers that it has used.
struct Client {
    balancer: AnyBalancer<Heap>,
    list: Seen<AnyStats<Heap>>,
    used: BTreeSet<u32>,
}

impl Client {
    /// Chooses the server of a call, and starts the call there. Returns the server's slot and its number.
    fn start(&mut self, at: u64, rng: &mut SmallRng) -> Option<(u16, u32)> {
        let Self { balancer, list, used } = self;
        let now = Instant::from_micros(at);
        let selection =
            Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now };
        let pick = select(&*list, balancer, &selection, &mut || rng.random()).ok()?;
        if let Some(ticket) = pick.ticket {
            balancer.commit(ticket, true);
        }
        balancer.started(&*list, pick.server, pick.ticket, now);
        let slot = pick.server.slot();
        list.in_flight[usize::from(slot)] += 1;
        let number = list.addresses[usize::from(slot)];
        used.insert(number);
        Some((slot, number))
    }

    /// Ends a call that began at `start`.
    fn end(&mut self, slot: u16, start: u64, end: u64) -> Option<()> {
        self.list.in_flight[usize::from(slot)] -= 1;
        let (sent, ended) = (sent(self.list.in_slot(slot)?.server, start), Instant::from_micros(end));
        let latency = ended.micros_since(sent.at);
        self.balancer.finished(&self.list, &sent.finished(ended, Feedback::Success { latency }, Code::NONE));
        Some(())
    }
}

/// Runs the model with a balancer. `balancer` gets the client's zone and its number, and returns the name of a balancer.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates when it becomes a u64")]
pub fn zone_down(model: Model, sees: Sees, balancer: impl Fn(&str, u32) -> String) -> Option<ZoneDown> {
    let Model { clients, servers, phase_us, seed } = model;
    let mut rng = SmallRng::seed_from_u64(seed);
    let everything = Seen::new(servers, 3, || ());
    let mut all = Vec::new();
    for client in 0..clients {
        let name = balancer(zone_of(client), client);
        let mut balancer = AnyBalancer::<Heap>::named(&name, seed ^ u64::from(client)).ok()?;
        let list = sees.list(&everything, client, || balancer.stats())?;
        balancer.arrange(&list).ok()?;
        all.push(Client { balancer, list, used: BTreeSet::new() });
    }
    let rate = f64::from(servers) * WORKERS as f64 / WORK_US * 0.5;
    let (between, work) = (Exp::new(rate).ok()?, Exp::new(1.0 / WORK_US).ok()?);
    let mut free: Vec<BinaryHeap<Reverse<u64>>> =
        (0..servers).map(|_| (0..WORKERS).map(|_| Reverse(0)).collect()).collect();
    let mut ends: BinaryHeap<Reverse<(u64, u32, u16, u64)>> = BinaryHeap::new();
    let mut phases: [Phase; 3] = Default::default();
    let (mut now, mut phase) = (0.0, 0);
    loop {
        now += between.sample(&mut rng);
        let at = now as u64;
        while let Some(Reverse((end, client, slot, start))) = ends.peek().copied().filter(|it| it.0.0 <= at) {
            ends.pop();
            all[client as usize].end(slot, start, end)?;
        }
        let number = at / phase_us;
        if number != phase {
            phase = number;
            all.iter_mut().for_each(|client| client.list.down = (phase == 1).then_some(0));
        }
        let Some(measured) = phases.get_mut(phase as usize) else { break };
        let client = rng.random_range(0..clients);
        let (slot, number) = all[client as usize].start(at, &mut rng)?;
        let is_away = number % 3 != client % 3;
        let far = if is_away { FAR_US } else { 0 };
        let free = &mut free[number as usize];
        let Reverse(idle) = free.pop()?;
        let done = idle.max(at) + work.sample(&mut rng) as u64;
        free.push(Reverse(done));
        ends.push(Reverse((done + far, client, slot, at)));
        if at % phase_us >= phase_us / 5 {
            measured.away += u32::from(is_away);
            measured.latencies.push(u32::try_from(done + far - at).unwrap_or(u32::MAX));
        }
    }
    let [before, during, after] = phases.map(Phase::finish);
    let (before, during, after) = (before?, during?, after?);
    let connections = all.iter().map(|client| client.used.len()).max()?;
    Some(ZoneDown { away: [before.0, during.0, after.0], p99: [before.1, during.1, after.1], connections })
}

/// What is measured in a phase.
#[derive(Default)]
struct Phase {
    away: u32,
    /// In microseconds.
    latencies: Vec<u32>,
}

impl Phase {
    /// Returns the share of the calls to another zone, and the 99th percentile in ms.
    fn finish(mut self) -> Option<(f64, f64)> {
        let count = self.latencies.len();
        if count == 0 {
            return None;
        }
        let (_, p99, _) = self.latencies.select_nth_unstable(count * 99 / 100);
        Some((f64::from(self.away) / count as f64, f64::from(*p99) / 1e3))
    }
}

fn sent(server: ServerId, start: u64) -> SentAttempt {
    let at = Instant::from_micros(start);
    SentAttempt { server, at, attempt: AttemptId::FIRST, max_retry: 0, timeout: Timeout::NEVER }
}

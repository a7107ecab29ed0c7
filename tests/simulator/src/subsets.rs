//! What subsets ([S9](hedge_core::rules#S9)) and zones ([S10](hedge_core::rules#S10)) buy and cost: [`spread`] counts the
//! clients of each server and what moves at a change, [`zone_down`] measures latencies before and after a zone fails.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::{self, Write as _};
use std::num::NonZeroU32;

use hedge_core::balance::grouped::{Grouped, Grouping, SubsetOptions, SubsetSize};
use hedge_core::balance::{
    AnyBalancer, AnyStats, Balancer, Candidate, Heap, Load, RandomChoice, Roster, Selection, ServerList, select,
};
use hedge_core::id::{AddressKey, AttemptId, ServerId};
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::time::{Instant, Timeout};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp};

/// The servers as one client sees them.
#[derive(Debug)]
struct Seen<S> {
    addresses: Vec<u32>,
    zones: u32,
    /// The texts of the addresses.
    texts: Vec<String>,
    /// The zone that is down.
    down: Option<u32>,
    stats: Vec<S>,
    in_flight: Vec<u32>,
}

impl<S> Seen<S> {
    fn new(servers: u32, zones: u32, stats: impl Fn() -> S) -> Self {
        let stats = (0..servers).map(|_| stats()).collect();
        Self {
            addresses: (0..servers).collect(),
            texts: (0..servers).map(text).collect(),
            zones,
            down: None,
            stats,
            in_flight: vec![0; servers as usize],
        }
    }

    fn replace(&mut self, position: usize, address: u32) {
        (self.addresses[position], self.texts[position]) = (address, text(address));
    }

    fn number(&self, server: ServerId) -> usize {
        self.addresses[usize::from(server.slot())] as usize
    }
}

fn text(address: u32) -> String {
    let [_, a, b, c] = address.to_be_bytes();
    format!("10.{a}.{b}.{c}:80")
}

impl<S> ServerList for Seen<S> {
    type Stats = S;

    fn len(&self) -> usize {
        self.addresses.len()
    }

    fn at(&self, position: usize) -> Option<Candidate> {
        self.in_slot(position.try_into().ok()?)
    }

    fn slots(&self) -> usize {
        self.addresses.len()
    }

    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        let address = *self.addresses.get(usize::from(slot))?;
        // A server that takes the place of another has another address, and so another generation.
        let generation = (address % 0xffff).try_into().ok()?;
        let usable = self.down.is_none_or(|down| address % self.zones != down);
        Some(Candidate { server: ServerId::new(slot, generation), address: AddressKey(address), usable })
    }

    fn load(&self, server: ServerId) -> Option<Load<'_, S>> {
        let slot = usize::from(server.slot());
        Some(Load { stats: self.stats.get(slot)?, in_flight: *self.in_flight.get(slot)?, weight: NonZeroU32::MIN })
    }
}

const ZONES: [&str; 3] = ["zone=a", "zone=b", "zone=c"];

impl<S> Roster for Seen<S> {
    fn write_address(&self, position: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(&self.texts[position])
    }

    fn tag(&self, position: usize) -> &str {
        ZONES[(self.addresses[position] % self.zones) as usize % ZONES.len()]
    }
}

/// How the clients of a fleet get their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// From 0 on.
    Given,
    /// Each client draws one.
    Drawn,
}

/// How clients are spread over servers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Connections that each client makes.
    pub connections: usize,
    /// The most and the fewest clients of a server, as shares of the mean.
    pub most: f64,
    /// See `most`.
    pub fewest: f64,
    /// How many of a client's servers are others after one server was replaced by another: the mean and the largest number.
    pub moved: f64,
    /// See `moved`.
    pub most_moved: usize,
}

/// Spreads clients over servers. After that, one server leaves, and another one comes, `changes` times.
#[must_use]
pub fn spread(clients: u32, servers: u32, size: u32, numbers: Numbers, changes: u32) -> Option<Spread> {
    let subset = |client: u32| {
        let id = (numbers == Numbers::Given).then_some(client);
        let subset = Some(SubsetOptions { size: SubsetSize::new(size).ok()?, id });
        Some(Grouped::<_, Heap>::new(Grouping { locality: None, subset }, RandomChoice, client.into()))
    };
    let mut list = Seen::new(servers, 1, || ());
    let (mut counts, mut connections) = (vec![0_u32; servers as usize], 0);
    let mut watched = Vec::new();
    for client in 0..clients {
        let mut balancer = subset(client)?;
        balancer.arrange(&list).ok()?;
        connections = balancer.used().count();
        balancer.used().for_each(|server| counts[server] += 1);
        if client % (clients / 100).max(1) == 0 {
            watched.push(balancer);
        }
    }
    let (mut moved, mut most_moved, mut rng) = (0, 0, SmallRng::seed_from_u64(9));
    for change in 0..changes {
        let used = |balancer: &Grouped<_, Heap>, list: &Seen<()>| -> BTreeSet<u32> {
            balancer.used().map(|at| list.addresses[at]).collect()
        };
        let before: Vec<_> = watched.iter().map(|balancer| used(balancer, &list)).collect();
        let replaced = rng.random_range(0..servers as usize);
        list.replace(replaced, servers + change);
        for (balancer, before) in watched.iter_mut().zip(before) {
            balancer.arrange(&list).ok()?;
            let new = used(balancer, &list).difference(&before).count();
            (moved, most_moved) = (moved + new, most_moved.max(new));
        }
    }
    let mean = f64::from(clients) * connections as f64 / f64::from(servers);
    let share = |count: Option<&u32>| f64::from(*count.unwrap_or(&0)) / mean;
    let moved = moved as f64 / (f64::from(changes) * watched.len() as f64).max(1.0);
    Some(Spread {
        connections,
        most: share(counts.iter().max()),
        fewest: share(counts.iter().min()),
        moved,
        most_moved,
    })
}

/// Latencies around the failure of a zone, in ms.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ZoneDown {
    /// The share of the calls that stay in their client's zone, before the failure.
    pub stays: f64,
    /// The 99th percentile before the failure.
    pub p99_before: f64,
    /// The 99th percentile from 1 s after the failure on.
    pub p99_after: f64,
    /// The largest number of servers to which a client has sent calls.
    pub connections: usize,
}

/// The model: servers in three zones with four workers each, exponential work of 10 ms, and 5 ms more for a call to
/// another zone. The load is half of the capacity. After 5 s, the servers of the first zone are down, and all clients
/// know it.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// How many clients there are, a third in each zone.
    pub clients: u32,
    /// How many servers there are, a third in each zone.
    pub servers: u32,
    /// The seed of all random numbers.
    pub seed: u64,
}

const WORKERS: usize = 4;
const WORK_US: f64 = 10_000.0;
const FAR_US: u64 = 5_000;
const DOWN_AT_US: u64 = 5_000_000;
const END_US: u64 = 10_000_000;

/// Runs the model with a balancer. `balancer` gets the client's zone and its number.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates when it becomes a u64")]
pub fn zone_down(model: Model, balancer: impl Fn(&str, u32) -> String) -> Option<ZoneDown> {
    let Model { clients, servers, seed } = model;
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut all = Vec::new();
    for client in 0..clients {
        let zone = ZONES[client as usize % 3].trim_start_matches("zone=");
        let mut own = AnyBalancer::<Heap>::named(&balancer(zone, client), seed ^ u64::from(client)).ok()?;
        let list: Seen<AnyStats<Heap>> = Seen::new(servers, 3, || own.stats());
        own.arrange(&list).ok()?;
        all.push((own, list, BTreeSet::new()));
    }
    let rate = f64::from(servers) * WORKERS as f64 / WORK_US * 0.5;
    let (between, work) = (Exp::new(rate).ok()?, Exp::new(1.0 / WORK_US).ok()?);
    let mut free: Vec<BinaryHeap<Reverse<u64>>> =
        (0..servers).map(|_| (0..WORKERS).map(|_| Reverse(0)).collect()).collect();
    let mut ends: BinaryHeap<Reverse<(u64, u32, u16, u64)>> = BinaryHeap::new();
    let (mut before, mut after, mut stays, mut now, mut is_down) = (Vec::new(), Vec::new(), 0_u32, 0.0, false);
    while now < END_US as f64 {
        now += between.sample(&mut rng);
        let at = now as u64;
        while let Some(Reverse((end, client, slot, start))) = ends.peek().copied().filter(|it| it.0.0 <= at) {
            ends.pop();
            let (own, list, _) = &mut all[client as usize];
            list.in_flight[usize::from(slot)] -= 1;
            let server = list.in_slot(slot)?.server;
            let (sent, ended) = (sent(server, start), Instant::from_micros(end));
            let latency = ended.micros_since(sent.at);
            own.finished(&*list, &sent.finished(ended, Feedback::Success { latency }, Code::NONE));
        }
        if at >= DOWN_AT_US && !is_down {
            is_down = true;
            all.iter_mut().for_each(|(_, list, _)| list.down = Some(0));
        }
        let client = rng.random_range(0..clients);
        let (own, list, used) = &mut all[client as usize];
        let instant = Instant::from_micros(at);
        let selection =
            Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now: instant };
        let pick = select(&*list, own, &selection, &mut || rng.random()).ok()?;
        if let Some(ticket) = pick.ticket {
            own.commit(ticket, true);
        }
        own.started(&*list, pick.server, pick.ticket, instant);
        let number = list.number(pick.server);
        used.insert(number);
        list.in_flight[usize::from(pick.server.slot())] += 1;
        let near = number % 3 == client as usize % 3;
        let far = if near { 0 } else { FAR_US };
        let Reverse(idle) = free[number].pop()?;
        let done = idle.max(at) + work.sample(&mut rng) as u64;
        free[number].push(Reverse(done));
        ends.push(Reverse((done + far, client, pick.server.slot(), at)));
        match at {
            _ if at < DOWN_AT_US => {
                stays += u32::from(near);
                before.push(done + far - at);
            }
            _ if at >= DOWN_AT_US + 1_000_000 => after.push(done + far - at),
            _ => {}
        }
    }
    let p99 = |latencies: &mut Vec<u64>| {
        latencies.sort_unstable();
        latencies.get(latencies.len() * 99 / 100).map(|us| *us as f64 / 1e3)
    };
    let stays = f64::from(stays) / before.len() as f64;
    let connections = all.iter().map(|(_, _, used)| used.len()).max()?;
    Some(ZoneDown { stays, p99_before: p99(&mut before)?, p99_after: p99(&mut after)?, connections })
}

fn sent(server: ServerId, start: u64) -> SentAttempt {
    let at = Instant::from_micros(start);
    SentAttempt { server, at, attempt: AttemptId::FIRST, max_retry: 0, timeout: Timeout::NEVER }
}

/// Returns the table of `BALANCERS.md`: `clients` and `servers` are both numbers of the spread, `model` is that of the
/// latencies.
#[must_use]
pub fn table(clients: u32, servers: u32, model: Model) -> Option<String> {
    let mut text =
        String::from("| clients of one server | connections | most / mean | fewest / mean | moved | most moved |\n");
    text += "|---|---|---|---|---|---|\n";
    for (size, numbers) in [(20, Numbers::Given), (20, Numbers::Drawn), (100, Numbers::Given), (100, Numbers::Drawn)] {
        let it = spread(clients, servers, size, numbers, 20)?;
        let name = if numbers == Numbers::Given { "numbers given" } else { "numbers drawn" };
        let Spread { connections, most, fewest, moved, most_moved } = it;
        let row =
            format!("| size={size}, {name} | {connections} | {most:.2} | {fewest:.2} | {moved:.3} | {most_moved} |\n");
        text += &row;
    }
    text += "\n| a zone down | connections | in the own zone | p99 before | p99 after |\n|---|---|---|---|---|\n";
    for name in
        ["p2c", "subset:size=10 id=# of=p2c", "locality:zone=@ of=p2c", "locality:zone=@ of=subset:size=10 id=# of=p2c"]
    {
        let named = |zone: &str, client: u32| name.replace('@', zone).replace('#', &client.to_string());
        let ZoneDown { stays, p99_before, p99_after, connections } = zone_down(model, named)?;
        let name = name.replace(" id=#", "").replace('@', "a");
        writeln!(text, "| `{name}` | {connections} | {:.0} % | {p99_before:.0} | {p99_after:.0} |", stays * 100.0)
            .ok()?;
    }
    Some(text)
}

//! What subsets ([S9](hedge_core::rules#S9)) and zones ([S10](hedge_core::rules#S10)) buy and cost: [`spread`] counts the
//! clients of each server and what moves at a change, [`zone_down`] measures latencies before, during and after the
//! failure of a zone.

mod zones;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

use hedge_core::balance::grouped::{Grouped, Grouping, SubsetOptions, SubsetSize};
use hedge_core::balance::{Balancer, Candidate, Heap, Load, RandomChoice, Roster, ServerList};
use hedge_core::id::{AddressKey, ServerId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub use zones::{Model, Sees, ZoneDown, zone_down};

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

    /// Returns a list of only some of these servers.
    fn only<T>(&self, positions: impl Iterator<Item = usize>, stats: impl Fn() -> T) -> Seen<T> {
        let (addresses, texts): (Vec<_>, Vec<_>) =
            positions.map(|at| (self.addresses[at], self.texts[at].clone())).unzip();
        let stats = addresses.iter().map(|_| stats()).collect();
        let in_flight = vec![0; addresses.len()];
        Seen { addresses, zones: self.zones, texts, down: self.down, stats, in_flight }
    }

    fn replace(&mut self, position: usize, address: u32) {
        (self.addresses[position], self.texts[position]) = (address, text(address));
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

/// Returns the table of `BALANCERS.md`. `clients` and `servers` are the numbers of the spread and of the large fleets,
/// `model` is that of the small fleets.
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
    text += "\n| a zone down | connections | in another zone | p99 before | p99 during | p99 after |\n";
    text += "|---|---|---|---|---|---|\n";
    for name in
        ["p2c", "subset:size=10 id=# of=p2c", "locality:zone=@ of=p2c", "locality:zone=@ of=subset:size=10 id=# of=p2c"]
    {
        let named = |zone: &str, client: u32| name.replace('@', zone).replace('#', &client.to_string());
        let row = zone_down(model, Sees::All, named)?;
        row.write(&mut text, &format!("`{}`", name.replace(" id=#", "").replace('@', "a")))?;
    }
    let large = Model { clients, servers, phase_us: model.phase_us / 5, ..model };
    for (name, sees, balancer) in [
        ("subset:size=30 of=p2c", Sees::Subset(30), "p2c"),
        ("locality:zone=a of=subset:size=10 of=p2c", Sees::SubsetOfZones(10), "locality:zone=@ of=p2c"),
    ] {
        let row = zone_down(large, sees, |zone, _| balancer.replace('@', zone))?;
        row.write(&mut text, &format!("`{name}`, {clients} of each"))?;
    }
    Some(text)
}

//! The state of a channel, for an operator: [`Inspect`].

use std::fmt;
use std::num::NonZeroU32;

use hedge_core::latency::{Quantile, Snapshot as Latencies};
use hedge_core::time::{Duration, Instant, Micros};

use crate::counters::Counters;
use crate::node::{Node, Service};
use crate::replace::ReplaceableOptions;
use crate::servers::Servers;
use crate::snapshot::Snapshot;

/// A channel that shows its current state to an operator.
pub trait Inspect: Send + Sync {
    /// Returns the current state. This changes nothing, and takes no lock that a call needs.
    ///
    /// # Cost
    /// This copies about 100 bytes for each server, and the latencies, which are 2 KB.
    fn inspect(&self) -> ChannelInfo;
}

/// The state of a channel. As text, it is a table with one line for each server.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// The channel's name.
    pub name: Box<str>,
    /// The servers, in canonical order.
    pub servers: Vec<ServerInfo>,
    /// How long calls took in the last 10 s.
    pub latencies: LatencyInfo,
    /// The distribution of these latencies.
    pub distribution: Latencies,
    /// How many calls ended in each way since the channel was made, and how many attempts they made.
    pub counters: Counters,
    /// The options in force.
    pub options: ReplaceableOptions,
}

impl ChannelInfo {
    /// Makes the state of the channel with this name and these servers. The latencies, the counters and the options are
    /// taken from `settings`.
    pub fn new(name: &str, servers: Vec<ServerInfo>, settings: &crate::Settings, now: Instant) -> Self {
        let distribution = settings.latencies(now);
        Self {
            name: name.into(),
            servers,
            latencies: LatencyInfo::from(&distribution),
            distribution,
            counters: settings.counters(),
            options: settings.options(),
        }
    }
}

/// The state of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The server's address.
    pub address: Box<str>,
    /// The server's tag; empty if the server has no tag.
    pub tag: Box<str>,
    /// The server's weight; 1 if the balancer uses no weights.
    pub weight: NonZeroU32,
    /// How many attempts are in flight at the server.
    pub in_flight: u32,
    /// Whether the server takes calls, and if not, why not.
    pub state: ServerState,
}

/// Whether a server takes calls, and if not, why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerState {
    /// The server takes calls.
    Usable,
    /// The program has withdrawn the server.
    Withdrawn,
    /// The connection to the server is broken. So the server takes no calls until a check passes
    /// ([H1](hedge_core::rules#H1)).
    Broken,
    /// The circuit breaker isolates the server ([H2](hedge_core::rules#H2)). The value is how long the isolation still
    /// lasts.
    Isolated(Duration),
    /// The isolation of the server is over, and single calls probe the server ([H2](hedge_core::rules#H2)).
    HalfOpen,
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => f.write_str("usable"),
            Self::Withdrawn => f.write_str("withdrawn"),
            Self::Broken => f.write_str("broken"),
            Self::Isolated(left) => write!(f, "isolated for {}", Micros::from_duration(*left)),
            Self::HalfOpen => f.write_str("half-open"),
        }
    }
}

/// A summary of the latencies of calls in a window of time. In [`ChannelInfo`], the window is the last 10 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LatencyInfo {
    /// How many calls ended in the window.
    pub calls: u64,
    /// How many of the calls ended neither as accepted nor as fatal. Their latencies count only as lower bounds.
    pub abandoned: u64,
    /// How many calls ended per second.
    pub qps: u64,
    /// The mean latency. `None` if there was no call.
    pub mean: Option<Duration>,
    /// The median latency: half of the calls took at most this time. `None` if there was no call.
    pub p50: Option<Duration>,
    /// The 99th percentile: 99 % of the calls took at most this time. `None` if there was no call.
    pub p99: Option<Duration>,
    /// The longest latency of a call that ended as accepted or fatal. It is 0 if there was no such call.
    pub max: Duration,
}

impl From<&Latencies> for LatencyInfo {
    fn from(latencies: &Latencies) -> Self {
        Self {
            calls: latencies.count(),
            abandoned: latencies.abandoned(),
            qps: latencies.qps(),
            mean: latencies.mean(),
            p50: latencies.quantile(Quantile::P50),
            p99: latencies.quantile(Quantile::P99),
            max: latencies.max(),
        }
    }
}

impl<K, S: Service> Servers<K, S> {
    /// Returns the state of each server at the instant `now`. `name` returns the address and the tag of a key.
    pub fn inspect(&self, now: Instant, name: impl Fn(&K) -> (String, String)) -> Vec<ServerInfo> {
        let snapshot = self.load();
        let info = |node: &Node<K, S>| {
            let (address, tag) = name(node.key());
            let (weight, in_flight, state) = (node.weight(), node.in_flight(), snapshot.state(node, now));
            ServerInfo { address: address.into(), tag: tag.into(), weight, in_flight, state }
        };
        snapshot.list().nodes().iter().map(|node| info(node)).collect()
    }
}

impl<K, S> Snapshot<K, S> {
    fn state(&self, node: &Node<K, S>, now: Instant) -> ServerState {
        let server = node.health();
        if server.is_withdrawn() {
            return ServerState::Withdrawn;
        }
        if server.is_broken() {
            return ServerState::Broken;
        }
        match self.health().isolated_until(server, now) {
            Some(until) if until > now => ServerState::Isolated(until.since(now)),
            _ if self.health().is_isolated(server) => ServerState::HalfOpen,
            _ => ServerState::Usable,
        }
    }
}

impl fmt::Display for ChannelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LatencyInfo { calls, qps, p50, p99, max, .. } = self.latencies;
        write!(f, "{}: {} servers, {calls} calls in 10 s, {qps} a second", self.name, self.servers.len())?;
        if let (Some(p50), Some(p99)) = (p50, p99) {
            let [p50, p99, max] = [p50, p99, max].map(Micros::from_duration);
            write!(f, ", 50 % in {p50}, 99 % in {p99}, longest {max}")?;
        }
        for ServerInfo { address, tag, weight, in_flight, state } in &self.servers {
            // `{:<12}` pads only text to the width of the column, so the state is converted to text first.
            let state = state.to_string();
            write!(f, "\n  {address:<21}  {state:<12}  {in_flight} in flight  weight {weight}")?;
            if !tag.is_empty() {
                write!(f, "  {tag}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hedge_core::health::{AnyBreaker, BreakerOptions, FailureOptions, Health, IsolationLimit, Recovering};
    use hedge_core::id::AttemptId;
    use hedge_core::outcome::{Code, Feedback, SentAttempt};

    use super::*;
    use crate::node::OwnAddress;
    use crate::servers::ListEntry;
    use hedge_core::bounded::Bounded;

    #[test]
    fn o1_a_server_says_why_it_takes_no_calls() {
        let failures = BreakerOptions::ConsecutiveFailures(FailureOptions {
            failures: Bounded::of::<1>(),
            ..FailureOptions::DEFAULT
        });
        let breaker = Recovering::new(AnyBreaker::new(failures), None);
        let health = Health::new(breaker, IsolationLimit::DEFAULT);
        let servers: Servers<u16, OwnAddress<()>> = Servers::new(crate::Balancer::named("wrr", 1).unwrap(), health, 16);
        let now = Instant::from_millis(1_000);
        let weight = NonZeroU32::new(3).unwrap();
        let plan = (1..=4).map(|key| ListEntry::new(key, OwnAddress(()), weight)).collect();
        servers.change(|key, out| write!(out, "{key}"), now, |_| Some(plan)).unwrap();
        let snapshot = servers.load();
        let [one, two, three, four] = snapshot.list().nodes() else { panic!("four servers") };
        assert!(one.start());
        servers.set_usable(two, false, now);
        servers.set_broken(three, true, now).tell(&servers, three);
        let sent = SentAttempt {
            server: four.id(),
            at: now,
            attempt: AttemptId::FIRST,
            max_retry: 0,
            timeout: hedge_core::time::Timeout::NEVER,
        };
        servers.learn(four, &sent.finished(now, Feedback::Failure { latency: Micros::from_millis(1) }, Code::NONE));

        let inspect = |now| servers.inspect(now, |key| (key.to_string(), String::new()));
        let states = |now| inspect(now).iter().map(|server| server.state.to_string()).collect::<Vec<_>>();
        let [usable, withdrawn, broken, isolated] = &*states(now) else { panic!("four states") };
        assert_eq!([usable.as_str(), withdrawn, broken], ["usable", "withdrawn", "broken"]);
        assert!(isolated.starts_with("isolated for 10"), "{isolated}");
        let later = states(now + Duration::from_millis(150));
        assert_eq!(later[3], "half-open");
        let first = &inspect(now)[0];
        assert_eq!((&*first.address, first.weight, first.in_flight), ("1", weight, 1));
    }
}

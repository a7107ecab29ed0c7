//! The state of a channel, a recorder or a variable at one moment: [`Reading`].

use hedge_core::latency::{Quantile, Snapshot};
use hedge_core::time::{Duration, Micros};
use hedge_fleet::{ChannelInfo, Counters, ServerInfo, ServerState};

use crate::parts::{Counter, Part};
use crate::recorder::micros_of;
use crate::source::Source;
use crate::value::Value;

/// The state of a source at one moment. All its variables are computed from this.
pub(crate) enum Reading {
    Channel(Box<ChannelInfo>),
    Recorder {
        recent: Box<Snapshot>,
        count: u64,
    },
    Variable(Value),
    /// The code of the program has panicked.
    Panicked,
}

impl Reading {
    pub(crate) fn of(source: &Source) -> Self {
        let reading = match source {
            Source::Channel(channel, _) => {
                hedge_fleet::caught(|| channel.inspect()).map(|info| Self::Channel(Box::new(info)))
            }
            Source::Recorder(recorded) => {
                Some(Self::Recorder { recent: Box::new(recorded.recent()), count: recorded.totals().count() })
            }
            Source::Variable(read) => hedge_fleet::caught(|| read()).map(Self::Variable),
        };
        reading.unwrap_or(Self::Panicked)
    }

    /// Returns the latencies of the last 10 s. Returns `None` for a variable of the program.
    pub(crate) fn recent(&self) -> Option<&Snapshot> {
        match self {
            Self::Channel(info) => Some(&info.distribution),
            Self::Recorder { recent, .. } => Some(recent),
            Self::Variable(_) | Self::Panicked => None,
        }
    }

    /// Returns a variable as text.
    pub(crate) fn text(&self, part: Part) -> String {
        match (part, self.recent()) {
            (Part::Cdf, Some(recent)) => cdf_text(recent),
            _ => self.value(part).to_string(),
        }
    }

    /// Returns the value of a variable, except for a distribution, which has no single value. Latencies are in
    /// microseconds, and 0 if there was no call, as in brpc.
    pub(crate) fn value(&self, part: Part) -> Value {
        let latency = |latency: Option<Duration>| Value::Unsigned(latency.map_or(0, micros_of));
        match (self, part) {
            (Self::Variable(value), _) => value.clone(),
            (Self::Channel(info), Part::Count) => info.counters.calls().into(),
            (Self::Recorder { count, .. }, Part::Count) => (*count).into(),
            (Self::Channel(info), Part::Of(counter)) => counter.value(info).into(),
            _ => match (self.recent(), part) {
                (Some(recent), Part::Mean) => latency(recent.mean()),
                (Some(recent), Part::Max) => latency(Some(recent.max())),
                (Some(recent), Part::Qps) => recent.qps().into(),
                (Some(recent), Part::Quantile(at)) => {
                    latency(Quantile::new(at).ok().and_then(|at| recent.quantile(at)))
                }
                _ => "panicked".into(),
            },
        }
    }
}

/// Returns a distribution as one line.
fn cdf_text(recent: &Snapshot) -> String {
    let Some(cdf) = recent.cdf() else { return "no calls".to_owned() };
    let points = cdf.map(|(quantile, latency)| format!("{quantile}:{}", Micros::from_duration(latency).as_micros()));
    points.join(" ")
}

impl Counter {
    fn value(self, info: &ChannelInfo) -> u64 {
        let ChannelInfo { counters, servers, .. } = info;
        match self {
            Self::Errors => errors(counters),
            Self::Retries => counters.retries,
            Self::Backups => counters.backups,
            Self::BackupsWon => counters.backups_won,
            Self::InFlight => in_flight(servers),
            Self::Servers => servers.len() as u64,
            Self::UsableServers => usable(servers) as u64,
        }
    }
}

/// Returns how many calls ended without an accepted reply, apart from those that the program cancelled.
pub(crate) const fn errors(counters: &Counters) -> u64 {
    counters.calls() - counters.accepted - counters.cancelled
}

pub(crate) fn in_flight(servers: &[ServerInfo]) -> u64 {
    servers.iter().map(|server| u64::from(server.in_flight)).sum()
}

pub(crate) fn usable(servers: &[ServerInfo]) -> usize {
    servers.iter().filter(|server| server.state == ServerState::Usable).count()
}

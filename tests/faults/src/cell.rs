//! One run of the matrix: [`Cell`].

use std::error::Error;
use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use hedge_net::{BreakerOptions, Channel, Denial, Extra, FailureOptions, Runtime};

use crate::fault::Fault;
use crate::load::{self, Load, Tally};
use crate::server::Server;
use crate::upload::Requests;

/// A call's deadline.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);
/// When a backup is sent: three times what an answer takes by default.
pub(crate) const BACKUP: Duration = Duration::from_millis(15);
/// How many servers there are. One of them is bad.
pub(crate) const SERVERS: usize = 3;

/// A balancer of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Balancer {
    Rr,
    P2c,
    La,
}

impl Balancer {
    pub(crate) const ALL: [Self; 3] = [Self::Rr, Self::P2c, Self::La];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::P2c => "p2c",
            Self::La => "la",
        }
    }
}

/// What differs from run to run, apart from the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) fault: Fault,
    pub(crate) balancer: Balancer,
    pub(crate) backups: bool,
}

/// What all runs have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) calls: u64,
    pub(crate) callers: u64,
    pub(crate) seed: u64,
    /// No call of a run begins after so long.
    pub(crate) at_most: Duration,
    /// How long servers take for an answer.
    pub(crate) work: Duration,
    /// How long one attempt may take (L21).
    pub(crate) attempt_timeout: Option<Duration>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// How many extra attempts were refused, and by what.
    pub(crate) denied: Vec<(Extra, Denial, u32)>,
}

impl Cell {
    /// Three new servers, a new channel with the default limits, and all the calls.
    ///
    /// # Errors
    /// Servers or channel cannot be made, or a server's threads do not end.
    pub(crate) fn run<R: Runtime + Unpin>(self, runtime: &R, settings: Settings) -> Result<Outcome, Box<dyn Error>> {
        let fault = |index| if index == 0 { self.fault } else { Fault::None };
        let servers = (0..SERVERS).map(|index| Server::start(fault(index), settings.work));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
        let mut builder = Channel::builder(runtime.clone(), format!("list://{}", addresses.join(",")))
            .load_balancer(self.balancer.name())
            .timeout(TIMEOUT)
            .circuit_breaker(BreakerOptions::ConsecutiveFailures(FailureOptions::DEFAULT))
            .seed(settings.seed);
        if self.backups {
            builder = builder.backup(BACKUP);
        }
        if let Some(timeout) = settings.attempt_timeout {
            builder = builder.attempt_timeout(timeout);
        }
        let channel = builder.build()?;
        let load = Load {
            calls: settings.calls,
            callers: settings.callers,
            requests: Requests::new(self.fault),
            at_most: settings.at_most,
            servers,
            bad_from: self.fault.begins_at(settings.calls),
        };
        let (tally, servers) = load::run(runtime, channel.clone(), load);
        let denied =
            [Extra::Backup, Extra::Retry].into_iter().flat_map(|extra| Denial::ALL.map(|denial| (extra, denial)));
        let denied = denied.map(|(extra, denial)| (extra, denial, channel.denied(extra, denial)));
        let denied = denied.filter(|(_, _, count)| *count > 0).collect();
        drop(channel);
        for server in servers.into_iter().flatten() {
            if !server.stop() {
                return Err(format!("{self}: a server's threads do not end").into());
            }
        }
        Ok(Outcome { tally, denied })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backups = if self.backups { "backups" } else { "no backups" };
        write!(f, "{}, {}, {backups}", self.fault.name(), self.balancer.name())
    }
}

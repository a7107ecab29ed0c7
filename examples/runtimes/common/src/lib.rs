//! What the programs of this workspace share: three servers, one hedged call among them, and what has to be true of it.
//!
//! A program binds the call to its runtime by a [`Transport`] and a [`Timer`], and runs [`hedged_call`].

mod servers;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::{fmt, io};

use hedge_core::balance::RoundRobin;
use hedge_core::channel::Channel;
use hedge_core::drive::{AttemptInfo, Driver, Timer, Transport, drive};
use hedge_core::outcome::{ErrorKind, Kind, State};
use hedge_core::policy::{AttemptError, BackupDelay, CallOptions, ChannelOptions, DefaultRetryPolicy};
use hedge_core::time::{Duration, Instant, Timeout};

use servers::Servers;

/// How long a backup is held back.
const BACKUP_DELAY: Duration = Duration::from_millis(20);
/// How long the call may take, and after it the runtime to close the connection of the attempt that lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a program ends with an exit code that is not zero.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The operating system's monotonic clock, as the core counts time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time on it.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::from_elapsed(self.0.elapsed())
    }

    /// An instant of this clock as the operating system has it; what is too late for that is an hour from now, as a
    /// wait that is early is asked again.
    #[must_use]
    pub fn instant(self, at: Instant) -> std::time::Instant {
        let hour = Duration::from_secs(3_600);
        self.0.checked_add(at.since(Instant::ZERO)).unwrap_or_else(|| std::time::Instant::now() + hour)
    }
}

/// Why an attempt has no reply.
#[derive(Debug)]
pub struct Broken(io::Error);

impl<E: Into<io::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl AttemptError for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Broken // which the default retry policy tries at another server
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes one call to three servers, of which the one that is asked first never answers, and prints who won and when.
///
/// A request is a line and so is its reply, after which the server closes the connection. An attempt has a connection
/// of its own.
///
/// # Errors
/// No backup won, or the runtime left the connection of the attempt that lost open.
pub async fn hedged_call<T, M>(runtime: &str, transport: T, timer: M) -> Result<(), Failure>
where
    T: Transport<Address = SocketAddr, Request = str, Reply = String, Error = Broken>,
    M: Timer,
{
    let servers = Servers::start()?;
    let options = ChannelOptions {
        backup: BackupDelay::after(BACKUP_DELAY),
        timeout: PATIENCE.into(),
        connect_timeout: Timeout::NEVER, // Connecting takes from the call's time: a transport has nothing to enforce.
        ..ChannelOptions::brpc()
    };
    let mut channel: Channel<SocketAddr, RoundRobin> = Channel::new(options, RoundRobin::new(1), 1);
    for address in servers.addresses {
        channel.insert(address, "")?;
    }

    let options = CallOptions::new();
    let mut call = channel.call(&options, timer.now())?;
    let driver = Driver::new(&timer, &DefaultRetryPolicy);
    let start = |attempt: AttemptInfo<SocketAddr>| {
        servers.stall(attempt.address);
        transport.start("GET key\n", attempt)
    };
    let reply = drive(&mut call, [pin!(None), pin!(None)], driver, start).await;

    let report = call.report();
    let reply = reply.map_err(|failure| format!("{runtime}: no reply: {failure:?}"))?;
    let winner = report.winner().and_then(|winner| report.attempts().get(winner.index()));
    let Some(winner) = winner.filter(|winner| winner.kind() == Kind::Backup) else {
        return Err(format!("{runtime}: no backup won: {report:?}").into());
    };
    if report.attempts().first().map(|first| first.state()) != Some(State::Abandoned) {
        return Err(format!("{runtime}: the stalled attempt was not abandoned: {report:?}").into());
    }

    // The attempt that lost was dropped: the server that stalls has to see its connection close.
    let closed = loop {
        let waited = timer.now().since(report.started());
        if servers.stalled_is_closed() {
            break waited;
        }
        if waited > report.elapsed() + PATIENCE {
            return Err(format!("{runtime}: the stalled attempt's connection is still open").into());
        }
        timer.sleep_until(timer.now() + Duration::from_millis(1)).await;
    };
    let (sent, elapsed) = (ms(winner.started()), ms(report.elapsed()));
    println!(
        "{runtime}: \"{}\" won: a backup sent after {sent}, over after {elapsed}, loser closed after {}",
        reply.trim_end(),
        ms(closed)
    );
    Ok(())
}

fn ms(duration: Duration) -> String {
    let micros = duration.as_micros();
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

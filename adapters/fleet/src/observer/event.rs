//! The events of which an [`Observer`](super::Observer) is notified.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::call::Report;
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Attempt, Code, Kind, State, Verdict};
use hedge_core::time::{Duration, Micros};

use crate::address::Address;
use crate::end::Keys;
use crate::server::Server;

/// The number of an observed call. It is unique in the process. A call that is not observed has no number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(u64);

/// How many calls of this process have a number so far. The next call gets this value as its number.
static CALLS: AtomicU64 = AtomicU64::new(0);

impl CallId {
    pub(crate) fn next() -> Self {
        Self(CALLS.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the number of the call.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server in the form in which an observer sees it. `Display` writes the server's key. In a channel of `hedge-net`,
/// the key is the address, and the tag if there is one. In a set of `hedge-tower`, the key is a value of the program. A
/// layer around one service has no key, so `Display` writes the server's id there.
#[derive(Clone, Copy)]
pub struct ServerRef<'a> {
    id: ServerId,
    keys: &'a dyn Keys,
}

impl<'a> ServerRef<'a> {
    /// Makes a reference to the server with this id. `keys` finds the key of the server. [`Servers`](crate::Servers)
    /// uses this to notify observers.
    #[must_use]
    pub fn new(id: ServerId, keys: &'a dyn Keys) -> Self {
        Self { id, keys }
    }

    /// Returns the server's id in the list. While anything holds the server, its id is not given to another server.
    #[must_use]
    pub const fn id(&self) -> ServerId {
        self.id
    }

    /// Returns the server's key. Returns `None` in three cases: `K` is not the type of the host's keys, the host is a
    /// layer around one service, or the server was removed just before its attempt was to start.
    #[must_use]
    pub fn key<K: 'static>(&self) -> Option<&'a K> {
        self.any_key()?.downcast_ref()
    }

    /// Returns the server's key without its type. Returns `None` if the host is a layer around one service, or if the
    /// server was removed just before its attempt was to start.
    #[must_use]
    pub fn any_key(&self) -> Option<&'a dyn Any> {
        self.keys.key(self.id)
    }

    /// Returns the server's address. If the key is a [`Server`], this is its address. Otherwise the text of the key is
    /// parsed as an address. If the text is not an address, the result is `None`.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        match self.key::<Server>() {
            Some(server) => Some(server.address.clone()),
            None => self.to_string().parse().ok(),
        }
    }
}

impl fmt::Display for ServerRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key::<Server>() {
            Some(server) => server.fmt(f),
            None => self.keys.write_key(self.id, f),
        }
    }
}

impl fmt::Debug for ServerRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerRef({}: {self})", self.id)
    }
}

/// An attempt that has started.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttemptStarted<'a> {
    /// The call that made the attempt.
    pub call: CallId,
    /// The attempt's number in its call, from 0.
    pub attempt: AttemptId,
    /// Whether the attempt is a first attempt, a retry or a backup.
    pub kind: Kind,
    /// The server that the attempt goes to.
    pub server: ServerRef<'a>,
    /// The time from the start of the call to the start of the attempt.
    pub started: Duration,
}

impl<'a> AttemptStarted<'a> {
    pub(crate) fn new(call: CallId, id: AttemptId, attempt: &Attempt, keys: &'a dyn Keys) -> Self {
        let server = ServerRef::new(attempt.server(), keys);
        Self { call, attempt: id, kind: attempt.kind(), server, started: attempt.started() }
    }
}

/// An attempt that has ended: it has a result, or its call no longer waits for a result.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttemptEnded<'a> {
    /// The call that made the attempt.
    pub call: CallId,
    /// The attempt's number in its call, from 0.
    pub attempt: AttemptId,
    /// Whether the attempt is a first attempt, a retry or a backup.
    pub kind: Kind,
    /// The server that the attempt went to.
    pub server: ServerRef<'a>,
    /// The retry policy's verdict on the result. `None` means that the attempt was abandoned, because another attempt
    /// decided the call, the deadline passed, or the call was cancelled.
    pub verdict: Option<Verdict>,
    /// The reason why the attempt failed. [`Code::NONE`] if it did not fail, or if the reason is unknown.
    pub code: Code,
    /// The time from the start of the attempt to its end.
    pub latency: Duration,
    /// Whether the call was cancelled or dropped.
    pub cancelled: bool,
}

impl<'a> AttemptEnded<'a> {
    pub(crate) fn new<const N: usize>(
        call: CallId,
        id: AttemptId,
        (report, attempt): (&Report<N>, &Attempt),
        keys: &'a dyn Keys,
    ) -> Self {
        let verdict = match attempt.state() {
            State::Finished(verdict) => Some(verdict),
            State::Abandoned | State::InFlight => None,
        };
        Self {
            call,
            attempt: id,
            kind: attempt.kind(),
            server: ServerRef::new(attempt.server(), keys),
            verdict,
            code: attempt.code(),
            latency: attempt.ended().unwrap_or_else(|| report.elapsed()) - attempt.started(),
            cancelled: report.end() == Some(hedge_core::outcome::End::Cancelled),
        }
    }

    /// Returns the end of the attempt as one word. If there is a [verdict](Verdict), the word is `accept`, `retry`,
    /// `wait` or `fatal`. If there is no verdict, the word is `cancelled` if the call was cancelled or dropped, and
    /// otherwise `abandoned`.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self.verdict {
            Some(Verdict::Accept) => "accept",
            Some(Verdict::Retry) => "retry",
            Some(Verdict::Wait) => "wait",
            Some(Verdict::Fatal) => "fatal",
            None if self.cancelled => "cancelled",
            None => "abandoned",
        }
    }
}

/// A change of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerChange {
    /// The server entered the list. A server that replaces another one under the same key is a new server.
    Inserted,
    /// The server left the list. Attempts in flight at this server continue.
    Removed,
    /// The circuit breaker isolates the server ([H2](hedge_core::rules#H2)).
    Isolated {
        /// How long the server is isolated. After that, an attempt may probe it.
        isolation: Duration,
    },
    /// An attempt is sent to the server as a probe. Either the isolation of the server is over, or the connections of
    /// all servers are broken ([H5](hedge_core::rules#H5)). There is one event for each such attempt.
    HalfOpen,
    /// A probe of the server has succeeded, so the server is no longer isolated.
    Returned,
    /// The isolation of the server was ended without a probe, because fewer servers may be isolated now
    /// ([H4](hedge_core::rules#H4)).
    Lifted,
    /// The connection to the server is broken or could not be made. So the server gets no calls until a health check
    /// passes ([H1](hedge_core::rules#H1)).
    Broken,
    /// The server's connection was broken, and the server gets calls again. There are three possible causes: a check
    /// has passed, an attempt that was let through has succeeded ([H5](hedge_core::rules#H5)), or the checks have ended
    /// without a result.
    Connected,
    /// The program has withdrawn the server, so the server gets no calls.
    Withdrawn,
    /// The program has put the withdrawn server back.
    Restored,
}

impl fmt::Display for ServerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inserted => f.write_str("inserted"),
            Self::Removed => f.write_str("removed"),
            Self::Isolated { isolation } => write!(f, "isolated for {}", Micros::from_duration(*isolation)),
            Self::HalfOpen => f.write_str("half-open"),
            Self::Returned => f.write_str("returned"),
            Self::Lifted => f.write_str("isolation lifted"),
            Self::Broken => f.write_str("connection broken"),
            Self::Connected => f.write_str("connected"),
            Self::Withdrawn => f.write_str("withdrawn"),
            Self::Restored => f.write_str("restored"),
        }
    }
}

/// A step of a health check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CheckStep {
    /// A connection to the server is made.
    Connect,
    /// The check function of the program is called, or the path of the health check is requested.
    Application,
}

impl fmt::Display for CheckStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Application => "application",
        })
    }
}

/// How a step of a health check ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The step passed. The next step follows, or, after the last step, the server gets calls again.
    Passed,
    /// The step failed. The next check follows after the check interval.
    Failed,
    /// The step took longer than a check may take, so it has failed.
    TimedOut,
}

impl fmt::Display for CheckOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
        })
    }
}

/// A step of a health check has ended ([H1](hedge_core::rules#H1)). There is no such event if the server left the list
/// before the end of the step.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckEnded<'a> {
    /// The server that was checked.
    pub server: ServerRef<'a>,
    /// The step that ended.
    pub step: CheckStep,
    /// How the step ended.
    pub outcome: CheckOutcome,
    /// How long the step took.
    pub latency: Duration,
}

impl<'a> CheckEnded<'a> {
    /// Makes the event of a step that has ended. [`Servers`](crate::Servers) uses this to notify observers.
    #[must_use]
    pub const fn new(server: ServerRef<'a>, step: CheckStep, outcome: CheckOutcome, latency: Duration) -> Self {
        Self { server, step, outcome, latency }
    }
}

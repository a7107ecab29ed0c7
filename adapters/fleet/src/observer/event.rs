//! What an [`Observer`](super::Observer) is told.

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

/// The number of a call that is observed, which is unique in the process. Calls that nobody observes have none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(u64);

/// How many calls of the process have been numbered.
static CALLS: AtomicU64 = AtomicU64::new(0);

impl CallId {
    pub(crate) fn next() -> Self {
        Self(CALLS.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
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

/// A server, as an observer sees it. `Display` writes the server's key: for a channel the address, and the tag if there
/// is one; for a set the key's own text; for a layer around one service the server's id.
#[derive(Clone, Copy)]
pub struct ServerRef<'a> {
    id: ServerId,
    keys: &'a dyn Keys,
}

impl<'a> ServerRef<'a> {
    /// The server with this id, whose key `keys` knows. For hosts.
    #[must_use]
    pub fn new(id: ServerId, keys: &'a dyn Keys) -> Self {
        Self { id, keys }
    }

    /// Its id in the list. An id is not used again as long as anything holds the server.
    #[must_use]
    pub const fn id(&self) -> ServerId {
        self.id
    }

    /// Its key. `None` if `K` is not the type of the host's keys, for a layer around one service, and for an attempt
    /// whose server was removed at the moment it was to start.
    #[must_use]
    pub fn key<K: 'static>(&self) -> Option<&'a K> {
        self.any_key()?.downcast_ref()
    }

    /// Its key, of whatever type.
    #[must_use]
    pub fn any_key(&self) -> Option<&'a dyn Any> {
        self.keys.key(self.id)
    }

    /// Its address: that of a [`Server`], or the address that its key's text is.
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
    /// Its call.
    pub call: CallId,
    /// Its number in its call, from 0.
    pub attempt: AttemptId,
    /// Why it was started.
    pub kind: Kind,
    /// The server that it goes to.
    pub server: ServerRef<'a>,
    /// The time from the call's start to the attempt's.
    pub started: Duration,
}

impl<'a> AttemptStarted<'a> {
    pub(crate) fn new(call: CallId, id: AttemptId, attempt: &Attempt, keys: &'a dyn Keys) -> Self {
        let server = ServerRef::new(attempt.server(), keys);
        Self { call, attempt: id, kind: attempt.kind(), server, started: attempt.started() }
    }
}

/// An attempt that has a result, or that its call no longer waits for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttemptEnded<'a> {
    /// Its call.
    pub call: CallId,
    /// Its number in its call, from 0.
    pub attempt: AttemptId,
    /// Why it was started.
    pub kind: Kind,
    /// The server that it went to.
    pub server: ServerRef<'a>,
    /// What the retry policy made of its result. `None`: it was abandoned, because another attempt decided the call, the
    /// deadline passed, or the call was cancelled.
    pub verdict: Option<Verdict>,
    /// Why it failed; [`Code::NONE`] if it did not, or if that is not known.
    pub code: Code,
    /// The time from its start to its end.
    pub latency: Duration,
    /// Whether its call was cancelled or dropped.
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

    /// In one word, what became of it: `accept`, `retry`, `wait` or `fatal` as its [verdict](Verdict) says, else
    /// `abandoned`, or `cancelled` if the call was cancelled or dropped.
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

/// What happened to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerChange {
    /// It entered the list. A server that replaces another one under the same key is a new server.
    Inserted,
    /// It left the list. Its attempts go on.
    Removed,
    /// The circuit breaker isolates it ([H2](hedge_core::rules#H2)).
    Isolated {
        /// For how long, until an attempt may probe it.
        isolation: Duration,
    },
    /// An attempt is let through to see whether it works again: its isolation is over, or all servers are broken
    /// ([H5](hedge_core::rules#H5)). This comes for each such attempt.
    HalfOpen,
    /// Its probe has succeeded, so it is no longer isolated.
    Returned,
    /// Its isolation was ended before a probe, since fewer servers may be isolated now ([H4](hedge_core::rules#H4)).
    Lifted,
    /// No connection to it could be made, so it gets no calls until a check passes ([H1](hedge_core::rules#H1)).
    Broken,
    /// It can be connected to again: a check has passed, an attempt that was let through has succeeded
    /// ([H5](hedge_core::rules#H5)), or the checks ended without a result.
    Connected,
    /// It was withdrawn by hand.
    Withdrawn,
    /// It was put back by hand.
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
    /// The server is connected to.
    Connect,
    /// The application's own check is asked, or the path of the check is requested.
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
    /// It passed. The next step follows, or the server is back.
    Passed,
    /// It failed. The next check follows after the interval.
    Failed,
    /// It took longer than a check may take, so it has failed.
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

/// A step of a health check that has ended ([H1](hedge_core::rules#H1)). A check whose server left the list meanwhile
/// is not told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckEnded<'a> {
    /// The server.
    pub server: ServerRef<'a>,
    /// Which step.
    pub step: CheckStep,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// How long it took.
    pub latency: Duration,
}

impl<'a> CheckEnded<'a> {
    /// For hosts.
    #[must_use]
    pub const fn new(server: ServerRef<'a>, step: CheckStep, outcome: CheckOutcome, latency: Duration) -> Self {
        Self { server, step, outcome, latency }
    }
}

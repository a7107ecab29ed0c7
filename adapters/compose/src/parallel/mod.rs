//! A call to several channels at once: [`Parallel`] ([X2](hedge_core::rules#X2)).

mod builder;
mod error;
mod fan_out;
#[cfg(feature = "json")]
mod json;
mod mapper;
mod merger;
mod parts;
mod reply;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use hedge_core::drive::{CancelSignal, Timer};
use hedge_core::latency::Snapshot;
use hedge_core::outcome::End;
use hedge_core::policy::{self, Idempotency};
use hedge_core::time::{Instant, Timeout};
use hedge_fleet::{AsCallOptions, CallHost, CallOptions, Caller, Counters};

pub use builder::ParallelBuilder;
pub use error::{ParallelCause, ParallelError};
#[cfg(feature = "json")]
pub use json::{JsonArrays, JsonError, JsonObjects};
pub use mapper::{BoxError, MapFn, Mapped, Mapper, Unmapped};
pub use merger::{Collect, Concat, First, Merger, Unmerged};
pub use parts::{Part, PartResult, Parts};
pub use reply::ParallelReply;

use crate::judge::all_idempotent;
use crate::machine::{Ended, Machine, says_usable};

/// A channel that sends each call to all of its sub-channels at once, and joins the replies
/// ([X2](hedge_core::rules#X2)). All clones are the same channel.
///
/// A sub-channel is any [`Caller`], under a name. Sub-channels of several types go in as
/// [`BoxCaller`](hedge_fleet::BoxCaller)s. A [`Mapper`] makes the request of each part, and a [`Merger`] joins the
/// replies.
///
/// The call fails when `fail_limit` parts have failed, by default when all have. It succeeds when `success_limit` parts
/// have succeeded, or when all parts have ended and fewer than `fail_limit` parts have failed. The parts that are still
/// running are then dropped, which cancels them. A part that has not ended at the deadline is missing, and the call
/// then fails. The reply and the error both have the result of every part.
///
/// The parts run under the deadline of the call, so the timeouts of the sub-channels have no effect. Each part has the
/// retries, the backups and the limits of its sub-channel. The parallel call itself is one attempt: it is not retried and
/// not backed up. For that, make it a sub-channel of a [`Selective`](crate::Selective). So these options of a call have
/// no effect: `attempt_timeout`, `max_retry`, `backup`, `max_backups`, `backoff`, `backup_policy` and `retry_target`. The
/// option `servers` sends every part to these servers, whatever its sub-channel is.
///
/// # Cost
/// A call allocates once for each part, and a few times more. All parts run in the future of the call, without tasks. A
/// wake-up polls only the parts that were woken.
pub struct Parallel<C, T, M = Unmapped, G = Unmerged> {
    inner: Arc<Inner<C, T, M, G>>,
}

struct Inner<C, T, M, G> {
    /// The core sees the parallel call as one server, so that the core decides the deadline, the cancel and the end.
    machine: Machine<(), T>,
    channels: Box<[(Arc<str>, C)]>,
    mapper: M,
    merger: G,
    fail_limit: Option<NonZeroUsize>,
    success_limit: Option<NonZeroUsize>,
}

impl<C, T: Timer> Parallel<C, T> {
    /// Returns a builder. Calls use `timer` as their clock and for waiting. `hedge-tokio` and `hedge-smol` have timers.
    pub fn builder(timer: T) -> ParallelBuilder<C, T> {
        ParallelBuilder::new(timer)
    }
}

impl<C, T: Timer, M, G> Parallel<C, T, M, G> {
    /// Returns the names of the sub-channels and the sub-channels, in the order in which they were added.
    pub fn channels(&self) -> &[(Arc<str>, C)] {
        &self.inner.channels
    }

    /// Returns how many calls run now.
    pub fn in_flight(&self) -> u32 {
        self.inner.machine.servers.load().list().nodes().iter().map(|node| node.in_flight()).sum()
    }

    /// Returns how many calls ended in which way. A call counts as one attempt, whatever the number of its parts.
    pub fn counters(&self) -> Counters {
        self.inner.machine.settings.counters()
    }

    /// Returns how long calls took in the last 10 s.
    pub fn latencies(&self) -> Snapshot {
        self.inner.machine.settings.latencies(self.now())
    }

    /// Returns the time on the clock of the channel.
    pub fn now(&self) -> Instant {
        self.inner.machine.timer.now()
    }
}

impl<Request, C, T, M, G> Caller<Request> for Parallel<C, T, M, G>
where
    Request: Sync,
    M: Mapper<Request>,
    C: Caller<M::Part>,
    T: Timer<Sleep: Send> + Send + Sync,
    G: Merger<C::Reply, C::Error>,
{
    type Reply = ParallelReply<G::Merged, C::Reply, C::Error>;
    type Error = ParallelError<C::Reply, C::Error>;

    async fn call_with(&self, request: &Request, options: &CallOptions) -> Result<Self::Reply, Self::Error> {
        let inner = &*self.inner;
        let parts = Parts::skipped(inner.channels.iter().map(|(name, _)| name));
        let kept = Mutex::new(Kept { parts, result: None });
        let mut host = CallHost::new(&inner.machine, ());
        hedge_fleet::CallContext::hold(&mut host);
        let one = OneAttempt(options);
        let ended = hedge_fleet::run!(
            host,
            one,
            Idempotency::Unset,
            |attempt| inner.attempt(request, options, &kept, attempt),
            |call, result| Ended::new(&result, call)
        );
        let ended = ended.unwrap_or_else(|error| Ended::refused(error, self.now()));
        finish(ended, kept.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether so few sub-channels are down that a call may succeed.
    fn has_usable_server(&self) -> bool {
        let channels = &self.inner.channels;
        let limit = self.inner.fail_limit.map_or(channels.len(), |limit| limit.get().min(channels.len()));
        channels.iter().filter(|(_, channel)| !says_usable(C::has_usable_server, channel)).count() < limit
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        let of_part = |(index, (_, channel)): (usize, &(Arc<str>, C))| match self.inner.mapper.map(index, request) {
            Mapped::Borrowed(part) => Some(channel.idempotency(part)),
            Mapped::Owned(part) => Some(channel.idempotency(&part)),
            Mapped::Skip | Mapped::Refuse(_) => None,
        };
        all_idempotent(self.inner.channels.iter().enumerate().filter_map(of_part))
    }
}

/// What one call keeps of its parts.
struct Kept<Reply, E, Merged> {
    parts: Parts<Reply, E>,
    /// The result of all parts together. `None` until the parts have decided how the call ends.
    result: Option<Result<Merged, ParallelCause>>,
}

/// Turns the end of a call into what the caller gets.
fn finish<Merged, Reply, E>(
    ended: Ended,
    kept: Kept<Reply, E, Merged>,
) -> Result<ParallelReply<Merged, Reply, E>, ParallelError<Reply, E>> {
    let Kept { mut parts, result } = kept;
    let cause = match (ended.end, result) {
        (Ok(End::Accepted), Some(Ok(merged))) => return Ok(ParallelReply::new(merged, parts, ended.trace)),
        (Ok(End::Deadline), _) => {
            parts.deadline();
            ParallelCause::Deadline
        }
        (Ok(End::Cancelled), _) => ParallelCause::Cancelled,
        (Ok(_), Some(Err(cause))) => cause,
        // This does not happen: the only server of the machine is never down, and its replies are accepted.
        (Ok(_), _) => ParallelCause::NoChannels,
        (Err(error), _) => ParallelCause::Config(error),
    };
    Err(ParallelError::new(cause, parts, ended.trace))
}

/// The options of a call that is one attempt. The mode of the body concerns the parts.
struct OneAttempt<'a>(&'a CallOptions);

impl AsCallOptions for OneAttempt<'_> {
    fn as_core(&self) -> policy::CallOptions<'_> {
        policy::CallOptions {
            max_retry: Some(0),
            backup: None,
            max_backups: None,
            backoff: None,
            backup_policy: None,
            streaming: false,
            ..self.0.as_core()
        }
    }

    fn attempt_timeout(&self) -> Option<Timeout> {
        Some(Timeout::NEVER)
    }

    fn cancel(&self) -> Option<&CancelSignal> {
        self.0.cancel()
    }
}

impl<C, T, M, G> Clone for Parallel<C, T, M, G> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C, T, M, G> fmt::Debug for Parallel<C, T, M, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.inner.channels.iter().map(|(name, _)| name).collect();
        f.debug_struct("Parallel")
            .field("channels", &names)
            .field("fail_limit", &self.inner.fail_limit)
            .field("success_limit", &self.inner.success_limit)
            .finish_non_exhaustive()
    }
}

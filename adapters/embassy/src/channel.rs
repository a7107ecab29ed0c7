//! A line to a cluster: [`Channel`].

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::pin;

use embedded_nal_async::TcpConnect;
use hedge_core::call::{Call, Report};
use hedge_core::channel::{Filter, ListChange, Update};
use hedge_core::cluster::{ClusterError, Server};
use hedge_core::drive::{CallFailure, Cancel, Driver, NoAttemptTimeout, NoCancel, Timer as _, drive};
use hedge_core::health::{Health, HealthError};
use hedge_core::id::ServerId;
use hedge_core::policy::{CallOptions, ChannelOptions, ConfigError, NoPolicy, RetryPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::{Duration, Timeout};

use crate::attempt_limit::AttemptLimit;
use crate::clock::Clock;
use crate::error::Error;
use crate::http::attempt;
use crate::parts::Parts;
use crate::reply::{CallError, CallResult, Reply};
use crate::request::Request;
use crate::resources::{Memory, Resources};
use crate::response::{HttpRetryPolicy, Response};
use crate::runner::Runner;
use crate::shared::{CallHost, Servers, Shared, State};

/// A client of a cluster of servers: a handle, of which each task that makes calls has a copy.
///
/// `S` is the network stack, which makes connections. `R` is the memory: [`Resources`], with its parameters. Programs name
/// both types once: `type Memory = Resources<Choice<RoundRobin>, 4, 2, 512>;` and
/// `type Line = Channel<'static, Sockets<'static, 4>, Memory>;`. `A` is the limit of each attempt, if there is one: see
/// [`with_attempt_timeout`](Self::with_attempt_timeout).
///
/// # Cost
/// A look for a server, its commitment and its end are a critical section each; nothing is held while a call waits. Limits
/// and other policies run outside of them. An attempt is a buffer, a connection of its own, and a request that asks the
/// server to close it. There is no pool of kept connections: it would take a socket a server all the time, which is what a
/// microcontroller has least of, to save a round trip in a local network.
pub struct Channel<'r, S, R: Memory, A = NoAttemptTimeout> {
    stack: &'r S,
    shared: &'r R::Shared,
    slots: &'r R::Slots,
    attempt_timeout: A,
}

impl<'r, S, P, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>
    Channel<'r, S, Resources<P, SERVERS, SLOTS, BYTES>>
where
    P: Parts,
{
    /// A channel without servers, over `stack` and in `memory`, and what checks its servers.
    ///
    /// Health checks are made while the [`Runner`] runs. To have none, drop it. All random choices come from `seed`: two
    /// devices with the same seed make the same choices, so give each device, and each start, another one.
    ///
    /// # Errors
    /// Options that contradict themselves. That they fit a call is checked when the call is made.
    pub fn new(
        stack: &'r S,
        memory: &'r mut Resources<P, SERVERS, SLOTS, BYTES>,
        options: ChannelOptions,
        balancer: P::Balancer,
        policy: P::Policy,
        health: Health<P::Breaker>,
        seed: u64,
    ) -> Result<(Self, Runner<'r, S, Resources<P, SERVERS, SLOTS, BYTES>>), ConfigError> {
        let servers: Servers<P, SERVERS> =
            hedge_core::channel::Channel::with_health(options.clone(), balancer, NoPolicy, health, seed)?;
        let state = embassy_sync::blocking_mutex::Mutex::new(State::new(servers).into());
        let (shared, slots) = memory.fill(Shared { options, seeds: Seeds::new(seed), policy, state });
        let attempt_timeout = NoAttemptTimeout;
        Ok((Self { stack, shared, slots, attempt_timeout }, Runner::new(stack, shared)))
    }
}

impl<'r, S, P, A, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>
    Channel<'r, S, Resources<P, SERVERS, SLOTS, BYTES>, A>
where
    P: Parts,
{
    /// A handle to the same channel whose calls limit each attempt to `limit`, from its start to its result
    /// ([L21](hedge_core::rules#L21)). Without it, only the call's deadline limits an attempt.
    ///
    /// An attempt that takes as long is dropped and counts as a failure of its server
    /// ([`AttemptTimeout`](hedge_core::outcome::ErrorKind::AttemptTimeout)). It is retried at another server if the call may
    /// still retry. A call that may not be sent twice ends with its attempt. The time that an attempt waits for a buffer counts
    /// too. If it finds none in that time, it fails as [`Error::NoBuffer`], which blames no server.
    ///
    /// The limit belongs to the handle and its copies. Calls by other handles are not limited, so a program may use both.
    ///
    /// ```
    /// # use hedge_core::{balance::RoundRobin, health::Health, policy::{ChannelOptions, NoPolicy}};
    /// use hedge_core::time::{Duration, Timeout};
    /// # use hedge_embassy::{Channel, Choice, Resources};
    /// # struct Net;
    /// # type Memory = Resources<Choice<RoundRobin, NoPolicy>>;
    ///
    /// // The limit is part of the type.
    /// type Line = Channel<'static, Net, Memory, Timeout>;
    ///
    /// # static NET: Net = Net;
    /// # static MEMORY: static_cell::ConstStaticCell<Memory> = static_cell::ConstStaticCell::new(Memory::new());
    /// # let (options, balancer) = (ChannelOptions::brpc(), RoundRobin::new(7));
    /// # let (channel, _) = Channel::new(&NET, MEMORY.take(), options, balancer, NoPolicy, Health::none(), 7)?;
    /// let line: Line = channel.with_attempt_timeout(Duration::from_millis(150))?;
    /// # Ok::<(), hedge_core::policy::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// A limit of 0.
    pub fn with_attempt_timeout(
        self,
        limit: Duration,
    ) -> Result<Channel<'r, S, Resources<P, SERVERS, SLOTS, BYTES>, Timeout>, ConfigError> {
        if limit == Duration::ZERO {
            return Err(ConfigError::NoTime { field: "attempt_timeout" });
        }
        let Self { stack, shared, slots, .. } = self;
        Ok(Channel { stack, shared, slots, attempt_timeout: Timeout::After(limit) })
    }

    /// The policy.
    pub fn policy(&self) -> &'r P::Policy {
        &self.shared.policy
    }

    /// How many attempts' buffers are free: all of them while there is no call and no response is kept.
    pub fn free_buffers(&self) -> usize {
        self.slots.free()
    }

    /// Looks at the servers and the balancer, in a critical section: keep it short, and use no channel in it.
    pub fn with_servers<V>(&self, look: impl FnOnce(&Servers<P, SERVERS>) -> V) -> V {
        self.shared.with(|state| look(&state.servers))
    }

    /// Whether a server takes calls.
    pub fn usable(&self, server: ServerId) -> bool {
        let now = Clock.now();
        self.shared.with(|state| state.servers.usable(server, now))
    }

    /// Says whether a server can be connected to, so that it takes calls; false if it is gone from the list. For those who
    /// know of their own: the [`Runner`] checks one that cannot, and lets it in once it passes.
    pub fn set_usable(&self, server: ServerId, usable: bool) -> bool {
        let now = Clock.now();
        self.shared.change(|state| {
            state.tell();
            state.servers.set_broken(server, !usable, now)
        })
    }

    /// Changes how often servers that cannot be connected to are checked (H1). A wait that is under way is as if it had always
    /// been so.
    ///
    /// # Errors
    /// An interval that is not in [10 ms, 1 h], with nothing changed.
    pub fn set_check_interval(&self, interval: Duration) -> Result<(), HealthError> {
        self.shared.change(|state| {
            let checks = hedge_core::health::CheckOptions { interval, ..state.checks };
            checks.validate()?;
            state.checks = checks;
            state.tell();
            Ok(())
        })
    }
}

impl<S, P, A, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>
    Channel<'_, S, Resources<P, SERVERS, SLOTS, BYTES>, A>
where
    P: Parts,
{
    /// Adds a server, usable at once.
    ///
    /// # Errors
    /// Why it is not in the list: nothing has changed.
    pub fn insert(&self, address: SocketAddr, tag: P::Tag) -> Result<ServerId, ClusterError> {
        self.edit(|servers| servers.insert(address, tag))
    }

    /// Removes a server; attempts at it go on, and what is told of them is dropped (L20).
    ///
    /// # Errors
    /// [`ClusterError::Gone`].
    pub fn remove(&self, server: ServerId) -> Result<Server<SocketAddr, P::Tag>, ClusterError> {
        let now = Clock.now();
        self.edit(|servers| servers.remove(server, now))
    }

    /// Makes a change; false if there was nothing to change.
    ///
    /// # Errors
    /// Why a server is not in the list: nothing has changed.
    pub fn apply(&self, change: ListChange<SocketAddr, P::Tag>) -> Result<bool, ClusterError> {
        let now = Clock.now();
        self.edit(|servers| servers.apply(change, now))
    }

    /// Replaces the list by `servers`. Servers that stay keep their ids and all that is known about them. Servers that are not
    /// named are removed first. A server that cannot be added, because the list is full for example, is counted in
    /// [`Update::refused`], and the others are added all the same.
    ///
    /// All of it is one critical section: a call sees the old list or the new one.
    ///
    /// # Errors
    /// [`ClusterError::Balancer`]: the balancer has no room for the servers. The list is empty then.
    pub fn set_servers<I>(&self, servers: I) -> Result<Update, ClusterError>
    where
        I: IntoIterator<Item = (SocketAddr, P::Tag), IntoIter: Clone>,
    {
        let (servers, now) = (servers.into_iter(), Clock.now());
        self.edit(|list| list.set_servers(servers, now))
    }

    /// Lets only servers into the list that `filter` answers true of (N3).
    pub fn set_filter(&self, filter: Filter<SocketAddr, P::Tag>) {
        self.edit(|servers| servers.set_filter(filter));
    }

    fn edit<V>(&self, edit: impl FnOnce(&mut Servers<P, SERVERS>) -> V) -> V {
        self.shared.change(|state| {
            let edited = edit(&mut state.servers);
            state.tell();
            edited
        })
    }
}

impl<'r, S, P, A, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>
    Channel<'r, S, Resources<P, SERVERS, SLOTS, BYTES>, A>
where
    S: TcpConnect,
    P: Parts,
    A: AttemptLimit,
{
    /// Makes a call with the channel's options. Dropping the future cancels it: its attempts give back their buffers and
    /// drop their connections at once.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call<'a>(
        &self,
        request: &'a Request<'_>,
    ) -> impl Future<Output = CallResult<'r, Resources<P, SERVERS, SLOTS, BYTES>>>
    + use<'a, 'r, S, P, A, SERVERS, SLOTS, BYTES> {
        const INHERIT: &CallOptions<'_> = &CallOptions::new();
        self.call_with(request, INHERIT)
    }

    /// Makes a call.
    ///
    /// At most two attempts are in flight at once: `max_backups` above 1 is an error.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_with<'a>(
        &self,
        request: &'a Request<'_>,
        options: &'a CallOptions<'a>,
    ) -> impl Future<Output = CallResult<'r, Resources<P, SERVERS, SLOTS, BYTES>>>
    + use<'a, 'r, S, P, A, SERVERS, SLOTS, BYTES> {
        self.call_judged(request, options, &HttpRetryPolicy, NoCancel)
    }

    /// Makes a call whose results `retry_policy` judges, and that `cancel` may cancel: a
    /// [`&CancelSignal`](hedge_core::drive::CancelSignal), or [`NoCancel`].
    ///
    /// A call has as many buffers as attempts in flight, and one more while its last failure is a response. Under
    /// [`HttpRetryPolicy`] these are two together; under a policy that retries responses they may be three.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_judged<'a, J, C>(
        &self,
        request: &'a Request<'_>,
        options: &'a CallOptions<'a>,
        retry_policy: &'a J,
        cancel: C,
    ) -> impl Future<Output = CallResult<'r, Resources<P, SERVERS, SLOTS, BYTES>>>
    + use<'a, 'r, S, P, A, SERVERS, SLOTS, BYTES, J, C>
    where
        J: RetryPolicy<Response<'r, Resources<P, SERVERS, SLOTS, BYTES>>, Error>,
        C: Cancel + Copy,
    {
        let Self { stack, shared, slots, attempt_timeout } = *self;
        async move {
            let host = CallHost { shared, idempotency: request.idempotency() };
            let mut call: Call<'_, _> = Call::new(&host, options, Clock.now()).map_err(CallError::Config)?;
            let driver = Driver::new(&Clock, retry_policy).cancelled_by(cancel);
            let (driver, deadline) = (attempt_timeout.limit_attempts_of(driver), call.deadline());
            let start = move |info| attempt(stack, slots, request, info, deadline, attempt_timeout);
            let result = drive(&mut call, [pin!(None), pin!(None)], driver, start).await;
            let report = call.report();
            debug!("call over after {}: {} attempts", report.elapsed(), report.attempts().len());
            match result {
                Ok(response) => Ok(Reply::new(response, kept(report))),
                Err(CallFailure::Ended { end, last }) => Err(CallError::Ended { end, last, report: kept(report) }),
                Err(CallFailure::Config(error)) => Err(CallError::Config(error)),
            }
        }
    }
}

/// A copy, made where it is to be: moving one takes as much code as making it.
#[inline(never)]
fn kept(report: &Report) -> Report {
    report.clone()
}

impl<S, R: Memory, A: Copy> Clone for Channel<'_, S, R, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, R: Memory, A: Copy> Copy for Channel<'_, S, R, A> {}

impl<S, R: Memory, A> fmt::Debug for Channel<'_, S, R, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Choice;

    #[test]
    fn a_handle_goes_to_other_executors_if_the_memory_is_guarded_for_that() {
        fn goes_anywhere<H: Send + Sync + Copy>() {}
        goes_anywhere::<Channel<'static, (), Resources<Choice>>>();
    }
}

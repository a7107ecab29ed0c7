//! The client of a cluster of servers: [`Channel`].

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::pin;

use embedded_nal_async::TcpConnect;
use hedge_core::call::{Call, Report};
use hedge_core::channel::{Filter, ListChange, Update};
use hedge_core::cluster::{ClusterError, Server};
use hedge_core::drive::{CallFailure, Cancel, Driver, NoAttemptTimeout, NoCancel, Timer as _, drive};
use hedge_core::health::{CheckInterval, Health};
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

/// A client of a cluster of servers. It is a handle that can be copied: each task that makes calls has a copy.
///
/// `S` is the network stack, which makes connections. `R` is the memory: [`Resources`], with its parameters. Programs
/// name both types once: `type Memory = Resources<Choice<RoundRobin>, 4, 2, 512>;` and
/// `type Client = Channel<'static, Sockets<'static, 4>, Memory>;`. `A` is the limit of each attempt, if there is one:
/// see [`with_attempt_timeout`](Self::with_attempt_timeout).
///
/// # Cost
/// Finding a server, committing to it and the end of an attempt take a short critical section each. Nothing is locked
/// while a call waits. Limits and other policies run outside the critical sections.
///
/// An attempt takes a buffer and a connection of its own, and its request asks the server to close the connection. No
/// connections are kept open: each would occupy one of the few sockets that a microcontroller has, to save a round trip
/// in a local network.
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
    /// Makes a channel without servers, over `stack` and in `memory`, and the [`Runner`] that checks its servers.
    ///
    /// Health checks are made while the [`Runner`] runs. For a channel without checks, drop it. All random choices come
    /// from `seed`. Two devices with the same seed make the same choices, so each device should have another seed at
    /// each start.
    ///
    /// The options are checked when a call is made.
    pub fn new(
        stack: &'r S,
        memory: &'r mut Resources<P, SERVERS, SLOTS, BYTES>,
        options: ChannelOptions,
        balancer: P::Balancer,
        policy: P::Policy,
        health: Health<P::Breaker>,
        seed: u64,
    ) -> (Self, Runner<'r, S, Resources<P, SERVERS, SLOTS, BYTES>>) {
        let servers: Servers<P, SERVERS> =
            hedge_core::channel::Channel::with_health(options.clone(), balancer, NoPolicy, health, seed);
        let state = embassy_sync::blocking_mutex::Mutex::new(State::new(servers).into());
        let (shared, slots) = memory.fill(Shared { options, seeds: Seeds::new(seed), policy, state });
        let attempt_timeout = NoAttemptTimeout;
        (Self { stack, shared, slots, attempt_timeout }, Runner::new(stack, shared))
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
    /// An attempt that reaches the limit is dropped and counts as a failure of its server
    /// ([`AttemptTimeout`](hedge_core::outcome::ErrorKind::AttemptTimeout)). The call then tries another server, if it
    /// may still retry. A call whose request may not be sent twice ends with the attempt. The time that an attempt
    /// waits for a buffer counts too. An attempt that gets no buffer within the limit fails as [`Error::NoBuffer`],
    /// which blames no server.
    ///
    /// The limit belongs to the handle and its copies. Calls by other handles are not limited, so a program may use
    /// both.
    ///
    /// ```
    /// # use hedge_core::{balance::RoundRobin, health::Health, policy::{ChannelOptions, NoPolicy}};
    /// use hedge_core::time::{Duration, Timeout};
    /// # use hedge_embassy::{Channel, Choice, Resources};
    /// # struct Net;
    /// # type Memory = Resources<Choice<RoundRobin, NoPolicy>>;
    ///
    /// // The limit is part of the type.
    /// type Client = Channel<'static, Net, Memory, Timeout>;
    ///
    /// # static NET: Net = Net;
    /// # static MEMORY: static_cell::ConstStaticCell<Memory> = static_cell::ConstStaticCell::new(Memory::new());
    /// # let (options, balancer) = (ChannelOptions::brpc(), RoundRobin::new(7));
    /// # let (channel, _) = Channel::new(&NET, MEMORY.take(), options, balancer, NoPolicy, Health::none(), 7);
    /// let client: Client = channel.with_attempt_timeout(Duration::from_millis(150))?;
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
        Ok(Channel { stack, shared, slots, attempt_timeout: Timeout::after(limit) })
    }

    /// The policy that was given to [`new`](Self::new).
    pub fn policy(&self) -> &'r P::Policy {
        &self.shared.policy
    }

    /// How many buffers are free. All of them are free if no call runs and no response is kept.
    pub fn free_buffers(&self) -> usize {
        self.slots.free()
    }

    /// Calls `look` with the servers and the balancer, and returns the result of `look`. `look` runs in a critical
    /// section, so it must be short, and it must not use a channel.
    pub fn with_servers<V>(&self, look: impl FnOnce(&Servers<P, SERVERS>) -> V) -> V {
        self.shared.with(|state| look(&state.servers))
    }

    /// Whether a server takes calls: it is in the list, it can be connected to, and no breaker isolates it.
    pub fn usable(&self, server: ServerId) -> bool {
        let now = Clock.now();
        self.shared.with(|state| state.servers.usable(server, now))
    }

    /// Sets whether a server can be connected to. A server that cannot be connected to takes no calls. Returns false if
    /// the server is not in the list.
    ///
    /// A program needs this only if it learns of a server's state by other means than calls. While the [`Runner`] runs,
    /// it checks a server that was set to unusable, and sets it to usable once a check has succeeded.
    pub fn set_usable(&self, server: ServerId, usable: bool) -> bool {
        let now = Clock.now();
        self.shared.change(|state| {
            state.tell();
            state.servers.set_broken(server, !usable, now)
        })
    }

    /// Sets how often a server is checked that cannot be connected to ([H1](hedge_core::rules#H1)). The default is 3 s. The
    /// new interval also applies to a wait that has already begun: it then ends one new interval after its beginning.
    pub fn set_check_interval(&self, interval: CheckInterval) {
        self.shared.change(|state| {
            state.checks.interval = interval;
            state.tell();
        });
    }
}

impl<S, P, A, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>
    Channel<'_, S, Resources<P, SERVERS, SLOTS, BYTES>, A>
where
    P: Parts,
{
    /// Adds a server. It is usable at once.
    ///
    /// # Errors
    /// The server could not be added. The error says why. Nothing has changed then.
    pub fn insert(&self, address: SocketAddr, tag: P::Tag) -> Result<ServerId, ClusterError> {
        self.edit(|servers| servers.insert(address, tag))
    }

    /// Removes a server. Attempts in flight at it go on, but their results no longer count
    /// ([L20](hedge_core::rules#L20)).
    ///
    /// # Errors
    /// [`ClusterError::Gone`]: the server is not in the list.
    pub fn remove(&self, server: ServerId) -> Result<Server<SocketAddr, P::Tag>, ClusterError> {
        let now = Clock.now();
        self.edit(|servers| servers.remove(server, now))
    }

    /// Applies a change. Returns false if there was nothing to change.
    ///
    /// # Errors
    /// The change could not be made. The error says why. Nothing has changed then.
    pub fn apply(&self, change: ListChange<SocketAddr, P::Tag>) -> Result<bool, ClusterError> {
        let now = Clock.now();
        self.edit(|servers| servers.apply(change, now))
    }

    /// Replaces the list by `servers`. Servers that stay keep their ids and all that is known about them. Servers that
    /// are not in `servers` are removed first. A server that cannot be added, because the list is full for example, is
    /// counted in [`Update::refused`], and the other servers are still added.
    ///
    /// The whole replacement is one critical section, so a call sees either the old list or the new one.
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

    /// Lets only servers into the list for which `filter` returns true. Servers that are in the list stay until the
    /// next [`set_servers`](Self::set_servers).
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
    /// Makes a call with the channel's options. Dropping the future cancels the call: its attempts give back their
    /// buffers and drop their connections at once.
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

    /// Makes a call with its own options. Where `options` sets nothing, the channel's options apply.
    ///
    /// At most two attempts are in flight at once, so `max_backups` above 1 is an error.
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

    /// Makes a call whose results are judged by `retry_policy`, and that can be cancelled by `cancel`: a
    /// [`&CancelSignal`](hedge_core::drive::CancelSignal), or [`NoCancel`].
    ///
    /// A call holds one buffer for each attempt in flight, and one more while its last failure is a response. With
    /// [`HttpRetryPolicy`], a call holds at most two buffers. With a policy that retries responses, it may hold three.
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
            debug!("call ended after {}: {} attempts", report.elapsed_micros(), report.attempts().len());
            match result {
                Ok(response) => Ok(Reply::new(response, kept(report))),
                Err(CallFailure::Ended { end, last }) => Err(CallError::Ended { end, last, report: kept(report) }),
                Err(CallFailure::Config(error)) => Err(CallError::Config(error)),
            }
        }
    }
}

/// Copies a report. This function is not inlined. So the copy is made in its final place, and no code moves it there.
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
    fn a_handle_may_move_to_another_executor_if_its_mutex_allows_that() {
        fn may_move<H: Send + Sync + Copy>() {}
        may_move::<Channel<'static, (), Resources<Choice>>>();
    }
}

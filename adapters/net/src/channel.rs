//! Makes calls to a cluster of servers: [`Channel`].

mod intercepted;

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use hedge_core::call::{Call, Host};
use hedge_core::drive::{Along, CallAlong, CallFailure, SendTransport};
use hedge_core::health::CheckInterval;
use hedge_core::id::ServerId;
use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Denial, End, Extra, Finished, Judgement, Kind};
use hedge_core::policy::{self, ConfigError, RetryPolicy};
use hedge_core::time::Instant;
use hedge_fleet::{
    Address, AlongOptions, BodyMode, CallContext as _, CallHost, CallOptions, ChannelContext, ChannelInfo, Counters,
    Inspect, Interceptors, ListError, ListUpdate, MAX_ATTEMPTS, Report, Server, Servers, Settings, Trace, TriedServers,
};
use hedge_http_transport::BodyHandover;
use hedge_link::Runtime;

pub(crate) use self::intercepted::Keep;
use crate::call_state::CallState;
use crate::check_state::{CheckState, Lease, Node};
use crate::error::CallError;
use crate::first_list::Waited;
use crate::fleet::Fleet;
use crate::naming::{NamingStatus, Source};
use crate::reply::Reply;

/// Makes calls to a cluster of servers, and holds everything that these calls share. A clone is the same channel.
///
/// # Cost
/// A plain call takes no lock and allocates nothing, apart from what the transport does. Its future has room for two
/// attempts; over HTTP it takes less than 5 KiB, and with the feature `http2` less than 5.5 KiB. A call allocates if it may
/// send more than one backup, tries a third server, names its own servers, streams, or fails.
pub struct Channel<R, T: SendTransport<Request: Sized>> {
    inner: Arc<Inner<R, T>>,
}

pub(crate) struct Inner<R, T: SendTransport<Request: Sized>> {
    pub(crate) name: Box<str>,
    pub(crate) runtime: R,
    pub(crate) transport: T,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) settings: Settings,
    pub(crate) retry_policy: BoxRetryPolicy<T::Reply, T::Error>,
    pub(crate) attach: Option<Attach<T>>,
    pub(crate) keep: Option<Keep<T>>,
    pub(crate) interceptors: Interceptors<T::Request, T::Reply, T::Error>,
    /// The file in force: at first the file that the channel was built from.
    #[cfg(feature = "serde")]
    pub(crate) file: std::sync::Mutex<Arc<hedge_link::ChannelFile>>,
}

/// Hands these to a reply of the HTTP transport. For other transports, [`Reply`] holds the lease.
pub(crate) type Attach<T> = fn(&mut <T as SendTransport>::Reply, BodyHandover);

/// A retry policy of any type.
pub(crate) struct BoxRetryPolicy<B, E>(pub(crate) Box<dyn RetryPolicy<B, E> + Send + Sync>);

impl<B, E> RetryPolicy<B, E> for BoxRetryPolicy<B, E> {
    fn judge(&self, result: Result<&B, &E>) -> Judgement {
        self.0.judge(result)
    }
}

/// What a call over the transport `T` returns.
pub type CallResult<T> =
    Result<Reply<<T as SendTransport>::Reply>, CallError<<T as SendTransport>::Reply, <T as SendTransport>::Error>>;

static INHERIT: CallOptions = CallOptions::new();

impl<R, T> Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    pub(crate) fn from_inner(inner: Inner<R, T>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner<R, T> {
        &self.inner
    }

    /// Makes a call with the channel's options. Dropping the future cancels it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(&self, request: T::Request) -> impl Future<Output = CallResult<T>> {
        self.inner.run(request, &INHERIT)
    }

    /// Makes a call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_with(&self, request: T::Request, options: &CallOptions) -> impl Future<Output = CallResult<T>> {
        self.inner.run(request, options)
    }

    /// Makes a call with a borrowed request.
    pub(crate) fn call_borrowed(
        &self,
        request: &T::Request,
        options: &CallOptions,
    ) -> impl Future<Output = CallResult<T>> {
        self.inner.run(request, options)
    }

    /// The runtime of the channel.
    pub fn runtime(&self) -> &R {
        &self.inner.runtime
    }

    /// The servers, in canonical order.
    pub fn servers(&self) -> Vec<Server> {
        self.inner.fleet.servers.load().list().nodes().iter().map(|node| node.key().clone()).collect()
    }

    /// Waits for the first list of servers, and starts to follow the source of the list if no call has done so yet
    /// ([N5](hedge_core::rules#N5)). It waits as long as it takes: give it a time limit, and see
    /// [`naming`](Self::naming) for the source's errors. A look-up by DNS may take 10 s, and there is no error before
    /// it has failed; `Sources::lookup_timeout` of hedge-naming sets a shorter time. A channel whose servers were named
    /// when it was made is ready at once.
    pub async fn ready(&self) {
        if let Some(source) = &self.inner.fleet.source
            && !source.is_settled()
        {
            self.inner.fleet.listed().await;
        }
    }

    /// What is known about the source of the list: its last error, and the lines and servers that were left out. `None`
    /// if the servers were named when the channel was made.
    pub fn naming(&self) -> Option<NamingStatus> {
        self.inner.fleet.source.as_ref().map(|source| source.status())
    }

    /// Replaces the list of servers and returns what that changed. If the channel follows a source, the source's next
    /// update replaces this list again. Servers that cannot be taken in are left out and
    /// named in the result. The others are taken in all the same.
    ///
    /// Servers that stay keep their ids, their counts, their health, and what the balancer has learned about them
    /// ([S7](hedge_core::rules#S7)). Attempts at servers that are removed go on, but their results are not counted any
    /// more ([L20](hedge_core::rules#L20)). Health checks of these servers end. A server that is named twice is taken
    /// in once.
    ///
    /// # Errors
    /// See [`ListError`]. The old list stays.
    pub fn set_servers(&self, servers: Vec<Server>) -> Result<ListUpdate, ListError> {
        self.inner.fleet.set(servers)
    }

    /// Withdraws a server by hand, or puts it back. Returns false if it is not in the list.
    ///
    /// Three things can keep calls away from a server, independently of each other: this switch, a broken connection
    /// ([H1](hedge_core::rules#H1)), and the circuit breaker ([H2](hedge_core::rules#H2)). So `true` does not bring
    /// back a server whose connection broke, and a check that passes does not bring back a server that was withdrawn
    /// here.
    pub fn set_usable(&self, server: &Server, usable: bool) -> bool {
        let fleet = &self.inner.fleet;
        fleet.servers.load().list().named(server).map(|node| fleet.set_usable(node, usable)).is_some()
    }

    /// Whether a server takes calls now: it is in the list, it was not withdrawn by hand, its connection is not broken
    /// ([H1](hedge_core::rules#H1)), and its breaker lets an attempt through ([H2](hedge_core::rules#H2)).
    pub fn usable(&self, server: &Server) -> bool {
        let (snapshot, now) = (self.inner.fleet.servers.load(), self.now());
        snapshot.list().named(server).is_some_and(|node| snapshot.health().usable(node.health(), now))
    }

    /// Whether a call that starts now would find a usable server, or would wait for the first list of servers. If the
    /// last answer of the list's source was an error, and no list has come yet, this is false.
    pub fn any_usable(&self) -> bool {
        let fleet = &self.inner.fleet;
        fleet.source.as_ref().is_some_and(Source::is_promising) || fleet.servers.any_usable(self.now())
    }

    /// How many attempts are in flight at a server; 0 if it is not in the list.
    pub fn in_flight(&self, server: &Server) -> u32 {
        self.inner.fleet.servers.load().list().named(server).map_or(0, |node| node.in_flight())
    }

    /// How many calls wait for a server with room ([L22](hedge_core::rules#L22)).
    pub fn queued_calls(&self) -> usize {
        self.inner.fleet.servers.queued_calls()
    }

    /// Changes how often servers that are down are checked. A wait that is under way ends as if the interval had been
    /// the new one from its start. If checks are off, this has no effect.
    pub fn set_check_interval(&self, interval: CheckInterval) {
        let fleet = &self.inner.fleet;
        if let Some(checks) = &fleet.checks {
            checks.set_interval(interval);
            for node in fleet.servers.load().list().nodes() {
                node.service().tell();
            }
        }
    }

    /// How many extra attempts of this kind were refused for this reason since the channel was made. The count wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.settings.denied(extra, reason)
    }

    /// How many calls ended in which way since the channel was made, how many attempts they made, and how many extra
    /// attempts were refused. [`Http::counters`](crate::http::Http::counters) counts connections.
    ///
    /// ```
    /// use hedge_net::{Runtime, http::Http};
    ///
    /// fn show<R: Runtime>(channel: &hedge_net::Channel<R, Http<R>>) {
    ///     let counters = channel.counters();
    ///     println!("{} calls, {} accepted, {} late", counters.calls(), counters.accepted, counters.deadline);
    ///     println!("{} backups, {} of them won", counters.backups, counters.backups_won);
    ///     let connections = channel.transport().counters();
    ///     println!("{} connections opened, {} reused", connections.opened, connections.reused);
    /// }
    /// ```
    pub fn counters(&self) -> Counters {
        self.inner.settings.counters()
    }

    /// How long calls took in the last 10 s: their number, their rate, the mean, the longest, percentiles and the
    /// distribution.
    ///
    /// The latency of a call is the time from its start to its end, retries and backups included. For a call that
    /// streams, it is the time to the head of the reply. Calls whose result is accepted or
    /// [`Fatal`](hedge_core::outcome::Verdict::Fatal) count as answered. All other calls count as
    /// [abandoned](Snapshot::abandoned): those that failed, were late, were cancelled or dropped, or found no server.
    /// Their answer would have taken longer, so their time is a lower bound, and percentiles are estimated as if every
    /// call had waited for its answer. Calls that are rejected for invalid options are not counted, and neither are
    /// calls that were never polled.
    ///
    /// A backup's delay depends on the latency of *attempts*, which is not shown here.
    /// [`AdaptiveDelay`](policy::AdaptiveDelay) and [`Shadow`](policy::Shadow) have their own snapshots of it; see
    /// [`Channel::now`].
    ///
    /// # Cost
    /// A channel holds 2 KB for this, and the end of each call does one more atomic addition. From time to time one
    /// call does some microseconds of [upkeep](hedge_core::latency#cost). This method copies 2 KB.
    ///
    /// ```
    /// use hedge_net::{Runtime, http::Http, latency::Quantile};
    ///
    /// fn show<R: Runtime>(channel: &hedge_net::Channel<R, Http<R>>) {
    ///     let latencies = channel.latencies();
    ///     println!("{} calls, {} a second, the longest {:?}", latencies.count(), latencies.qps(), latencies.max());
    ///     if let Some(p99) = latencies.quantile(Quantile::P99) {
    ///         println!("99 % took at most {p99:?}");
    ///     }
    /// }
    /// ```
    pub fn latencies(&self) -> Snapshot {
        self.inner.settings.latencies(self.now())
    }

    /// The time on the channel's clock, which is also the clock of its policies. It is needed for a snapshot of a
    /// policy's own latencies: `adaptive.latencies().snapshot(channel.now())`.
    pub fn now(&self) -> Instant {
        self.inner.runtime.now()
    }

    /// The name of the channel: see [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.inner.transport
    }
}

impl<R, T> Inner<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// Makes one call: prepares its host, runs it, and finishes its result.
    async fn run<Q: Borrow<T::Request>>(&self, request: Q, options: &CallOptions) -> CallResult<T> {
        if let Some(interceptors) = self.interceptors.some() {
            // Boxed, so that the future of a call without interceptors is not larger for it.
            return Box::pin(self.run_intercepted(interceptors, request.borrow(), options)).await;
        }
        let waited = match self.waiting(options) {
            Some(waiting) => Some(Box::new(waiting.await)),
            None => None,
        };
        let options = waited.as_ref().map_or(options, |waited| &waited.options);
        let along = AlongOptions::call_along(options.along.as_deref(), self.transport.wants_key());
        let mut host = self.host(options);
        let ended = hedge_fleet::run!(
            host,
            options,
            self.transport.idempotency(request.borrow()),
            |attempt: AttemptInfo<Address>| {
                let along = along_of(along.as_deref(), host.tried(), attempt.kind);
                self.transport.start_along(request.borrow(), attempt, along)
            },
            |call, result| Ended::new(result, call)
        );
        self.finish(&host, ended, waited.as_deref(), options.body)
    }

    /// The wait for the first list, if the call has to wait. Boxed, since few calls wait.
    fn waiting<'a>(&'a self, options: &'a CallOptions) -> Option<Pin<Box<impl Future<Output = Waited>>>> {
        let waits = |source: &&Source| !source.is_settled() && options.servers.is_none();
        self.fleet.source.as_ref().filter(waits)?;
        let timeout = self.settings.options().channel.timeout;
        Some(Box::pin(Waited::for_list(&self.runtime, &self.fleet, timeout, options)))
    }

    /// The host of a call that starts.
    #[inline]
    fn host(&self, options: &CallOptions) -> CallHost<&Self> {
        let own = options.servers.as_ref().map(|servers| CallState::with_servers(&self.fleet.servers, servers));
        let mut host = CallHost::new(self, own.unwrap_or_default());
        host.hold();
        host
    }

    /// Turns the end of a call into what the caller gets. A streaming body takes over the lease of its server and the
    /// deadline.
    // Inlined, so that the result is not moved once more.
    #[inline]
    fn finish(
        &self,
        host: &CallHost<&Self>,
        ended: Result<Ended<T::Reply, T::Error>, ConfigError>,
        waited: Option<&Waited>,
        body: BodyMode,
    ) -> CallResult<T> {
        let Ended { result, report, at_work, deadline } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let report = Box::new(Trace::nowhere(Report::new(Instant::ZERO)));
                return Err(CallError::Config { error, report });
            }
        };
        if let Some(missed) = waited.and_then(|waited| waited.missed.as_ref())
            && report.end() == Some(End::Deadline)
        {
            return Err(CallError::no_list(missed, report));
        }
        let won = report.winner().and_then(|winner| report.attempts().get(winner.index()));
        let winner = won.and_then(|attempt| host.tried().find(attempt.server())).cloned();
        let mut lease = winner.clone().filter(|_| at_work).map(Lease::new);
        let trace = host.trace(report);
        let attach = |reply: &mut T::Reply, lease: &mut Option<Lease>| {
            if let Some(attach) = self.attach.filter(|_| body == BodyMode::Streaming) {
                attach(reply, BodyHandover::new(&self.runtime, deadline, lease.take().map(Lease::any)));
            }
        };
        match (result, winner) {
            (Ok(mut reply), Some(winner)) => {
                attach(&mut reply, &mut lease);
                Ok(Reply::new(reply, trace, Some(winner), lease))
            }
            // This does not happen: an accepted reply comes from an attempt, and the server of an attempt is known.
            (Ok(reply), None) => Err(CallError::ended(End::Accepted, Some(Ok(reply)), trace)),
            (Err(CallFailure::Ended { end, mut last }), _) => {
                if let Some(Ok(reply)) = &mut last {
                    attach(reply, &mut None);
                }
                Err(CallError::ended(end, last, trace))
            }
            (Err(CallFailure::Config(error)), _) => Err(CallError::Config { error, report: Box::new(trace) }),
        }
    }
}

/// What goes along with an attempt of a call that has tried these servers ([W3](hedge_core::rules#W3)).
#[inline]
pub(crate) fn along_of<'a>(
    call: Option<&'a CallAlong<'a>>,
    tried: &'a TriedServers<Server, CheckState>,
    kind: Kind,
) -> Along<'a, Address> {
    match call {
        Some(call) => call.of_attempt(kind, tried.iter().next().map(|first| &first.key().address)),
        None => Along::NOTHING,
    }
}

/// The result of a call that has ended, without its host.
struct Ended<Reply, Error> {
    result: Result<Reply, CallFailure<Reply, Error>>,
    report: Report,
    at_work: bool,
    deadline: Instant,
}

impl<Reply, Error> Ended<Reply, Error> {
    #[inline]
    fn new<P: Deref<Target: Host>>(
        result: Result<Reply, CallFailure<Reply, Error>>,
        call: &Call<'_, P, MAX_ATTEMPTS>,
    ) -> Self {
        let (at_work, deadline) = (call.winner_at_work().is_some(), call.deadline());
        Self { result, report: call.report().clone(), at_work, deadline }
    }
}

impl<R, T> ChannelContext for Inner<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized>,
{
    type Key = Server;
    type Service = CheckState;
    type Address = Address;
    type Call = CallState;
    type Timer = R;
    type RetryPolicy = BoxRetryPolicy<T::Reply, T::Error>;

    fn servers(&self) -> &Servers<Server, CheckState> {
        &self.fleet.servers
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn timer(&self) -> &R {
        &self.runtime
    }

    fn retry_policy(&self) -> &Self::RetryPolicy {
        &self.retry_policy
    }

    fn address(&self, node: &Node) -> Address {
        node.key().address.clone()
    }

    fn named(own: &CallState) -> &[Arc<Node>] {
        own.servers()
    }

    fn named_ids(own: &CallState) -> Option<&[ServerId]> {
        own.ids()
    }

    fn prepare(
        &self,
        own: &mut CallState,
        options: &policy::CallOptions<'_>,
        inherited: &policy::ChannelOptions,
        now: Instant,
    ) {
        own.prepare(options, inherited, now);
    }

    fn call_started(&self, now: Instant) {
        self.fleet.call_started(now);
    }

    fn adjusted(&self, own: &CallState, attempt: &Finished) -> Finished {
        own.adjusted(attempt)
    }

    fn finished(&self, own: &CallState, node: &Arc<Node>, attempt: &Finished) {
        if own.found_broken(attempt) {
            self.fleet.broke(node, attempt.now);
        }
    }

    fn server_back(&self, node: &Node) {
        self.fleet.server_back(node);
    }
}

impl<R, T> Inspect for Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized> + Send + Sync,
{
    fn inspect(&self) -> ChannelInfo {
        let Inner { name, runtime, fleet, settings, .. } = &*self.inner;
        let now = runtime.now();
        let text = |server: &Server| (server.address.to_string(), server.tag.to_string());
        ChannelInfo::new(name, fleet.servers.inspect(now, text), settings, now)
    }
}

impl<R, T: SendTransport<Request: Sized>> Clone for Channel<R, T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R, T: SendTransport<Request: Sized>> fmt::Debug for Channel<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("servers", &self.inner.fleet.servers.load().list())
            .field("options", &self.inner.settings.options())
            .finish_non_exhaustive()
    }
}

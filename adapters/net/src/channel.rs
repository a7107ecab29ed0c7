//! A line to a cluster: [`Channel`].

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hedge_core::call::{Call, Report};
use hedge_core::drive::{CallFailure, Driver, SendTransport, drive};
use hedge_core::health::HealthError;
use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Denial, End, Extra, Judgement};
use hedge_core::policy::{self, Idempotency, RetryPolicy};
use hedge_core::time::{Instant, Timeout};

use crate::address::Address;
use crate::builder::Builder;
use crate::caught::Guarded;
use crate::error::CallError;
use crate::host::{CallHost, MAX_ATTEMPTS, MAX_IN_FLIGHT, Shared, Tried};
use crate::http::Http;
use crate::list::{ListError, ListUpdate};
use crate::naming::Server;
use crate::options::{CallOptions, CancelToken};
use crate::reply::{Reply, Trace};
use crate::runtime::Runtime;
use crate::stream::{Lease, Owed, RuntimeDeadline, Streaming};

/// A line to a cluster of servers, with everything that its calls share. A clone is the same channel.
///
/// # Cost
/// A plain call takes no lock and, but for what the transport does, allocates nothing. Its future holds two attempts: over
/// HTTP it is below 5 KiB. A call that may send more than one backup, names its own servers, streams, or fails allocates.
pub struct Channel<R, T: SendTransport<Request: Sized>> {
    inner: Arc<Inner<R, T>>,
}

pub(crate) struct Inner<R, T: SendTransport<Request: Sized>> {
    pub(crate) runtime: R,
    pub(crate) transport: T,
    pub(crate) shared: Shared,
    pub(crate) retry_policy: Judge<T::Reply, T::Error>,
    pub(crate) streaming: Option<Streaming<T>>,
    /// The report of a call that did nothing.
    pub(crate) blank: Report<MAX_ATTEMPTS>,
}

/// A retry policy of whatever type.
pub(crate) struct Judge<B, E>(pub(crate) Box<dyn RetryPolicy<B, E> + Send + Sync>);

impl<B, E> RetryPolicy<B, E> for Judge<B, E> {
    fn judge(&self, result: Result<&B, &E>) -> Judgement {
        self.0.judge(result)
    }
}

/// What a call over the transport `T` answers.
pub type CallResult<T> =
    Result<Reply<<T as SendTransport>::Reply>, CallError<<T as SendTransport>::Reply, <T as SendTransport>::Error>>;

static INHERIT: CallOptions = CallOptions::new();

impl<R: Runtime> Channel<R, Http<R>> {
    /// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, or to one `host:port`.
    pub fn builder(runtime: R, servers: impl AsRef<str>) -> Builder<R, Http<R>> {
        Builder::http(runtime, servers.as_ref())
    }
}

impl<R, T> Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// A channel over the caller's own transport.
    ///
    /// Errors are judged by their [`AttemptError`](policy::AttemptError), unless the builder is given a retry policy. In
    /// a streaming call the [`Reply`] stands for the body: the server counts as at work until it is dropped or taken
    /// apart.
    ///
    /// A server whose attempt fails with [`ErrorKind::Refused`](hedge_core::outcome::ErrorKind) or `ConnectTimeout` is isolated and
    /// checked by TCP (H1): a transport that goes by something else switches that off, by
    /// [`Builder::without_health_checks`].
    pub fn with_transport(runtime: R, transport: T, servers: impl AsRef<str>) -> Builder<R, T>
    where
        T::Error: policy::AttemptError,
    {
        Builder::new(runtime, transport, servers.as_ref(), policy::DefaultRetryPolicy, None)
    }

    pub(crate) fn from_inner(inner: Inner<R, T>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Makes a call with the channel's options. Dropping the future cancels it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, request: T::Request) -> CallResult<T> {
        self.call_with(request, &INHERIT).await
    }

    /// Makes a call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_with(&self, mut request: T::Request, options: &CallOptions) -> CallResult<T> {
        let Inner { runtime, transport, shared, retry_policy, streaming, blank } = &*self.inner;
        let mut core = options.as_core();
        if core.idempotency == Idempotency::Unset {
            core.idempotency = transport.idempotency(&request);
        }
        if let Some(streaming) = streaming.filter(|_| core.streaming) {
            (streaming.mark)(&mut request);
        }
        let now = runtime.now();
        let deadline = match core.timeout.unwrap_or(shared.options.timeout) {
            Timeout::After(timeout) => now + timeout,
            Timeout::Never => Instant::NEVER,
        };
        let with_own;
        if let Some(own) = core.backup_policy {
            with_own = (Guarded(own), &shared.latencies);
            core.backup_policy = Some(&with_own);
        }
        let (host, ids);
        match &options.servers {
            None => host = CallHost::new(shared, deadline).connecting_within(core.connect_timeout),
            Some(servers) => {
                let (named, of_them) = CallHost::with_servers(shared, deadline, servers);
                (host, ids) = (named.connecting_within(core.connect_timeout), of_them);
                core.servers = Some(&ids);
            }
        }
        let mut call = match Call::<_, MAX_ATTEMPTS>::new(&host, &core, now) {
            Ok(call) => call,
            Err(error) => {
                let report = Box::new(Trace::new(blank.clone(), Tried::default()));
                return Err(CallError::Config { error, report });
            }
        };
        shared.fleet.call_started(now);
        let driver = Driver::new(runtime, retry_policy).cancelled_by(options.cancel.as_ref().map(CancelToken::signal));
        // Two attempts fit in the future itself; a call that may have more in flight, which is rare, boxes them.
        let result = if call.max_backups() <= 1 {
            let start = |attempt| transport.start(&request, attempt);
            drive(&mut call, [pin!(None), pin!(None)], driver, start).await
        } else {
            let start = |attempt| Box::pin(transport.start(&request, attempt));
            let slots: [_; MAX_IN_FLIGHT] = [pin!(None), pin!(None), pin!(None), pin!(None), pin!(None)];
            drive(&mut call, slots, driver, start).await
        };

        // Looked up again, so that a call that waits keeps no room for them.
        let Inner { runtime, streaming, .. } = &*self.inner;
        // From here on nothing waits, so whoever drops the future cannot come between a count and its lease.
        let (report, at_work, deadline) = (call.report().clone(), call.winner_at_work().is_some(), call.deadline());
        drop(call);
        let trace = Trace::new(report, host.into_tried());
        let winner = trace.winner().and_then(|winner| trace.node(winner)).cloned();
        let mut lease = winner.clone().filter(|_| at_work).map(Lease::new);
        let attach = |reply: &mut T::Reply, lease: &mut Option<Lease>| {
            if let Some(streaming) = streaming.filter(|_| core.streaming) {
                let deadline = RuntimeDeadline::boxed(runtime, deadline);
                (streaming.attach)(reply, Owed { lease: lease.take(), deadline });
            }
        };
        match (result, winner) {
            (Ok(mut reply), Some(winner)) => {
                attach(&mut reply, &mut lease);
                Ok(Reply::new(reply, trace, winner, lease))
            }
            // A reply was accepted, so an attempt was made, so its server is known.
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

    /// The servers, in canonical order.
    pub fn servers(&self) -> Vec<Server> {
        self.inner.shared.fleet.load().nodes.all().iter().map(|node| node.server.clone()).collect()
    }

    /// Replaces the list of servers; answers what that changed. What cannot be taken in is left out and named there, and the
    /// rest is taken in all the same.
    ///
    /// Servers that stay keep their ids, their counts, their health, and what the balancer has learned of them (S7). Calls at
    /// servers that go run on; what comes of them is not counted any more (L20), and their checks end. Doubles are dropped.
    ///
    /// # Errors
    /// See [`ListError`]: the old list stays.
    pub fn set_servers(&self, servers: Vec<Server>) -> Result<ListUpdate, ListError> {
        self.inner.shared.fleet.set(servers)
    }

    /// Takes a server out by hand, or lets it in again; false if it is not in the list.
    ///
    /// That is one of three that each can keep calls away: this, its checks (H1), and its breaker (H2). So true does not bring
    /// a server back whose connection broke, and a check that passes none that was taken out here.
    pub fn set_usable(&self, server: &Server, usable: bool) -> bool {
        let fleet = &self.inner.shared.fleet;
        fleet.load().nodes.named(server).map(|node| fleet.set_usable(node, usable)).is_some()
    }

    /// Whether a server takes calls now: it is in the list, was not taken out by hand, its connection has not broken (H1),
    /// and its breaker lets an attempt through (H2).
    pub fn usable(&self, server: &Server) -> bool {
        let (fleet, now) = (&self.inner.shared.fleet, self.now());
        fleet.load().nodes.named(server).is_some_and(|node| fleet.health.usable(&node.health, now))
    }

    /// How many attempts a server is working on; 0 if it is not in the list.
    pub fn in_flight(&self, server: &Server) -> u32 {
        self.inner.shared.fleet.load().nodes.named(server).map_or(0, |node| node.in_flight())
    }

    /// Changes how often servers that are down are checked. A wait that is under way is as if it had always been so. Without
    /// effect where checks are off.
    ///
    /// # Errors
    /// An interval that is not in [10 ms, 1 h], with nothing changed.
    pub fn set_check_interval(&self, interval: Duration) -> Result<(), HealthError> {
        let fleet = &self.inner.shared.fleet;
        if let Some(checks) = &fleet.checks {
            checks.set_interval(interval.into())?;
            for node in fleet.load().nodes.all() {
                node.outage.tell();
            }
        }
        Ok(())
    }

    /// How many extra attempts of a kind were refused for a reason since the channel was made. Wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.shared.policy.denied(extra, reason)
    }

    /// How long calls took in the last 10 s: how many there were, in all and a second, their mean, the longest, percentiles
    /// and the distribution.
    ///
    /// A call takes from its start to its end, retries and backups included; one whose body is streamed, to the head. What
    /// is accepted or [`Fatal`](hedge_core::outcome::Verdict::Fatal) counts as answered. All others, dropped ones too, count as
    /// [abandoned](Snapshot::abandoned): failed, late, cancelled, or without a server, an answer would have taken longer
    /// than that, and percentiles are those of the latencies as if all had waited for theirs. A call whose options cannot be
    /// carried out is none, nor is one that was never polled.
    ///
    /// How long *attempts* take, which is what a backup's delay goes by, [`AdaptiveDelay`](policy::AdaptiveDelay) and
    /// [`Shadow`](policy::Shadow) tell of themselves; see [`Channel::now`].
    ///
    /// # Cost
    /// A channel holds 2 KB for this, and a call's end is one atomic addition more; now and then one does some microseconds
    /// of [upkeep](hedge_core::latency#cost). Asking copies 2 KB.
    ///
    /// ```
    /// use hedge_net::{Runtime, http::Http, latency::Quantile};
    ///
    /// fn show<R: Runtime>(channel: &hedge_net::Channel<R, Http<R>>) {
    ///     let latencies = channel.latencies();
    ///     println!("{} calls, {} a second, the longest {}", latencies.count(), latencies.qps(), latencies.max());
    ///     if let Some(p99) = latencies.quantile(Quantile::P99) {
    ///         println!("99 % took at most {p99}");
    ///     }
    /// }
    /// ```
    pub fn latencies(&self) -> Snapshot {
        self.inner.shared.latencies.snapshot(self.now())
    }

    /// The time on the channel's clock, which is what a policy is told of; for snapshots of a policy's own latencies:
    /// `adaptive.latencies().snapshot(channel.now())`.
    pub fn now(&self) -> Instant {
        self.inner.runtime.now()
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.inner.transport
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
            .field("servers", &self.inner.shared.fleet.load().nodes.all())
            .field("options", &self.inner.shared.options)
            .finish_non_exhaustive()
    }
}

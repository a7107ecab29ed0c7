//! A line to a cluster: [`Channel`].

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use hedge_core::call::{Call, End, Report};
use hedge_core::drive::{CallFailure, Driver, SendTransport, drive};
use hedge_core::policy::{self, Denial, Extra, Idempotency, Judgement, RetryPolicy};

use crate::address::Address;
use crate::builder::Builder;
use crate::error::CallError;
use crate::host::{CallHost, MAX_ATTEMPTS, Shared, Tried};
use crate::http::Http;
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
        let (host, ids);
        match &options.servers {
            None => host = CallHost::new(shared),
            Some(servers) => {
                (host, ids) = CallHost::with_servers(shared, servers);
                core.servers = Some(&ids);
            }
        }
        let mut call = match Call::<_, MAX_ATTEMPTS>::new(&host, &core, runtime.now()) {
            Ok(call) => call,
            Err(error) => {
                let report = Box::new(Trace::new(blank.clone(), Tried::default()));
                return Err(CallError::Config { error, report });
            }
        };
        let deadline = call.deadline();
        let driver = Driver::new(runtime, retry_policy).cancelled_by(options.cancel.as_ref().map(CancelToken::signal));
        // Two attempts fit in the future itself; a call that may have more in flight, which is rare, boxes them.
        let result = if call.max_backups() <= 1 {
            let start = |attempt| transport.start(&request, attempt);
            drive(&mut call, [pin!(None), pin!(None)], driver, start).await
        } else {
            let start = |attempt| Box::pin(transport.start(&request, attempt));
            drive(&mut call, [pin!(None), pin!(None), pin!(None), pin!(None)], driver, start).await
        };

        // From here on nothing waits, so whoever drops the future cannot come between a count and its lease.
        let report = call.report().clone();
        drop(call);
        let trace = Trace::new(report, host.into_tried());
        let winner = trace.winner().and_then(|winner| trace.node(winner)).cloned();
        let mut lease = winner.clone().filter(|_| core.streaming).map(Lease::new);
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
        self.inner.shared.servers.load().nodes().iter().map(|node| node.server.clone()).collect()
    }

    /// Replaces the list of servers; answers how many it holds now.
    ///
    /// Servers that stay keep their ids and counts. Calls at servers that go run on; what comes of them is not counted
    /// any more (L20). Doubles are dropped, and so is what is beyond 32,768 servers in canonical order.
    pub fn set_servers(&self, servers: Vec<Server>) -> usize {
        self.inner.shared.servers.set(servers)
    }

    /// Says whether a server takes calls; false if it is not in the list.
    pub fn set_usable(&self, server: &Server, usable: bool) -> bool {
        let now = self.inner.shared.servers.load();
        now.named(server).map(|node| node.set_usable(usable)).is_some()
    }

    /// How many attempts a server is working on; 0 if it is not in the list.
    pub fn in_flight(&self, server: &Server) -> u32 {
        self.inner.shared.servers.load().named(server).map_or(0, |node| node.in_flight())
    }

    /// How many extra attempts of a kind were refused for a reason since the channel was made. Wraps.
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.inner.shared.policy.denied(extra, reason)
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
            .field("servers", &self.inner.shared.servers.load().nodes())
            .field("options", &self.inner.shared.options)
            .finish_non_exhaustive()
    }
}

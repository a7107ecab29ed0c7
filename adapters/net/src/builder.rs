//! How a channel is made: [`Builder`].

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::uri::PathAndQuery;
use hedge_core::balance::{BalancerError, ProbeAnswer, WeightError};
use hedge_core::config::{self, Warning, Warnings};
use hedge_core::drive::SendTransport;
use hedge_core::health::{CheckOptions, HealthError};
use hedge_core::policy::{self, Backoff, ConfigError, FailMode, RetryPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::Timeout;
use hedge_fleet::{
    Address, Balancer, Filter, ListError, MAX_SERVERS, NameError, Named, Refusal, Server, Servers, Setup,
};
use hedge_link::Runtime;

use crate::channel::{Channel, Inner, Judge};
use crate::checks::{Ask, Checks};
use crate::fleet::Fleet;
use crate::http::{Http, HttpOptionError, HttpRetryPolicy, RetryStatuses, StatusError};
use crate::probe::{Probe, Probes};
use crate::stream::Attach;

/// A channel to be. Every setter has a default, and what is wrong shows in [`Builder::build`].
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<R, T: SendTransport<Request: Sized>> {
    runtime: R,
    transport: T,
    servers: Box<str>,
    setup: Setup,
    retry_policy: Judge<T::Reply, T::Error>,
    /// Whether what was asked for could be.
    retry_statuses: Result<(), StatusError>,
    http_options: Result<(), HttpOptionError>,
    attach: Option<Attach<T>>,
    filter: Option<Filter>,
    checks: Option<CheckOptions>,
    /// The application's check, or a path that is none.
    application: Option<Result<Ask, Box<str>>>,
    probe: Option<Probe>,
}

impl<R: Runtime> Channel<R, Http<R>> {
    /// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, or to one `host:port`.
    pub fn builder(runtime: R, servers: impl AsRef<str>) -> Builder<R, Http<R>> {
        let transport = Http::new(runtime.clone());
        Builder::new(runtime, transport, servers.as_ref(), HttpRetryPolicy, Some(Http::<R>::ATTACH))
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
    /// a streaming call the [`Reply`](crate::Reply) stands for the body: the server counts as at work until it is dropped or
    /// taken apart.
    ///
    /// A server whose attempt fails with [`ErrorKind::Refused`](policy::ErrorKind) or `ConnectTimeout` is isolated and
    /// checked by TCP (H1): a transport that goes by something else switches that off, by
    /// [`Builder::without_health_checks`].
    pub fn with_transport(runtime: R, transport: T, servers: impl AsRef<str>) -> Builder<R, T>
    where
        T::Error: policy::AttemptError,
    {
        Builder::new(runtime, transport, servers.as_ref(), policy::DefaultRetryPolicy, None)
    }
}

impl<R: Runtime> Builder<R, Http<R>> {
    /// The largest body that is read into memory, in bytes. Default 16 MiB. A longer one is an error of its attempt, which
    /// is not retried. While it is read, an attempt takes at most twice as much memory.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.transport = self.transport.max_body(bytes);
        self
    }

    /// The largest head of an answer: status line and header fields, in bytes, in \[8 KiB, 1 MiB\]. Default 64 KiB. A larger
    /// one is a [`Protocol`](crate::http::HttpError::Protocol) error of its attempt, told as soon as the limit is reached; its
    /// connection is closed. Another value is [`BuildError::Http`].
    ///
    /// A connection's buffers have up to about four times as much memory. What is read of a body comes in pieces of this size
    /// at most, so a small limit makes large bodies slower.
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.transport = self.transport.max_head(bytes);
        self.http_options = self.transport.validate();
        self
    }

    /// How many header fields an answer may have, in \[1, 1024\], and how many trailers. Default 100. More are a
    /// [`Protocol`](crate::http::HttpError::Protocol) error of its attempt, told at the first that is too many; its connection
    /// is closed. Another value is [`BuildError::Http`].
    ///
    /// A value above 100 costs each answer two allocations more.
    pub fn max_headers(mut self, fields: usize) -> Self {
        self.transport = self.transport.max_headers(fields);
        self.http_options = self.transport.validate();
        self
    }

    /// Whether a status of 408 on a connection that had been idle is no answer, and its request goes once more, on a new
    /// connection (C3). Default: false, it is an answer like any other.
    ///
    /// Some servers and proxies send 408 on an idle connection before they close it, which may cross a request on its way.
    /// Which requests are sent again, and which are not: see [connections](crate::http#connections).
    pub fn retry_stale_408(mut self, retry: bool) -> Self {
        self.transport = self.transport.retry_stale_408(retry);
        self
    }

    /// How many idle connections are kept for each address. Default 100, as brpc's `max_connection_pool_size`; 0 keeps
    /// none. Connections in use are not limited.
    pub fn max_idle_per_server(mut self, connections: usize) -> Self {
        self.transport = self.transport.max_idle_per_server(connections);
        self
    }

    /// After how long an idle connection is closed. Default 10 s, as brpc's `idle_timeout_second`.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.idle_timeout(timeout);
        self
    }

    /// Statuses that are retried, each in \[400, 599\]: 429, 502, 503 and 504 are what people want. Default: none (R1). Takes
    /// the place of a [retry policy](Self::retry_policy) that was set before. Another status is [`BuildError::RetryStatus`].
    ///
    /// A `Retry-After` speaks for its server (R4): another one is tried at once.
    pub fn retry_statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.retry_statuses = RetryStatuses::new(statuses).map(|statuses| {
            self.retry_policy = Judge(Box::new(statuses));
        });
        self
    }

    /// What a server that is down must answer before it takes calls again: a GET of `path` on a connection of its own, once
    /// one can be made, must be answered by a status of 2xx in the checks' time limit. Default: that it can be connected to is
    /// enough. A path that does not begin with `/` is [`BuildError::CheckPath`].
    pub fn health_check_path(mut self, path: &str) -> Self {
        self.application = Some(match PathAndQuery::try_from(path) {
            Ok(valid) if path.starts_with('/') => Ok(self.transport.check(valid)),
            _ => Err(path.into()),
        });
        self
    }
}

impl<R, T> Builder<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    fn new(
        runtime: R,
        transport: T,
        servers: &str,
        retry_policy: impl RetryPolicy<T::Reply, T::Error> + Send + Sync + 'static,
        attach: Option<Attach<T>>,
    ) -> Self {
        Self {
            runtime,
            transport,
            servers: servers.into(),
            setup: Setup::new(),
            retry_policy: Judge(Box::new(retry_policy)),
            retry_statuses: Ok(()),
            http_options: Ok(()),
            attach,
            filter: None,
            checks: Some(CheckOptions::DEFAULT),
            application: None,
            probe: None,
        }
    }

    hedge_fleet::setters!();

    /// For making one connection; never beyond the deadline. Default 200 ms; 0 is [`BuildError::Options`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.setup.options.connect_timeout = Timeout::After(timeout.into());
        self
    }

    /// Sets retries, where they go, and the backup as one of rpcx's modes does. Default `FailOver`.
    pub fn fail_mode(mut self, mode: FailMode) -> Self {
        self.setup.options = self.setup.options.with_fail_mode(mode);
        self
    }

    /// Whether an extra attempt may go to an address that is still working on the call. Default false.
    pub fn same_server_backup(mut self, allowed: bool) -> Self {
        self.setup.options.same_server_backup = allowed;
        self
    }

    /// How long a retry waits. Default: not at all. Bounds that contradict each other are [`BuildError::Options`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.setup.options.backoff = backoff;
        self
    }

    /// What a result means. It sees replies too and may ask for a retry of them. Default for HTTP:
    /// [`HttpRetryPolicy`]; for other transports: every reply is accepted, errors are judged by their kind.
    pub fn retry_policy(mut self, policy: impl RetryPolicy<T::Reply, T::Error> + Send + Sync + 'static) -> Self {
        self.retry_policy = Judge(Box::new(policy));
        self
    }

    /// Which servers the list may hold, of those that are named now and later (N3). It is asked once for each server of a
    /// new list, in no call. A filter that sets the list of its own channel is refused that, as
    /// [`ListError::InFilter`]. Default: all.
    pub fn filter(mut self, filter: impl Fn(&Server) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// How servers that are down are checked (H1). Default: every 3 s, times a factor in 0.8 to 1.2, for at most 500 ms.
    ///
    /// A server that refuses a connection, or does not accept one in [time](Self::connect_timeout), gets no calls from then
    /// on. It is connected to once an interval, and gets calls again when that works and the application's check passes, if
    /// there is one. A connection that breaks later says nothing of the others that a channel has to the server, so it is its
    /// attempt's failure and no more: brpc's rule for pooled connections. Each server that is down costs a task.
    ///
    /// So when the only server there is refuses a connection, calls end as [`CallError::AllDown`](crate::CallError::AllDown)
    /// until a check passes, instead of trying it again each: as in brpc.
    ///
    /// [`health_check_with`](Self::health_check_with) or `health_check_path` bring the application's check; to ask for one in
    /// the options without bringing it is [`BuildError::NoApplicationCheck`]. Options out of their ranges are
    /// [`BuildError::Health`].
    pub fn health_checks(mut self, options: CheckOptions) -> Self {
        self.checks = Some(options);
        self
    }

    /// Switches the checks off: a server that cannot be connected to goes on getting calls.
    pub fn without_health_checks(mut self) -> Self {
        self.checks = None;
        self
    }

    /// What else a server that is down must pass before it takes calls again: asked with its address once it can be
    /// connected to, and dropped when the checks' time limit passes. Default: nothing. For a transport that does not go by
    /// TCP, switch the checks off.
    pub fn health_check_with<F>(mut self, check: impl Fn(Address) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        self.application = Some(Ok(Box::new(move |address| Box::pin(check(address)))));
        self
    }

    /// How a server says how busy it is, for the balancer `prequal`: asked with its address, some three times a call, each in a
    /// task of its own that nobody waits for, and for at most 100 ms. Servers in Rust may answer by a
    /// [`ServerLoad`](crate::ServerLoad). Default: nothing is asked, and `prequal` chooses as `p2c`.
    pub fn probe_with<F>(mut self, probe: impl Fn(Address) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<ProbeAnswer>> + Send + 'static,
    {
        self.probe = Some(Box::new(move |address| Box::pin(probe(address))));
        self
    }

    /// Settings that are valid and contradict each other or do nothing, such as a backup that is not below the timeout; each
    /// says what to write. None of them keeps the channel from being built: a program should print them when it starts.
    ///
    /// The policy is asked for its delay once. Servers that come later, by `set_servers`, and the filter are not looked at.
    ///
    /// ```
    /// # fn warn<R: hedge_net::Runtime>(runtime: R) {
    /// # use std::time::Duration;
    /// let builder = hedge_net::Channel::builder(runtime, "10.0.0.1:8001").backup(Duration::from_secs(1));
    /// for warning in builder.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        let servers = Named::parse(&self.servers).map(|named| named.servers).unwrap_or_default();
        let addresses: HashSet<_> = servers.iter().map(|server| &server.address).collect();
        let some = |count: usize| Some(count).filter(|count| *count > 0);
        let setup = config::Setup {
            addresses: some(addresses.len()),
            servers: some(servers.len()),
            probes: self.probe.is_some(),
            ..self.setup.to_warn_of()
        };
        let mut warnings = setup.warnings();
        if self.application.is_some() && self.checks.is_none() {
            warnings.push(Warning::CheckWithoutChecks);
        }
        warnings
    }

    /// The channel. Nothing is connected yet.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn build(self) -> Result<Channel<R, T>, BuildError> {
        let Named { servers: list, is_url } = Named::parse(&self.servers).map_err(BuildError::Servers)?;
        self.setup.check().map_err(BuildError::Options)?;
        if list.is_empty() {
            return Err(BuildError::NoServers);
        }
        if list.len() > usize::from(MAX_SERVERS) {
            return Err(BuildError::TooManyServers { servers: list.len() });
        }
        let name = match &self.setup.balancer {
            Some(name) => name,
            None if is_url => return Err(BuildError::NoBalancer { servers: self.servers }),
            None => "rr",
        };
        let seed = self.setup.seed();
        let balancer = Balancer::named(name, seed).map_err(BuildError::Balancer)?;
        let health = self.setup.health().map_err(BuildError::Health)?;
        self.retry_statuses.map_err(BuildError::RetryStatus)?;
        self.http_options.map_err(BuildError::Http)?;
        let application = self.application.transpose().map_err(|path| BuildError::CheckPath { path })?;
        if application.is_none() && self.checks.is_some_and(|options| options.application) {
            return Err(BuildError::NoApplicationCheck);
        }
        let checks = self.checks.map(|options| Checks::new(options, application));
        let checks = checks.transpose().map_err(BuildError::Health)?;

        let servers = Servers::new(balancer, health, MAX_SERVERS.into());
        let ground = Box::new(self.runtime.clone());
        let probes = self.probe.map(Probes::new);
        let fleet = Arc::new(Fleet { servers, filter: self.filter, checks, probes, seeds: Seeds::new(!seed), ground });
        let update = fleet.set(list).map_err(BuildError::List)?;
        for (server, refusal) in update.refused {
            if let Refusal::Weight(error) = refusal {
                return Err(BuildError::Weight { server, error });
            }
        }
        if update.servers == 0 {
            return Err(BuildError::NoServers);
        }
        let Self { runtime, transport, setup, retry_policy, attach, .. } = self;
        let settings = setup.into_settings(seed).map_err(BuildError::Options)?;
        Ok(Channel::from_inner(Inner { runtime, transport, fleet, settings, retry_policy, attach }))
    }
}

impl<R, T: SendTransport<Request: Sized>> fmt::Debug for Builder<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("servers", &self.servers).field("setup", &self.setup).finish_non_exhaustive()
    }
}

/// Why a channel cannot be built.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The text names no servers.
    Servers(NameError),
    /// The list is empty, or the filter lets no server through: there is nothing to call.
    NoServers,
    /// The list is longer than a channel holds.
    TooManyServers {
        /// How many there are.
        servers: usize,
    },
    /// A naming URL needs a balancer (N4).
    NoBalancer {
        /// The URL.
        servers: Box<str>,
    },
    /// The text names no balancer.
    Balancer(BalancerError),
    /// The balancer goes by weights, and a server's tag is none.
    Weight {
        /// The server.
        server: Server,
        /// What is wrong with its tag.
        error: WeightError,
    },
    /// The list cannot be taken in.
    List(ListError),
    /// Options of the circuit breaker, the isolation limit, the recovery or the checks that cannot be.
    Health(HealthError),
    /// The options of the checks ask for the application's, and there is none.
    NoApplicationCheck,
    /// A status that cannot be retried.
    RetryStatus(StatusError),
    /// An option of the HTTP transport that is out of its range.
    Http(HttpOptionError),
    /// What is to be checked is no path.
    CheckPath {
        /// The text.
        path: Box<str>,
    },
    /// Options that cannot be carried out.
    Options(ConfigError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(error) => error.fmt(f),
            Self::NoServers => f.write_str("the list of servers is empty, or the filter lets none through"),
            Self::TooManyServers { servers } => write!(f, "{servers} servers: a channel holds {MAX_SERVERS}"),
            Self::NoBalancer { servers } => {
                write!(f, "{servers:?} needs a load balancer: add .load_balancer(\"rr\"), or name one host:port")
            }
            Self::Balancer(error) => write!(f, "load balancer: {error}"),
            Self::Weight { server, error } => write!(f, "server {server}: {error}"),
            Self::List(error) => error.fmt(f),
            Self::Health(error) => write!(f, "health: {error}"),
            Self::NoApplicationCheck => {
                f.write_str("health check: the application's is asked for and missing: add .health_check_with(…)")
            }
            Self::RetryStatus(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::CheckPath { path } => write!(f, "health check: {path:?} is no path; one begins with /"),
            Self::Options(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

//! Makes a channel: [`Builder`].

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::uri::PathAndQuery;
use hedge_core::balance::ProbeAnswer;
#[cfg(feature = "serde")]
use hedge_core::config::ServersConfig;
use hedge_core::config::{self, Warning, Warnings};
use hedge_core::drive::{AttemptInfo, SendTransport};
use hedge_core::health::CheckOptions;
use hedge_core::policy::{self, Backoff, FailMode, RetryPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::Timeout;
use hedge_fleet::{
    Address, Balancer, BoxNaming, ConnectionType, Filter, Follower, MAX_SERVERS, Named, Naming, Protocol,
    ProtocolError, RefusedServer, Schemes, Server, Servers, Setup, parse_lines,
};
use hedge_link::Runtime;

use crate::build_error::BuildError;
use crate::channel::{BoxRetryPolicy, Channel, Inner};
use crate::checks::{CheckFn, Checks};
use crate::fleet::Fleet;
use crate::http::{Http, HttpOptionError, HttpRetryPolicy, RetryStatuses, StatusError};
use crate::naming::Source;
use crate::probe::{ProbeFn, Probes};
use crate::stream::Attach;

/// What the servers of a channel are taken from.
enum Given {
    /// The text that the builder was made with, or a file's URL.
    Text,
    /// The lines of a file.
    #[cfg_attr(not(feature = "serde"), allow(dead_code, reason = "only files have lines"))]
    Lines(Vec<Box<str>>),
    /// A source of the program.
    Naming(BoxNaming),
}

/// Makes a channel. Every option has a default. [`Builder::build`] returns an error if something is wrong.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<R, T: SendTransport<Request: Sized>> {
    runtime: R,
    transport: T,
    name: Option<Box<str>>,
    servers: Box<str>,
    schemes: Schemes,
    /// What the servers are taken from.
    given: Given,
    protocols: &'static [Protocol],
    protocol: Option<Box<str>>,
    connection_type: Option<Box<str>>,
    setup: Setup,
    retry_policy: BoxRetryPolicy<T::Reply, T::Error>,
    /// The error of the last `retry_statuses`, if it was invalid.
    retry_statuses: Result<(), StatusError>,
    http_options: Result<(), HttpOptionError>,
    attach: Option<Attach<T>>,
    filter: Option<Filter>,
    checks: Option<CheckOptions>,
    /// The application's check, or the text of an invalid path.
    application: Option<Result<CheckFn, Box<str>>>,
    probe: Option<ProbeFn>,
}

impl<R: Runtime> Channel<R, Http<R>> {
    /// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, to one `host:port`, or to the servers that a source
    /// says: [`Builder::schemes`] and [`Builder::naming`].
    pub fn builder(runtime: R, servers: impl AsRef<str>) -> Builder<R, Http<R>> {
        let transport = Http::new(runtime.clone());
        Builder::new(runtime, transport, servers.as_ref(), HttpRetryPolicy, Some(Http::<R>::ATTACH), &[Protocol::HTTP])
    }
}

impl<R, T> Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// A channel over the caller's own transport.
    ///
    /// Errors are judged by their [`AttemptError`](policy::AttemptError), unless the builder is given a retry policy.
    /// In a streaming call, the attempt counts as in flight at its server until the [`Reply`](crate::Reply) is dropped
    /// or taken apart.
    ///
    /// A server whose attempt fails with [`ErrorKind::Refused`](hedge_core::outcome::ErrorKind) or `ConnectTimeout` is
    /// isolated and checked by TCP ([H1](hedge_core::rules#H1)). If the transport does not use TCP, switch the checks
    /// off with [`Builder::without_health_checks`].
    pub fn with_transport(runtime: R, transport: T, servers: impl AsRef<str>) -> Builder<R, T>
    where
        T::Error: policy::AttemptError,
    {
        Builder::new(runtime, transport, servers.as_ref(), policy::DefaultRetryPolicy, None, &[])
    }
}

impl<R: Runtime> Builder<R, Http<R>> {
    /// The largest body that is read into memory, in bytes. Default: 16 MiB. A longer body is an error of its attempt
    /// and is not retried. While a body is read, its attempt takes at most twice this much memory.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.transport = self.transport.max_body(bytes);
        self
    }

    /// The largest head of an answer, which is the status line and the header fields, in bytes, in \[8 KiB, 1 MiB\].
    /// Default: 64 KiB. A larger head is a [`Protocol`](crate::http::HttpError::Protocol) error of its attempt. The
    /// attempt fails as soon as the limit is reached, and its connection is closed. A value out of range is
    /// [`BuildError::Http`].
    ///
    /// The buffers of a connection take up to about four times this much memory. A body is read in pieces of at most
    /// this size, so a small limit makes large bodies slower.
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.transport = self.transport.max_head(bytes);
        self.http_options = self.transport.validate();
        self
    }

    /// How many header fields, and how many trailers, an answer may have, in \[1, 1024\]. Default: 100. More of them
    /// are a [`Protocol`](crate::http::HttpError::Protocol) error of its attempt. The attempt fails at the first one
    /// that is too many, and its connection is closed. A value out of range is [`BuildError::Http`].
    ///
    /// With a value above 100, each answer costs two more allocations.
    pub fn max_headers(mut self, fields: usize) -> Self {
        self.transport = self.transport.max_headers(fields);
        self.http_options = self.transport.validate();
        self
    }

    /// Whether a request is sent once more, on a new connection, if a connection that had been idle answers it with
    /// status 408 ([C3](hedge_core::rules#C3)). Default: false, so a 408 is an answer like any other.
    ///
    /// Some servers and proxies send a 408 on an idle connection before they close it, and a new request may already be
    /// on its way then. [Connections](crate::http#connections) says which requests are sent again.
    pub fn retry_stale_408(mut self, retry: bool) -> Self {
        self.transport = self.transport.retry_stale_408(retry);
        self
    }

    /// Calls `on_attempt` for each attempt before it is sent, with the head of its request and what the driver knows of it: its
    /// number, its kind, its server's address, and the time that is left. It may change the headers, for this attempt alone:
    /// a `traceparent`, the attempt's number, a time limit for the server. Default: nothing is called.
    ///
    /// Headers are checked as the caller's own headers are. One that disagrees with the body, or a missing `host`, is a
    /// [`BadRequest`](crate::http::BadRequest), and nothing is sent. Changes to other parts of the head are not sent.
    ///
    /// It is called again if an attempt goes once more on a new connection ([C3](hedge_core::rules#C3)). Health checks
    /// are not attempts. A panic in it reaches the caller.
    ///
    /// # Cost
    /// The method and the target are copied for each attempt.
    ///
    /// ```
    /// # fn build<R: hedge_net::Runtime>(runtime: R) -> Result<(), hedge_net::BuildError> {
    /// let channel = hedge_net::Channel::builder(runtime, "10.0.0.1:8001")
    ///     .on_attempt(|head, attempt| {
    ///         head.headers.insert("x-attempt", attempt.attempt.index().into());
    ///         if let Some(remaining) = attempt.remaining() {
    ///             let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    ///             head.headers.insert("x-timeout-ms", millis.into());
    ///         }
    ///     })
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_attempt(
        mut self,
        on_attempt: impl Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync + 'static,
    ) -> Self {
        self.transport = self.transport.on_attempt(on_attempt);
        self
    }

    /// How many idle connections are kept for each address. Default: 100, as in brpc's `max_connection_pool_size`. With
    /// 0, none are kept. Connections in use are not limited.
    pub fn max_idle_per_server(mut self, connections: usize) -> Self {
        self.transport = self.transport.max_idle_per_server(connections);
        self
    }

    /// How long a connection may be idle before it is closed. Default: 10 s, as in brpc's `idle_timeout_second`.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.idle_timeout(timeout);
        self
    }

    /// The statuses that are retried, each in \[400, 599\]. Usual are 429, 502, 503 and 504. Default: none
    /// ([R1](hedge_core::rules#R1)). This replaces a [retry policy](Self::retry_policy) that was set before. A status
    /// out of range is [`BuildError::RetryStatus`].
    ///
    /// A `Retry-After` applies only to the server that sent it ([R4](hedge_core::rules#R4)): another server is tried at
    /// once.
    pub fn retry_statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.retry_statuses = RetryStatuses::new(statuses).map(|statuses| {
            self.retry_policy = BoxRetryPolicy(Box::new(statuses));
        });
        self
    }

    /// Sets a request that a server that is down must answer before it takes calls again. Once the server can be
    /// connected to, it gets a GET of `path` on a new connection, and must answer with a status of 2xx within the time
    /// limit of the checks. Default: it is enough that the server can be connected to. A path that does not begin with
    /// `/`, or is not valid, is [`BuildError::CheckPath`].
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
        protocols: &'static [Protocol],
    ) -> Self {
        Self {
            runtime,
            transport,
            name: None,
            servers: servers.into(),
            schemes: Schemes::new(),
            given: Given::Text,
            protocols,
            protocol: None,
            connection_type: None,
            setup: Setup::new(),
            retry_policy: BoxRetryPolicy(Box::new(retry_policy)),
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

    /// Takes over the rest of a file: servers, protocol and checks.
    #[cfg(feature = "serde")]
    fn applied(mut self, config: &config::ChannelConfig) -> Self {
        match &config.servers {
            Some(ServersConfig::Url(url)) => (self.servers, self.given) = (url.clone(), Given::Text),
            Some(ServersConfig::Lines(lines)) => {
                (self.servers, self.given) = ("servers".into(), Given::Lines(lines.clone()));
            }
            None => {}
        }
        self.protocol = config.protocol.clone().or(self.protocol);
        self.connection_type = config.connection_type.clone().or(self.connection_type);
        if let Some(checks) = config.health_checks {
            self.checks = checks.on();
        }
        self
    }

    /// The servers, as far as they are known before a source says them.
    fn known_servers(&self) -> Option<Vec<Server>> {
        match &self.given {
            Given::Text => self.schemes.known(&self.servers),
            Given::Lines(lines) => parse_lines(lines.iter().map(|line| &**line)).ok(),
            Given::Naming(_) => None,
        }
    }

    /// How long making one connection may take; the call's deadline applies too. Default: 200 ms. 0 is
    /// [`BuildError::Options`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.setup.options.connect_timeout = Timeout::after(timeout);
        self
    }

    /// Sets the number of retries, the servers that they go to, and the backup, all as in one of rpcx's modes (F).
    /// Default: `FailOver`.
    pub fn fail_mode(mut self, mode: FailMode) -> Self {
        self.setup.options = self.setup.options.with_fail_mode(mode);
        self
    }

    /// Whether an extra attempt may go to an address that still works on the call ([L11](hedge_core::rules#L11)).
    /// Default: false.
    pub fn same_server_backup(mut self, allowed: bool) -> Self {
        self.setup.options.same_server_backup = allowed;
        self
    }

    /// How long a retry waits before it is sent ([R3](hedge_core::rules#R3)). Default: it does not wait. Bounds that
    /// contradict each other are [`BuildError::Options`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.setup.options.backoff = backoff;
        self
    }

    /// Sets the policy that decides what a result means. It sees replies too and may ask for a retry of them
    /// ([R2](hedge_core::rules#R2)). Default for HTTP: [`HttpRetryPolicy`]. Default for other transports: every reply
    /// is accepted, and errors are judged by their kind.
    pub fn retry_policy(mut self, policy: impl RetryPolicy<T::Reply, T::Error> + Send + Sync + 'static) -> Self {
        self.retry_policy = BoxRetryPolicy(Box::new(policy));
        self
    }

    /// The name of the channel, by which an operator finds it: see [`Inspect`](crate::Inspect). Default: the text that names
    /// its servers.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The table of the schemes that the servers' URL may have. Default: `list` alone.
    ///
    /// ```
    /// # use hedge_net::{BoxNaming, BuildError, Naming, NamingError, Runtime, SchemeError, Schemes, Update};
    /// # struct Registry(Box<str>);
    /// # impl Naming for Registry {
    /// #     async fn next(&mut self) -> Result<Update, NamingError> {
    /// #         Ok(Update::from_lines(&self.0))
    /// #     }
    /// # }
    /// fn users<R: Runtime>(runtime: R, schemes: Schemes) -> Result<(), BuildError> {
    ///     let channel = hedge_net::Channel::builder(runtime, "registry://users").schemes(schemes).load_balancer("p2c").build()?;
    ///     Ok(())
    /// }
    ///
    /// let schemes = Schemes::new().with("registry", |name| Ok(BoxNaming::new(Registry(name.into()))))?;
    /// # Ok::<(), SchemeError>(())
    /// ```
    pub fn schemes(mut self, schemes: Schemes) -> Self {
        self.schemes = schemes;
        self
    }

    /// Takes the servers from this source. The text that the builder was made with is then only its name, in errors.
    ///
    /// One task follows the source. It starts with the first call or with [`Channel::ready`], on the runtime of that
    /// call, and ends with the last clone of the channel. If its runtime ends, the next call starts it again. Each
    /// update replaces the list as [`Channel::set_servers`] does ([N3](hedge_core::rules#N3)). After an error the last
    /// list stays, and the source is asked again after a random pause that grows from 0.5 s to 10 s
    /// ([N2](hedge_core::rules#N2)). A call that is made before the first list waits for it, at most to its deadline;
    /// if the list does not come, it ends as [`CallError::NoList`](crate::CallError::NoList)
    /// ([N5](hedge_core::rules#N5)). The times in the call's report begin when the list is there.
    ///
    /// A load balancer must be named ([N4](hedge_core::rules#N4)).
    pub fn naming(mut self, naming: impl Naming) -> Self {
        self.given = Given::Naming(BoxNaming::new(naming));
        self
    }

    /// Decides which servers the list may hold, now and after later changes ([N3](hedge_core::rules#N3)). It runs once
    /// for each server of each new list, and never during a call. If it tries to set the list of its own channel, that
    /// fails with [`ListError::InFilter`](crate::ListError::InFilter). Default: all servers.
    pub fn filter(mut self, filter: impl Fn(&Server) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// How servers that are down are checked ([H1](hedge_core::rules#H1)). Default: every 3 s, times a random factor in
    /// 0.8 to 1.2. Each check takes at most 500 ms.
    ///
    /// A server that refuses a connection, or does not accept one within the [connect timeout](Self::connect_timeout),
    /// gets no calls from then on. Once in each interval, the check connects to it. The server gets calls again when
    /// that works and the application's check passes, if there is one. If a connection breaks later, only its attempt
    /// fails, since that says nothing about the channel's other connections to the server; this is brpc's rule for
    /// pooled connections. Each server that is down costs one task.
    ///
    /// So if there is only one server and it refuses a connection, calls do not try it again, as in brpc. They end as
    /// [`CallError::AllDown`](crate::CallError::AllDown) until a check passes, except one call every 100 ms, which is
    /// let through ([H5](hedge_core::rules#H5)).
    ///
    /// [`health_check_with`](Self::health_check_with) and `health_check_path` set the application's check. If the
    /// options ask for one and none is set, that is [`BuildError::NoApplicationCheck`]. An option out of its range is
    /// [`BuildError::Health`].
    pub fn health_checks(mut self, options: CheckOptions) -> Self {
        self.checks = Some(options);
        self
    }

    /// Switches the checks off. A server that cannot be connected to still gets calls then.
    pub fn without_health_checks(mut self) -> Self {
        self.checks = None;
        self
    }

    /// Sets the application's own check, which a server that is down must also pass before it takes calls again. It is
    /// given the address once the server can be connected to, and its future is dropped when the time limit of the
    /// checks passes. Default: no such check. If the transport does not use TCP, switch the checks off instead.
    pub fn health_check_with<F>(mut self, check: impl Fn(Address) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        self.application = Some(Ok(Box::new(move |address| Box::pin(check(address)))));
        self
    }

    /// Sets the probe that asks a server how busy it is, for the balancer `prequal`. It is given the server's address.
    /// It runs about three times for each call, each time in a task of its own, and for at most 100 ms. Calls do not
    /// wait for it. Servers in Rust can answer with a [`ServerLoad`](crate::ServerLoad). Default: no probes, so
    /// `prequal` chooses as `p2c` does.
    pub fn probe_with<F>(mut self, probe: impl Fn(Address) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<ProbeAnswer>> + Send + 'static,
    {
        self.probe = Some(Box::new(move |address| Box::pin(probe(address))));
        self
    }

    /// Warnings about settings that are valid but contradict each other or have no effect, such as a backup delay that
    /// is not below the timeout. Each warning says what to write instead. The channel can be built in spite of them. A
    /// program should print them when it starts.
    ///
    /// This asks the policy for its delay once. It does not take into account the filter, or servers that `set_servers`
    /// names later.
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
        let servers = self.known_servers().unwrap_or_default();
        let addresses: HashSet<_> = servers.iter().map(|server| &server.address).collect();
        let some = |count: usize| Some(count).filter(|count| *count > 0);
        let setup = config::Setup {
            addresses: some(addresses.len()),
            servers: some(servers.len()),
            probes: self.probe.is_some(),
            ..self.setup.warning_input()
        };
        let mut warnings = setup.warnings();
        if self.application.is_some() && self.checks.is_none() {
            warnings.push(Warning::CheckWithoutChecks);
        }
        warnings
    }

    /// Makes the channel. It opens no connection yet.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn build(mut self) -> Result<Channel<R, T>, BuildError> {
        let named = match self.given {
            Given::Text if self.servers.trim().is_empty() => return Err(BuildError::NoServers),
            Given::Text => self.schemes.open(&self.servers),
            Given::Lines(lines) => parse_lines(lines.iter().map(|line| &**line)).map(Named::List),
            Given::Naming(naming) => Ok(Named::Followed(naming)),
        };
        let named = named.map_err(BuildError::Servers)?;
        match (&self.protocol, self.connection_type.as_deref()) {
            (Some(name), kind) => drop(Protocol::find(self.protocols, name, kind).map_err(BuildError::Protocol)?),
            (None, Some(kind)) => drop(of_default(self.protocols, kind).map_err(BuildError::Protocol)?),
            (None, None) => {}
        }
        self.setup.make_adaptive().map_err(BuildError::Adaptive)?;
        self.setup.check().map_err(BuildError::Options)?;
        if let Named::List(list) = &named {
            if list.is_empty() {
                return Err(BuildError::NoServers);
            }
            if list.len() > usize::from(MAX_SERVERS) {
                return Err(BuildError::TooManyServers { servers: list.len() });
            }
        }
        let name = match (&self.setup.balancer, &named) {
            (Some(name), _) => name,
            (None, Named::One(_)) => "rr",
            (None, Named::List(_) | Named::Followed(_)) => {
                return Err(BuildError::NoBalancer { servers: self.servers });
            }
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

        let observers = self.setup.observers.clone();
        let servers = Servers::new(balancer, health, MAX_SERVERS.into()).observed_by(observers);
        let servers = servers.with_limits(&self.setup.server_limits);
        let background = Box::new(self.runtime.clone());
        let (probes, seeds) = (self.probe.map(Probes::new), Seeds::new(!seed));
        let (list, source) = match named {
            Named::One(server) => (Some(vec![server]), None),
            Named::List(list) => (Some(list), None),
            Named::Followed(naming) => (None, Some(Source::new(Follower::new(&*self.servers, naming, seeds.next())))),
        };
        let fleet = Arc::new(Fleet { servers, source, filter: self.filter, checks, probes, seeds, background });
        if let Some(list) = list {
            set_first(&fleet, list)?;
        }
        let Self { runtime, transport, setup, retry_policy, attach, .. } = self;
        let name = self.name.unwrap_or(self.servers);
        let settings = setup.into_settings(seed).map_err(BuildError::Options)?;
        Ok(Channel::from_inner(Inner { name, runtime, transport, fleet, settings, retry_policy, attach }))
    }
}

/// The connection type of this name, of the first protocol.
fn of_default(protocols: &[Protocol], connection_type: &str) -> Result<ConnectionType, ProtocolError> {
    let name = protocols.first().map_or("", Protocol::name);
    Protocol::find(protocols, name, Some(connection_type)).map(|(_, kind)| kind)
}

/// Sets the list that the channel begins with. Every server of it must be taken in, except those that the filter refuses.
fn set_first(fleet: &Fleet, list: Vec<Server>) -> Result<(), BuildError> {
    let update = fleet.set(list).map_err(BuildError::List)?;
    for (server, refusal) in update.refused {
        if let RefusedServer::Weight(error) = refusal {
            return Err(BuildError::Weight { server, error });
        }
    }
    if update.servers == 0 { Err(BuildError::NoServers) } else { Ok(()) }
}

impl<R, T: SendTransport<Request: Sized>> fmt::Debug for Builder<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("servers", &self.servers).field("setup", &self.setup).finish_non_exhaustive()
    }
}

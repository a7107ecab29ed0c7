//! Makes a channel: [`Builder`].

#[cfg(feature = "serde")]
mod file;
mod http;
mod wrap;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::uri::PathAndQuery;
use hedge_core::balance::ProbeAnswer;
use hedge_core::config::{self, Warning, Warnings};
use hedge_core::drive::SendTransport;
use hedge_core::health::CheckOptions;
use hedge_core::policy::{self, Backoff, FailMode, RetryPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::Timeout;
use hedge_fleet::{
    Address, Balancer, BoxNaming, Filter, Follower, Interceptor, Interceptors, MAX_SERVERS, Naming, ParsedName,
    Schemes, Server, Servers, Setup, StrictListError, parse_lines,
};
use hedge_http_transport::{CheckFn, ConnectOptionError, ConnectOptions, HttpSetup, Origin};
use hedge_link::{BoxResolve, Runtime};
#[cfg(feature = "serde")]
use hedge_link::{ChannelFile, ChannelFileError};
use hedge_naming::Sources;

use crate::background::OnRuntime;
use crate::build_error::BuildError;
use crate::channel::{BoxRetryPolicy, Channel, Inner};
use crate::checks::Checks;
use crate::fleet::Fleet;
use crate::http::{DefaultHeaderError, Http, HttpRetryPolicy, StatusError};
use crate::making::{Made, Making, OverHttp};
use crate::naming::Source;
use crate::probe::{ProbeFn, Probes};

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
pub struct Builder<R: Runtime, T: SendTransport<Request: Sized>> {
    runtime: R,
    /// Where the transport comes from.
    making: Making<R, T>,
    /// The options of HTTP, and of its connections. A transport of the program does not use them.
    pub(crate) http: HttpSetup,
    connecting: ConnectOptions,
    name: Option<Box<str>>,
    servers: Box<str>,
    schemes: Schemes,
    /// The sources that are built in.
    sources: Sources<R>,
    /// What the servers are taken from.
    given: Given,
    pub(crate) protocol: Option<Box<str>>,
    pub(crate) connection_type: Option<Box<str>>,
    pub(crate) setup: Setup,
    retry_policy: BoxRetryPolicy<T::Reply, T::Error>,
    /// The error of the last `retry_statuses`, if it was invalid.
    retry_statuses: Result<(), StatusError>,
    /// The first error of `default_header`, if there was one.
    default_headers: Result<(), DefaultHeaderError>,
    /// The interceptors of lists. They are the outer ones.
    listed: Interceptors<T::Request, T::Reply, T::Error>,
    interceptors: Interceptors<T::Request, T::Reply, T::Error>,
    filter: Option<Filter>,
    checks: Option<CheckOptions>,
    application: Option<Application>,
    probe: Option<ProbeFn>,
    /// The file that was applied last.
    #[cfg(feature = "serde")]
    file: ChannelFile,
    /// What is wrong with the options of sockets, with TLS and with the options of sources of files, in this order.
    #[cfg(feature = "serde")]
    file_errors: [Option<ChannelFileError>; 3],
}

/// The application's check.
enum Application {
    Path(PathAndQuery),
    NoPath(Box<str>),
    Own(CheckFn),
}

impl Application {
    fn path(&self) -> Option<PathAndQuery> {
        match self {
            Self::Path(path) => Some(path.clone()),
            Self::NoPath(_) | Self::Own(_) => None,
        }
    }
}

impl<R: Runtime> Channel<R, Http<R>> {
    /// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, to one server, or to the servers that a source
    /// says: [`Builder::schemes`] and [`Builder::naming`].
    ///
    /// One server is `host:port`, `unix:/path`, or a URL: `https://host[:port][/base/path]`, or `http://` in clear. A
    /// URL's path is put in front of every request's path. `https://` needs a feature of TLS. If such a URL is given together
    /// with a load balancer, every address of the host is a server ([N4](hedge_core::rules#N4)). If `schemes` has the URL's
    /// scheme, the URL names a source of the program instead.
    pub fn builder(runtime: R, servers: impl AsRef<str>) -> Builder<R, Http<R>> {
        Builder::new(runtime, Making::Http(OverHttp::new(|http| http)), servers.as_ref(), HttpRetryPolicy)
    }
}

impl<R, T> Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// A channel over the caller's own transport. To put one around the transport of HTTP, see [`Builder::wrap`].
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
        Builder::new(runtime, Making::Own(transport), servers.as_ref(), policy::DefaultRetryPolicy)
    }
}

impl<R, T> Builder<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    fn new(
        runtime: R,
        making: Making<R, T>,
        servers: &str,
        retry_policy: impl RetryPolicy<T::Reply, T::Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            sources: Sources::new(runtime.clone()),
            runtime,
            making,
            http: HttpSetup::new(),
            connecting: ConnectOptions::default(),
            name: None,
            servers: servers.into(),
            schemes: Schemes::new(),
            given: Given::Text,
            protocol: None,
            connection_type: None,
            setup: Setup::new(),
            retry_policy: BoxRetryPolicy(Box::new(retry_policy)),
            retry_statuses: Ok(()),
            default_headers: Ok(()),
            listed: Interceptors::none(),
            interceptors: Interceptors::none(),
            filter: None,
            checks: Some(CheckOptions::DEFAULT),
            application: None,
            probe: None,
            #[cfg(feature = "serde")]
            file: ChannelFile::default(),
            #[cfg(feature = "serde")]
            file_errors: [const { None }; 3],
        }
    }

    hedge_fleet::setters!();

    /// The schemes of the program, and those that are built in.
    fn all_schemes(&self) -> Schemes {
        let (sources, resolver) = (self.sources.clone(), self.connecting.resolver.clone());
        let sources = if resolver == BoxResolve::default() { sources } else { sources.resolver(resolver) };
        self.schemes.clone().or(&sources.schemes())
    }

    /// The URL of the server, if the servers are given as one and no scheme of the program takes it. With a balancer the
    /// host's addresses are the servers, and the rest of the URL is for all of them ([N4](hedge_core::rules#N4)).
    fn origin(&self) -> Result<Option<Origin>, BuildError> {
        let scheme = self.servers.trim().split_once("://").map(|(scheme, _)| scheme);
        let is_named = scheme.is_some_and(|scheme| self.schemes.contains(scheme));
        if matches!(self.making, Making::Own(_)) || is_named || !matches!(self.given, Given::Text) {
            return Ok(None);
        }
        let origin = Origin::parse(&self.servers).transpose();
        origin.map_err(|error| BuildError::Connecting(ConnectOptionError::Url(error)))
    }

    /// The servers, as far as they are known before a source says them.
    fn known_servers(&self) -> Option<Vec<Server>> {
        match &self.given {
            Given::Text => match self.origin() {
                Ok(Some(_)) if self.setup.balancer.is_some() => None,
                Ok(Some(origin)) => Some(vec![origin.server]),
                Ok(None) => self.schemes.known(&self.servers),
                Err(_) => None,
            },
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

    /// Adds the interceptors of a list, which run around those of the channel's own
    /// ([`interceptor`](Self::interceptor)). A program that gives one list to all its builders has interceptors for all
    /// its channels. This may be called several times: the lists follow each other, the outermost first. Later changes
    /// of the list do not matter. Default: none.
    pub fn interceptors(mut self, list: &Interceptors<T::Request, T::Reply, T::Error>) -> Self {
        self.listed.extend(list.all().iter().cloned());
        self
    }

    /// Adds an interceptor of this channel: code around each call and each attempt ([I1](hedge_core::rules#I1)). See
    /// [`Interceptor`]. This may be called several times: the first one is the outermost, after those of
    /// [`interceptors`](Self::interceptors). Default: none.
    pub fn interceptor(mut self, interceptor: impl Interceptor<T::Request, T::Reply, T::Error> + 'static) -> Self {
        self.interceptors.add(interceptor);
        self
    }

    /// The name of the channel, by which an operator finds it: see [`Inspect`](crate::Inspect). Default: the text that names
    /// its servers.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The program's own schemes that the servers' URL may have. They come before those that are built in: `list`, `file`,
    /// `http` and `https`, with the feature `naming-dns` also `dns` and `srv`, and with the feature `naming-http` also
    /// `etcd`, `consul`, `remotefile`, and over TLS `kubernetes`. Channels on one runtime that name one URL share the watcher
    /// of a built-in source ([N6](hedge_core::rules#N6)). Default: none.
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

    /// Sets the built-in sources with their options: how often they look for changes, how long they wait after a
    /// failure, name servers, credentials. Default: [`Sources::new`]. If a `channel_file` is applied later, its section
    /// `sources` changes single options. A [`resolver`](Self::resolver) of the channel replaces the resolver of the
    /// sources.
    ///
    /// ```
    /// # use hedge_net::{BuildError, Runtime};
    /// use hedge_net::hedge_naming::{PollInterval, Sources};
    ///
    /// fn users<R: Runtime>(runtime: R) -> Result<(), BuildError> {
    ///     let sources = Sources::new(runtime.clone()).file_every(PollInterval::of_secs::<10>());
    ///     let builder = hedge_net::Channel::builder(runtime, "file:///etc/users").sources(sources);
    ///     let channel = builder.load_balancer("p2c").build()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn sources(mut self, sources: Sources<R>) -> Self {
        self.sources = sources;
        self
    }

    /// Takes the servers from this source. The text that the builder was made with is then only its name, in errors.
    ///
    /// One task follows the source. It starts with the first call or with [`Channel::ready`], on the runtime of that
    /// call, and ends with the last clone of the channel. If its runtime ends, the next call starts it again. Each
    /// update replaces the list as [`Channel::set_servers`] does ([N3](hedge_core::rules#N3)). After an error the last
    /// list stays, and the source is asked again after a random pause that grows from 0.5 s to 10 s
    /// ([N2](hedge_core::rules#N2)); [`Sources::retry`] sets other bounds. A call that is made before the first list
    /// waits for it, at most to its deadline; if the list does not come, it ends as
    /// [`CallError::NoList`](crate::CallError::NoList) ([N5](hedge_core::rules#N5)). The times in the call's report
    /// begin when the list is there.
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
    /// options ask for one and none is set, that is [`BuildError::NoApplicationCheck`].
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
        self.application = Some(Application::Own(Box::new(move |address| Box::pin(check(address)))));
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
        #[cfg(feature = "serde")]
        if let Some(error) = self.file_errors.iter().flatten().next() {
            return Err(BuildError::File(error.clone()));
        }
        let origin = self.origin()?;
        let named = self.open(origin.as_ref())?;
        self.setup.make_adaptive();
        self.setup.check().map_err(BuildError::Options)?;
        let seed = self.setup.seed();
        let balancer = self.balancer(&named, seed)?;
        self.retry_statuses.map_err(BuildError::RetryStatus)?;
        self.default_headers.map_err(BuildError::DefaultHeader)?;
        let observers = self.setup.observers.clone();
        self.http.idle().observed_by(observers.clone());
        let names = (self.protocol.as_deref(), self.connection_type.as_deref());
        let path = self.application.as_ref().and_then(Application::path);
        let made = self.making.make(&self.runtime, (self.http, self.connecting), origin, names, path)?;
        let Made { transport, connector, check, attach, keep } = made;
        let checks = checks(self.checks, self.application, check)?;
        let servers = Servers::new(balancer, self.setup.health(), MAX_SERVERS.into()).observed_by(observers);
        let servers = servers.with_limits(&self.setup.server_limits);
        let background = Box::new(OnRuntime { runtime: self.runtime.clone(), connector });
        let (probes, seeds) = (self.probe.map(Probes::new), Seeds::new(!seed));
        let (list, source) = match named {
            ParsedName::One(server) => (Some(vec![server]), None),
            ParsedName::List(list) => (Some(list), None),
            ParsedName::Followed(naming) => {
                let follower = Follower::new(&*self.servers, naming, seeds.next());
                (None, Some(Source::new(follower.with_pauses(self.sources.pauses()))))
            }
        };
        let fleet = Arc::new(Fleet { servers, source, filter: self.filter, checks, probes, seeds, background });
        if let Some(list) = list {
            set_first(&fleet, list)?;
        }
        let mut interceptors = self.listed;
        interceptors.extend(self.interceptors.all().iter().cloned());
        Ok(Channel::from_inner(Inner {
            name: self.name.unwrap_or(self.servers),
            runtime: self.runtime,
            transport,
            fleet,
            settings: self.setup.into_settings(seed).map_err(BuildError::Options)?,
            retry_policy: self.retry_policy,
            attach,
            keep,
            interceptors,
            #[cfg(feature = "serde")]
            file: std::sync::Mutex::new(Arc::new(self.file)),
        }))
    }

    /// Opens what the servers are taken from.
    fn open(&mut self, origin: Option<&Origin>) -> Result<ParsedName, BuildError> {
        let named = match std::mem::replace(&mut self.given, Given::Text) {
            Given::Text if self.servers.trim().is_empty() => return Err(BuildError::NoServers),
            Given::Text => match origin {
                Some(origin) if self.setup.balancer.is_none() => Ok(ParsedName::One(origin.server.clone())),
                _ => self.all_schemes().open(&self.servers),
            },
            Given::Lines(lines) => parse_lines(lines.iter().map(|line| &**line)).map(ParsedName::List),
            Given::Naming(naming) => Ok(ParsedName::Followed(naming)),
        };
        named.map_err(BuildError::Servers)
    }

    fn balancer(&self, named: &ParsedName, seed: u64) -> Result<Balancer, BuildError> {
        if let ParsedName::List(list) = named
            && list.is_empty()
        {
            return Err(BuildError::NoServers);
        }
        let name = match (&self.setup.balancer, named) {
            (Some(name), _) => name,
            (None, ParsedName::One(_)) => "rr",
            (None, ParsedName::List(_) | ParsedName::Followed(_)) => {
                return Err(BuildError::NoBalancer { servers: hedge_fleet::shown(&self.servers).into() });
            }
        };
        Balancer::named(name, seed).map_err(BuildError::Balancer)
    }
}

/// The checks of servers that are down. `check` is the one that asks for a path.
fn checks(
    options: Option<CheckOptions>,
    application: Option<Application>,
    check: Option<CheckFn>,
) -> Result<Option<Checks>, BuildError> {
    let application = match application {
        Some(Application::Own(check)) => Some(check),
        Some(Application::NoPath(path)) => return Err(BuildError::CheckPath { path }),
        Some(Application::Path(_)) | None => check,
    };
    if application.is_none() && options.is_some_and(|options| options.application) {
        return Err(BuildError::NoApplicationCheck);
    }
    Ok(options.map(|options| Checks::new(options, application)))
}

/// Sets the list that the channel begins with. Every server of it must be taken in, except those that the filter refuses.
fn set_first(fleet: &Fleet, list: Vec<Server>) -> Result<(), BuildError> {
    fleet.set_strictly(list).map(drop).map_err(|error| match error {
        StrictListError::List(error) => BuildError::List(error),
        StrictListError::Weight { server, error } => BuildError::Weight { server, error },
        StrictListError::NoServers => BuildError::NoServers,
    })
}

impl<R: Runtime, T: SendTransport<Request: Sized>> fmt::Debug for Builder<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Builder");
        if self.servers.contains('@') {
            // It may have a password, which `build` refuses.
            shown.field("servers", &format_args!("(hidden, since it has an '@')"));
        } else {
            shown.field("servers", &self.servers);
        }
        shown.field("setup", &self.setup).finish_non_exhaustive()
    }
}

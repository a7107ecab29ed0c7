//! The transport: [`Http`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::request::Parts;
use ::http::uri::PathAndQuery;
use ::http::{Request, Response};
use hedge_core::drive::{AttemptInfo, SendTransport};
use hedge_core::policy::Idempotency;
use hedge_fleet::{Address, ConnectionType};
use hedge_link::{ConnectionKey, Connector, PerServer, PoolSettings, Runtime};

use super::attempt::drain::DrainOrClose;
#[cfg(feature = "http2")]
use super::attempt::http2::{self, PingOptions};
use super::attempt::pool::{HttpSettings, Pool};
use super::attempt::sending::{Answer, Sending};
use super::body::{Body, Stream};
#[cfg(feature = "_coding")]
use super::coding;
use super::connect_options::{ConnectOptionError, ConnectOptions};
use super::connection::Connection;
use super::counters::HttpCounters;
use super::default_headers::DefaultHeaders;
use super::error::HttpError;
use super::limits::{HeadBytes, HeadLimits, HeaderCount};
use super::on_attempt::OnAttempt;
use super::origin::Origin;
use super::outgoing::SendBody;
use super::protocol_choice::ProtocolChoice;
use super::request::{self, RequestBody};
use super::versions::HttpVersions;

/// The transport over HTTP/1.1, and over HTTP/2 with the feature `http2`. It uses TCP, TLS or Unix sockets, and keeps
/// idle connections for each address.
///
/// The builder of a channel sets its options: `max_body`, `max_head`, `max_headers`, `max_idle_per_server`,
/// `idle_timeout`, `max_connection_age`, `defer_close`, `connection_type`, `connection_group`, `drain_or_close`,
/// `retry_stale_408`, `default_header`, `on_attempt`, `resolver`, `socket_options`, and with a feature `tls` and `tls_name`.
pub struct Http<R: Runtime> {
    runtime: R,
    connector: Connector<R>,
    connecting: ConnectOptions,
    settings: HttpSettings,
    /// Empty pools that are not in use are dropped from time to time.
    pools: PerServer<Pool<R>>,
}

/// Checks the server at an address. The output of the future is whether the server is healthy.
pub type CheckFn = Box<dyn Fn(Address) -> CheckFuture + Send + Sync>;
/// The future of a check.
pub type CheckFuture = Pin<Box<dyn Future<Output = bool> + Send>>;

impl<R: Runtime> Http<R> {
    /// Makes a transport over HTTP/1.1 with the default of each option. A program needs this only if it wraps the
    /// transport in a transport of its own, which it gives to `Channel::with_transport` of hedge-net.
    /// [`HttpRetryPolicy`](crate::HttpRetryPolicy) judges the results. The builder of a channel makes the transport of
    /// a plain channel, and has setters for its options.
    ///
    /// [`Http::connect_by`] applies [`Http::connecting`] and the protocol. Call it once all options are set. Before
    /// that, connections use HTTP/1.1 without TLS.
    pub fn new(runtime: R) -> Self {
        let settings = HttpSettings {
            max_body: 16 << 20,
            #[cfg(feature = "_coding")]
            max_decoded_body: 16 << 20,
            head: Arc::new(HeadLimits::new()),
            retry_stale_408: false,
            connection_type: ConnectionType::Pooled,
            idle: Arc::new(PoolSettings::new()),
            key: ConnectionKey::new(),
            versions: HttpVersions::Http1,
            #[cfg(feature = "http2")]
            ping: PingOptions::DEFAULT,
            drain: DrainOrClose::default(),
            default_headers: DefaultHeaders::default(),
            on_attempt: None,
            counts: Arc::default(),
        };
        let connector = Connector::new(runtime.clone());
        let pools = PerServer::new(|pool: &Pool<R>| !pool.is_empty());
        Self { runtime, connector, connecting: ConnectOptions::default(), settings, pools }
    }

    /// Sets the largest body that is read into memory, in bytes. Default: 16 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// Sets how large a body that is read into memory may become when it is decoded, in bytes. Default: 16 MiB.
    #[cfg(feature = "_coding")]
    pub fn max_decoded_body(mut self, bytes: usize) -> Self {
        self.settings.max_decoded_body = bytes;
        self
    }

    /// Sets the largest head of an answer, in bytes. Default: 64 KiB.
    pub fn max_head(self, bytes: HeadBytes) -> Self {
        self.settings.head.set_max_head(bytes);
        self
    }

    /// Sets how many header fields, and how many trailers, an answer may have. Default: 100.
    pub fn max_headers(self, fields: HeaderCount) -> Self {
        self.settings.head.set_max_headers(fields);
        self
    }

    /// Sets whether a request is sent once more, on a new connection, if a connection that had been idle answers it
    /// with status 408 ([C3](hedge_core::rules#C3)). Default: false.
    pub fn retry_stale_408(mut self, retry: bool) -> Self {
        self.settings.retry_stale_408 = retry;
        self
    }

    /// Returns the options for making connections. The caller can change them before [`connect_by`](Self::connect_by).
    pub const fn connecting(&mut self) -> &mut ConnectOptions {
        &mut self.connecting
    }

    /// Returns the options for making connections.
    pub const fn connect_options(&self) -> &ConnectOptions {
        &self.connecting
    }

    /// Applies the options for making connections and the choice of the protocol. Call this once all settings are
    /// known. `origin` is the URL that names the server, if there is one. Returns the connector, which makes the
    /// connections.
    ///
    /// # Errors
    /// The options contradict each other, or need a feature: see [`ConnectOptionError`].
    pub fn connect_by(
        &mut self,
        origin: Option<Origin>,
        choice: ProtocolChoice,
    ) -> Result<Connector<R>, ConnectOptionError> {
        let connector = self.connecting.connector(&self.runtime, origin.as_ref(), choice)?;
        self.connecting.origin = origin;
        self.settings.connection_type = choice.connection_type;
        self.settings.versions = HttpVersions::of(choice, connector.is_tls());
        let key = self.settings.head.add_to(self.settings.key.clone());
        self.settings.key = self.settings.versions.add_to(connector.add_to(key));
        self.connector = connector.clone();
        Ok(connector)
    }

    /// Returns the settings for idle connections.
    pub fn idle(&self) -> &PoolSettings {
        &self.settings.idle
    }

    /// Applies changes of [`idle`](Self::idle) to the connections that are idle now.
    pub fn idle_changed(&self) {
        self.pools.all().iter().for_each(|pool| pool.settings_changed());
    }

    /// Sets the group of the transport's connections ([C4](hedge_core::rules#C4)). Default: the group of all transports
    /// that name no group.
    pub fn connection_group(mut self, name: &str) -> Self {
        self.settings.key = self.settings.key.with("group", name);
        self
    }

    /// Sets when HTTP/2 connections are pinged. Default: [`PingOptions::DEFAULT`].
    #[cfg(feature = "http2")]
    pub const fn ping(mut self, options: PingOptions) -> Self {
        self.settings.ping = options;
        self
    }

    /// Sets what happens to the connection of an attempt that is abandoned ([C2](hedge_core::rules#C2)). Default: it is
    /// drained.
    pub fn drain_or_close(mut self, drain: DrainOrClose) -> Self {
        self.settings.drain = drain;
        self
    }

    /// Returns the default headers, which the caller can change. Each request has them unless it sets them itself.
    /// Checks have them too. Default: none.
    pub const fn default_headers(&mut self) -> &mut DefaultHeaders {
        &mut self.settings.default_headers
    }

    /// Calls `on_attempt` for the head of each attempt before it is sent. It may change the headers. Default: nothing is called.
    pub fn on_attempt(
        mut self,
        on_attempt: impl Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_attempt = Some(OnAttempt::new(on_attempt));
        self
    }

    /// Returns a check for servers. It passes if a GET of `path` on a new connection is answered with a status of 2xx.
    /// It has no time limit: the caller drops its future.
    pub fn check(&self, path: PathAndQuery) -> CheckFn {
        let asked = Arc::new(Asked {
            runtime: self.runtime.clone(),
            connector: self.connector.clone(),
            connecting: self.connecting.clone(),
            limits: Arc::clone(&self.settings.head),
            versions: self.settings.versions,
            default_headers: self.settings.default_headers.clone(),
            path,
        });
        Box::new(move |address| {
            let asked = Arc::clone(&asked);
            Box::pin(async move { asked.passes(&address).await.unwrap_or(false) })
        })
    }

    fn pool(&self, address: &Address) -> Result<Arc<Pool<R>>, HttpError> {
        self.pools.get(address, || {
            let place = self.connecting.place(address, self.connector.is_tls())?;
            Ok(Pool::new(self.runtime.clone(), &self.connector, address, self.settings.clone(), place))
        })
    }

    /// Returns how many requests were sent once more, on a new connection ([C3](hedge_core::rules#C3)). This happens if
    /// a connection that had been idle breaks before a byte of the answer has come, or answers 408 and
    /// [`retry_stale_408`](Self::retry_stale_408) is set. These requests are not attempts, and no limit counts them.
    /// The count wraps.
    pub fn resent(&self) -> u64 {
        self.settings.counts.resent()
    }

    /// Returns how many connections were opened, closed and reused, and how many requests were sent once more.
    pub fn counters(&self) -> HttpCounters {
        self.settings.counts.get(self.settings.idle.expired())
    }
}

/// What a check asks a server for.
struct Asked<R> {
    runtime: R,
    connector: Connector<R>,
    connecting: ConnectOptions,
    limits: Arc<HeadLimits>,
    #[cfg_attr(not(feature = "http2"), allow(dead_code, reason = "there is one version"))]
    versions: HttpVersions,
    default_headers: DefaultHeaders,
    path: PathAndQuery,
}

impl<R: Runtime> Asked<R> {
    async fn passes(&self, address: &Address) -> Result<bool, HttpError> {
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = self.path.clone().into();
        let place = self.connecting.place(address, self.connector.is_tls())?;
        let head = request::head(&request, &place, &self.default_headers)?;
        // There is no time limit here: the caller has a time limit, and drops this future then.
        let connected = self.connector.connect(address, None).await.map_err(HttpError::Connect)?;
        #[cfg(feature = "http2")]
        if self.versions == HttpVersions::Http2 || connected.info.is_http2() {
            return http2::ask(&self.runtime, connected, &self.limits, head, &place).await;
        }
        let mut connection = Connection::over(&self.runtime, connected, &self.limits, None).await?;
        connection.send(head.map(|()| SendBody::Bytes(None)));
        Ok(connection.replied().await.is_ok_and(|response| response.status().is_success()))
    }
}

impl<R: Runtime> SendTransport for Http<R> {
    type Address = Address;
    type Request = Request<RequestBody>;
    type Reply = Response<Body>;
    type Error = HttpError;

    async fn start(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
    ) -> Result<Response<Body>, HttpError> {
        let pool = self.pool(&attempt.address)?;
        let sent = Sending::new(&self.runtime, &self.connector, request, &attempt, &pool)?.send().await;
        #[cfg_attr(
            not(any(feature = "_coding", feature = "grpc")),
            expect(unused_mut, reason = "only a decoded body and gRPC change it")
        )]
        let Answer { mut head, source } = sent?;
        #[cfg(feature = "grpc")]
        if let Some(codes) = request.extensions().get::<crate::grpc_codes::MethodCodes>() {
            head.extensions.insert(*codes);
        }
        // A body that has ended together with its head leaves nothing to stream.
        let at_head = attempt.streaming && !source.is_end_stream();
        #[cfg(feature = "_coding")]
        let is_wanted = coding::is_wanted(request.headers()) && !self.settings.default_headers.choose_codings();
        #[cfg(feature = "_coding")]
        let coding = (!source.is_end_stream() && is_wanted).then(|| coding::take_coding(&mut head.headers)).flatten();
        let stream = Stream::new(source, self.settings.max_body);
        #[cfg(feature = "_coding")]
        let stream = match coding {
            Some(coding) => stream.decoded(coding, self.settings.max_decoded_body),
            None => stream,
        };
        let body = if at_head { Body::stream(stream) } else { stream.read().await? };
        Ok(Response::from_parts(head, body))
    }

    fn idempotency(&self, request: &Request<RequestBody>) -> Idempotency {
        request::idempotency(request)
    }
}

impl<R: Runtime> fmt::Debug for Http<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("settings", &self.settings).finish_non_exhaustive()
    }
}

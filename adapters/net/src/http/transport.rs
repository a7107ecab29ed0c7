//! The transport for HTTP/1.1: [`Http`].

use std::fmt;
use std::sync::Arc;

use ::http::request::Parts;
use ::http::uri::PathAndQuery;
use ::http::{Request, Response};
use hedge_core::drive::{AttemptInfo, SendTransport};
use hedge_core::policy::Idempotency;
use hedge_fleet::{Address, ConnectionType};
use hedge_link::{ConnectionKey, Connector, PerServer, PoolSettings, Runtime};

use super::body::{Body, Stream};
#[cfg(feature = "_coding")]
use super::coding;
use super::connect_options::ConnectOptions;
use super::connection::Connection;
use super::counters::HttpCounters;
use super::default_headers::DefaultHeaders;
use super::drain::DrainOrClose;
use super::error::HttpError;
#[cfg(feature = "http2")]
use super::http2::{self, PingOptions};
use super::limits::{HeadBytes, HeadLimits, HeaderCount};
use super::on_attempt::OnAttempt;
use super::outgoing::SendBody;
use super::pool::{HttpSettings, Pool};
use super::request::{self, RequestBody};
use super::sending::{Answer, Sending};
use super::versions::HttpVersions;
use crate::checks::CheckFn;
use crate::hooks::{ConnectOptionError, Hooks};
use crate::origin::Origin;
use crate::protocol_choice::ProtocolChoice;

/// HTTP/1.1 over TCP, TLS or Unix sockets. It keeps idle connections for each address.
///
/// The [`Builder`](crate::Builder) sets its options: `max_body`, `max_head`, `max_headers`, `max_idle_per_server`,
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

impl<R: Runtime> Http<R> {
    pub(crate) const HOOKS: Hooks<R, Self> = Hooks {
        attach: |response, owed| response.body_mut().attach(owed),
        connect: Self::connect_by,
        check: Self::check,
        resolver: |transport| transport.connecting.resolver.clone(),
        observe: |transport, observers| transport.settings.idle.observed_by(observers.clone()),
        keep: |changed, request| {
            changed.method_mut().clone_from(request.method());
            changed.uri_mut().clone_from(request.uri());
            *changed.version_mut() = request.version();
            changed.body_mut().clone_from(request.body());
        },
    };

    /// Makes a transport over HTTP/1.1 with the default settings. This is for a transport of the program that wraps it, for
    /// [`Channel::with_transport`](crate::Channel::with_transport); [`HttpRetryPolicy`](super::HttpRetryPolicy) judges
    /// its results. [`Channel::builder`](crate::Channel::builder) makes the transport of a plain channel, and has
    /// setters for its settings.
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

    pub(crate) fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    #[cfg(feature = "_coding")]
    pub(crate) fn max_decoded_body(mut self, bytes: usize) -> Self {
        self.settings.max_decoded_body = bytes;
        self
    }

    pub(crate) fn max_head(self, bytes: HeadBytes) -> Self {
        self.settings.head.set_max_head(bytes);
        self
    }

    pub(crate) fn max_headers(self, fields: HeaderCount) -> Self {
        self.settings.head.set_max_headers(fields);
        self
    }

    pub(crate) fn retry_stale_408(mut self, retry: bool) -> Self {
        self.settings.retry_stale_408 = retry;
        self
    }

    /// How connections are made.
    pub(crate) const fn connecting(&mut self) -> &mut ConnectOptions {
        &mut self.connecting
    }

    /// Applies how connections are made and which protocol they speak, once all settings are known. The servers are those
    /// of a URL, if there is one.
    fn connect_by(
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

    /// What is wanted of idle connections.
    pub(crate) fn idle(&self) -> &PoolSettings {
        &self.settings.idle
    }

    /// Applies changes of [`idle`](Self::idle) to the connections that are idle now.
    pub(crate) fn idle_changed(&self) {
        self.pools.all().iter().for_each(|pool| pool.settings_changed());
    }

    pub(crate) fn connection_group(mut self, name: &str) -> Self {
        self.settings.key = self.settings.key.with("group", name);
        self
    }

    #[cfg(feature = "http2")]
    pub(crate) const fn ping(mut self, options: PingOptions) -> Self {
        self.settings.ping = options;
        self
    }

    pub(crate) fn drain_or_close(mut self, drain: DrainOrClose) -> Self {
        self.settings.drain = drain;
        self
    }

    pub(crate) const fn default_headers(&mut self) -> &mut DefaultHeaders {
        &mut self.settings.default_headers
    }

    pub(crate) fn on_attempt(
        mut self,
        on_attempt: impl Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_attempt = Some(OnAttempt::new(on_attempt));
        self
    }

    /// A check for servers: it passes if a GET of `path` on a new connection is answered with a status of 2xx.
    fn check(&self, path: PathAndQuery) -> CheckFn {
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

    /// How many requests were sent once more, on a new connection ([C3](hedge_core::rules#C3)). This happens if a
    /// connection that had been idle breaks before a byte of the answer has come, or answers 408 and
    /// [`retry_stale_408`](crate::Builder::retry_stale_408) is set. These requests are not attempts, and no limit
    /// counts them. The count wraps.
    pub fn resent(&self) -> u64 {
        self.settings.counts.resent()
    }

    /// How many connections were opened, closed and reused, and how many requests were sent once more.
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
        // There is no time limit here: the checker drops this future at its own.
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
        if let Some(codes) = request.extensions().get::<super::grpc_codes::MethodCodes>() {
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

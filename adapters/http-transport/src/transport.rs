//! The transport: [`Http`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::uri::PathAndQuery;
use ::http::{Request, Response};
use hedge_core::drive::{Along, AttemptInfo, SendTransport};
use hedge_core::policy::Idempotency;
use hedge_fleet::Address;
use hedge_link::{Connector, PerServer, PoolSettings, Runtime};

use super::along_headers::AlongField;
#[cfg(feature = "http2")]
use super::attempt::http2;
use super::attempt::pool::{HttpSettings, Pool};
use super::attempt::sending::{Answer, Sending};
use super::body::{Body, Reading, Stream};
#[cfg(feature = "_coding")]
use super::coding;
use super::connect_options::ConnectOptions;
use super::connection::Connection;
use super::counters::HttpCounters;
use super::default_headers::DefaultHeaders;
use super::error::HttpError;
use super::limits::HeadLimits;
use super::outgoing::SendBody;
use super::request::{self, RequestBody};
use super::versions::HttpVersions;

/// The transport over HTTP/1.1, and over HTTP/2 with the feature `http2`. It uses TCP, TLS or Unix sockets, and keeps
/// idle connections for each address.
///
/// `HttpSetup::connect_by` makes it, once all its options are known. A program gets one from the builder of a channel, which
/// sets the options: `max_body`, `max_head`, `max_headers`, `max_idle_per_server`, `idle_timeout`, `max_connection_age`,
/// `defer_close`, `connection_type`, `connection_group`, `drain_or_close`, `retry_stale_408`, `default_header`,
/// `along`, `on_attempt`, `resolver`, `socket_options`, and with a feature `tls` and `tls_name`.
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
    /// Makes the transport. The settings must be final, and fit the connector.
    pub(super) fn new(runtime: R, connector: Connector<R>, connecting: ConnectOptions, settings: HttpSettings) -> Self {
        let pools = PerServer::new(|pool: &Pool<R>| !pool.is_empty());
        Self { runtime, connector, connecting, settings, pools }
    }

    /// Returns the settings for idle connections.
    pub fn idle(&self) -> &PoolSettings {
        &self.settings.idle
    }

    /// Applies changes of [`idle`](Self::idle) to the connections that are idle now.
    pub fn idle_changed(&self) {
        self.pools.all().iter().for_each(|pool| pool.settings_changed());
    }

    /// Returns a check for servers. It passes if a GET of `path` on a new connection is answered with a status of 2xx.
    /// It has no time limit: the caller drops its future.
    pub fn check(&self, path: PathAndQuery) -> CheckFn {
        let asked = Arc::new(Asked {
            runtime: self.runtime.clone(),
            connector: self.connector.clone(),
            connecting: self.connecting.clone(),
            limits: self.settings.head,
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
    /// `retry_stale_408` is set. These requests are not attempts, and no limit counts them.
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
    limits: HeadLimits,
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
            return http2::ask(&self.runtime, connected, self.limits, head, &place).await;
        }
        let mut connection = Connection::over(&self.runtime, connected, self.limits, None).await?;
        connection.send(head.map(|()| SendBody::EMPTY));
        Ok(connection.replied().await.is_ok_and(|response| response.status().is_success()))
    }
}

impl<R: Runtime> SendTransport for Http<R> {
    type Address = Address;
    type Request = Request<RequestBody>;
    type Reply = Response<Body>;
    type Error = HttpError;

    fn start(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
    ) -> impl Future<Output = Result<Response<Body>, HttpError>> + Send {
        self.start_along(request, attempt, Along::NOTHING)
    }

    async fn start_along(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
        along: Along<'_, Address>,
    ) -> Result<Response<Body>, HttpError> {
        // Until the head of the answer is there, or the attempt is given up.
        let _running = along.running(attempt.kind);
        let pool = self.pool(&attempt.address)?;
        let sent = Sending::new(&self.runtime, &self.connector, request, (&attempt, &along), &pool)?.send().await;
        let Answer { mut head, source } = sent?;
        if let Some(names) = &self.settings.along {
            names.mark_dropped(&mut head, attempt.kind, along);
        }
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
        let body = if at_head { Body::stream(stream) } else { Reading::of(stream).read().await? };
        Ok(Response::from_parts(head, body))
    }

    fn wants_key(&self) -> bool {
        self.settings.along.as_ref().is_some_and(|names| names.name(AlongField::Key).is_some())
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

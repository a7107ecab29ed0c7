//! The transport for HTTP/1.1: [`Http`].

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::http::request::Parts;
use ::http::uri::PathAndQuery;
use ::http::{HeaderValue, Request, Response};
use hedge_core::drive::{AttemptInfo, SendTransport};
use hedge_core::policy::Idempotency;
use hedge_fleet::Address;
use hedge_link::Runtime;
use http_body::Body as _;

use super::body::{Body, Stream};
use super::connection::Connection;
use super::counters::HttpCounters;
use super::error::{BadRequest, HttpError};
use super::limits::{HeadLimits, HttpOptionError};
use super::on_attempt::OnAttempt;
use super::outgoing::SendBody;
use super::pool::{Pool, PoolSettings};
use super::request::{self, RequestBody};
use super::sending::Sending;
use crate::checks::CheckFn;
use crate::stream::Attach;

/// HTTP/1.1 over plain TCP. It keeps idle connections for each address.
///
/// The [`Builder`](crate::Builder) sets its options: `max_body`, `max_head`, `max_headers`, `max_idle_per_server`,
/// `idle_timeout`, `retry_stale_408` and `on_attempt`.
pub struct Http<R> {
    runtime: R,
    settings: PoolSettings,
    pools: RwLock<Pools<R>>,
}

/// The pools by address. Empty pools that are not in use are dropped from time to time, when a new address comes.
struct Pools<R> {
    by_address: HashMap<Address, Arc<Pool<R>>>,
    /// Once there are this many pools, those that are empty and not in use are dropped.
    prune_at: usize,
}

const PRUNE_AT_LEAST: usize = 64;

impl<R: Runtime> Http<R> {
    pub(crate) const ATTACH: Attach<Self> = |response, owed| response.body_mut().attach(owed);

    pub(crate) fn new(runtime: R) -> Self {
        let idle_timeout = Duration::from_secs(10);
        let head = Arc::new(HeadLimits::new());
        let settings = PoolSettings {
            max_body: 16 << 20,
            head,
            retry_stale_408: false,
            max_idle: 100,
            idle_timeout,
            on_attempt: None,
            counts: Arc::default(),
        };
        let pools = RwLock::new(Pools { by_address: HashMap::new(), prune_at: PRUNE_AT_LEAST });
        Self { runtime, settings, pools }
    }

    pub(crate) fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    pub(crate) fn max_head(self, bytes: usize) -> Self {
        self.settings.head.set_max_head(bytes);
        self
    }

    pub(crate) fn max_headers(self, fields: usize) -> Self {
        self.settings.head.set_max_headers(fields);
        self
    }

    pub(crate) fn retry_stale_408(mut self, retry: bool) -> Self {
        self.settings.retry_stale_408 = retry;
        self
    }

    /// # Errors
    /// The first option that is out of its range.
    pub(crate) fn validate(&self) -> Result<(), HttpOptionError> {
        self.settings.head.validate()
    }

    pub(crate) fn max_idle_per_server(mut self, connections: usize) -> Self {
        self.settings.max_idle = connections;
        self
    }

    pub(crate) fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    pub(crate) fn on_attempt(
        mut self,
        on_attempt: impl Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_attempt = Some(OnAttempt::new(on_attempt));
        self
    }

    /// A check for servers: it passes if a GET of `path` on a new connection is answered with a status of 2xx.
    pub(crate) fn check(&self, path: PathAndQuery) -> CheckFn {
        let (runtime, limits) = (self.runtime.clone(), Arc::clone(&self.settings.head));
        Box::new(move |address| {
            let (runtime, limits, path) = (runtime.clone(), Arc::clone(&limits), path.clone());
            Box::pin(async move { passes(&runtime, &address, &limits, path).await.unwrap_or(false) })
        })
    }

    fn pool(&self, address: &Address) -> Result<Arc<Pool<R>>, HttpError> {
        if let Some(pool) = self.pools.read().unwrap_or_else(PoisonError::into_inner).by_address.get(address) {
            return Ok(Arc::clone(pool));
        }
        let host = HeaderValue::try_from(address.to_string()).map_err(|_| BadRequest::Host)?;
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        if pools.by_address.len() >= pools.prune_at {
            pools.by_address.retain(|_, pool| Arc::strong_count(pool) > 1 || !pool.is_empty());
            pools.prune_at = PRUNE_AT_LEAST.max(pools.by_address.len() * 2);
        }
        let new = || Arc::new(Pool::new(self.runtime.clone(), self.settings.clone(), host));
        Ok(Arc::clone(pools.by_address.entry(address.clone()).or_insert_with(new)))
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
        self.settings.counts.get()
    }
}

async fn passes<R: Runtime>(
    runtime: &R,
    address: &Address,
    limits: &HeadLimits,
    path: PathAndQuery,
) -> Result<bool, HttpError> {
    let host = HeaderValue::try_from(address.to_string()).map_err(|_| BadRequest::Host)?;
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = path.into();
    let message = request::head(&request, &host)?.map(|()| SendBody::Bytes(None));
    // There is no time limit here: the checker drops this future at its own.
    let connection = Connection::open(runtime, address, None, limits, None).await?;
    let (asked, reply) = connection.send(message);
    let answer = asked.replied(pin!(reply)).await;
    Ok(answer.is_ok_and(|(_, response)| response.status().is_success()))
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
        let (connection, response) = Sending::new(&self.runtime, request, &attempt, &pool)?.send().await?;
        let (head, incoming) = response.into_parts();
        // A body that has ended together with its head leaves nothing to stream.
        let at_head = attempt.streaming && !incoming.is_end_stream();
        let stream = Stream::new(incoming, connection, pool, self.settings.max_body);
        let body = if at_head { Body::stream(stream) } else { stream.read().await? };
        Ok(Response::from_parts(head, body))
    }

    fn idempotency(&self, request: &Request<RequestBody>) -> Idempotency {
        request::idempotency(request)
    }
}

impl<R> fmt::Debug for Http<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("settings", &self.settings).finish_non_exhaustive()
    }
}

//! The options of HTTP and of its connections.

use ::http::HeaderValue;
use ::http::request::Parts;
use ::http::uri::PathAndQuery;
use hedge_core::drive::AttemptInfo;
use hedge_fleet::Address;
#[cfg(feature = "_tls")]
use hedge_link::Tls;
use hedge_link::{BoxResolve, Resolve, Runtime, SocketOptions};

use super::{Application, Builder};
use crate::channel::BoxRetryPolicy;
#[cfg(feature = "http2")]
use crate::http::PingOptions;
use crate::http::{AlongHeaders, DrainOrClose, HeadBytes, HeaderCount, Http, RetryStatuses};

impl<R: Runtime> Builder<R, Http<R>> {
    /// The largest body that is read into memory, in bytes. Default: 16 MiB. A longer body is an error of its attempt
    /// and is not retried. While a body is read, its attempt takes at most twice this much memory.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.http.max_body(bytes);
        self
    }

    /// The largest body that is read into memory after it was decoded, in bytes ([W4](hedge_core::rules#W4)). Default:
    /// 16 MiB. A longer body is an error of its attempt and is not retried. `max_body` limits the body as it is sent.
    #[cfg(feature = "_coding")]
    pub fn max_decoded_body(mut self, bytes: usize) -> Self {
        self.http.max_decoded_body(bytes);
        self
    }

    /// The largest head of an answer, which is the status line and the header fields, in bytes, in \[8 KiB, 1 MiB\].
    /// Default: 64 KiB. A larger head is a [`Protocol`](crate::http::HttpError::Protocol) error of its attempt. The
    /// attempt fails as soon as the limit is reached, and its connection is closed.
    ///
    /// The buffers of a connection take up to about four times this much memory. A body is read in pieces of at most
    /// this size, so a small limit makes large bodies slower.
    pub fn max_head(mut self, bytes: HeadBytes) -> Self {
        self.http.max_head(bytes);
        self
    }

    /// How many header fields, and how many trailers, an answer may have, in \[1, 1024\]. Default: 100. More of them
    /// are a [`Protocol`](crate::http::HttpError::Protocol) error of its attempt. The attempt fails at the first one
    /// that is too many, and its connection is closed.
    ///
    /// With a value above 100, each answer costs two more allocations.
    pub fn max_headers(mut self, fields: HeaderCount) -> Self {
        self.http.max_headers(fields);
        self
    }

    /// Whether a request is sent once more, on a new connection, if a connection that had been idle answers it with
    /// status 408 ([C3](hedge_core::rules#C3)). Default: false, so a 408 is an answer like any other.
    ///
    /// Some servers and proxies send a 408 on an idle connection before they close it, and a new request may already be
    /// on its way then. [Connections](crate::http#connections) says which requests are sent again.
    pub fn retry_stale_408(mut self, retry: bool) -> Self {
        self.http.retry_stale_408(retry);
        self
    }

    /// Adds a header that is sent with each request which does not set a header of this name itself. This may be called
    /// several times. Values of the same name that were added before stay, except that a `content-type` is replaced.
    /// Default: none.
    ///
    /// The requests of [`health_check_path`](Self::health_check_path) have these headers too, since a server may need
    /// them to answer, for instance an `authorization`. A default `host` comes after the authority of an absolute URI.
    /// With a default `accept-encoding` or `range`, answers are not decoded. Interceptors do not see these headers;
    /// [`on_attempt`](Self::on_attempt) sees them and may change them.
    ///
    /// A header that no request can have is [`BuildError::DefaultHeader`](crate::BuildError::DefaultHeader), which says
    /// what is wrong: a name that is not a token, a value with a control character other than a tab, `content-length`
    /// and `transfer-encoding`, since each body has its own, and headers that ask for another use of the connection.
    ///
    /// # Cost
    /// One look-up for each name, and a copy of each header that is added. Nothing without default headers.
    ///
    /// ```
    /// # fn build<R: hedge_net::Runtime>(runtime: R, token: &str) -> Result<(), hedge_net::BuildError> {
    /// let channel = hedge_net::Channel::builder(runtime, "10.0.0.1:8001")
    ///     .default_header("user-agent", "billing/3")
    ///     .default_header("authorization", format!("Bearer {token}"))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn default_header<V>(mut self, name: impl AsRef<str>, value: V) -> Self
    where
        V: AsRef<[u8]> + TryInto<HeaderValue>,
    {
        if self.default_headers.is_ok() {
            self.default_headers = self.http.default_headers().add(name.as_ref(), value);
        }
        self
    }

    /// Sends what goes along with a call, in headers of each attempt ([W3](hedge_core::rules#W3)): the log id and the
    /// request id of its [`CallOptions`](crate::CallOptions), the attempt's number and kind, the time that is left, and
    /// the idempotency key of the call, which is the same on each attempt. [`AlongHeaders`] says which of them are
    /// sent, and under which names. Default: none.
    ///
    /// | field | default name | value | sent |
    /// |---|---|---|---|
    /// | `LogId` | `log-id` | decimal number | if the call has one |
    /// | `RequestId` | `x-request-id` | text | if the call has one |
    /// | `Attempt` | `x-hedge-attempt` | number from 0 | always |
    /// | `Kind` | `x-hedge-attempt-kind` | `first`, `retry` or `backup` | always |
    /// | `Remaining` | `x-hedge-remaining-ms` | milliseconds at the attempt's start, rounded up | if there is a deadline |
    /// | `Key` | `idempotency-key` | 32 lower-case hexadecimal digits | always |
    /// | `FirstServer` | `x-hedge-first-server` | the first attempt's server, with its port | on backups |
    /// | `Dropped` | `x-hedge-dropped` | `tied` | by a server, with status 503 |
    ///
    /// The caller's own headers for the call stay: if a request already has an `idempotency-key`, a `log-id` or an
    /// `x-request-id`, all its attempts carry it. The channel always sets the headers of the attempt: if a request
    /// already has them, for instance because it is forwarded, they are replaced or removed.
    /// [`on_attempt`](Self::on_attempt) sees all headers and may change them. Health checks do not have these headers.
    /// gRPC calls have them too, and keep their `grpc-timeout`.
    ///
    /// # Tied requests
    /// If the key and the first server are sent, requests are tied ([Y1](hedge_core::rules#Y1)): servers that run
    /// hedge-tower's helper tell each other which of two copies has begun, and the other is dropped. A server answers a
    /// dropped copy with status 503 and `x-hedge-dropped: tied`. The call then waits for the other copy
    /// ([`DroppedCopy`](crate::http::DroppedCopy)), no server is blamed, and `retry_statuses` does not apply. This
    /// holds only for an attempt that has another copy: a backup, or a first attempt whose backup has started. For any
    /// other attempt, a 503 with this header is an ordinary 503. If a retry policy of the program retries status 503,
    /// it should call [`DroppedCopy::judge`](crate::http::DroppedCopy::judge) first.
    ///
    /// The loser of a tied call is cancelled like every loser ([C2](hedge_core::rules#C2)). Over HTTP/2 its stream is
    /// reset, which the server's helper sees at once. Over HTTP/1.1 the answer is drained, and the server learns
    /// nothing from the client. Then only the message between the servers stops the copy. To close the connection
    /// instead, set [`drain_or_close`](Self::drain_or_close) to `Close`. This costs a new connection for each loser.
    ///
    /// With an attempt timeout over HTTP/1.1, set `Close`. Otherwise a first attempt that timed out stays at its
    /// server. Its answer is thrown away, but the backup may be dropped for it, and then the call may fail.
    ///
    /// # Cost
    /// Without this option, nothing. With it, each attempt sets its headers, which allocates some of their values. A
    /// call with a key or an id allocates once more. If the key is drawn, this costs one system call.
    ///
    /// ```
    /// use hedge_net::http::{AlongField, AlongHeaders};
    ///
    /// # fn build<R: hedge_net::Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
    /// // All headers, with a name that this fleet's servers know.
    /// let headers = AlongHeaders::all().with_name(AlongField::RequestId, "x-trace-id")?;
    /// let channel = hedge_net::Channel::builder(runtime, "10.0.0.1:8001").along(headers).build()?;
    /// let options = hedge_net::CallOptions::new().with_log_id(4711).with_request_id("order-17")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn along(mut self, headers: AlongHeaders) -> Self {
        self.http.along(headers);
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
        self.http.on_attempt(on_attempt);
        self
    }

    /// Encrypts the connections to every server ([C6](hedge_core::rules#C6)). The name that is checked and sent as SNI is
    /// [`tls_name`](Self::tls_name), else the host of an `https://` URL, else the server's own host. The handshake counts
    /// in the [connect timeout](Self::connect_timeout), and health checks include it. Default: none, except that an
    /// `https://` URL uses the system's roots.
    ///
    /// A server that fails the handshake is isolated, as one that refuses connections. ALPN offers `http/1.1`.
    ///
    /// ```
    /// # fn build<R: hedge_net::Runtime>(runtime: R, root: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    /// use hedge_net::{Channel, Tls};
    ///
    /// let tls = Tls::builder().root_pem(root).build()?;
    /// let channel = Channel::builder(runtime, "list://10.0.0.1:8443,10.0.0.2:8443")
    ///     .load_balancer("p2c")
    ///     .tls(tls)
    ///     .tls_name("users.internal")
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "_tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.connecting.tls = Some(tls);
        self
    }

    /// The name that is checked and sent to every server over TLS, as SNI and, with the server's port, as `Host`.
    /// Default: see [`tls`](Self::tls). One that is not a name is [`BuildError::Connecting`](crate::BuildError::Connecting).
    #[cfg(feature = "_tls")]
    pub fn tls_name(mut self, name: &str) -> Self {
        self.connecting.tls_name = Some(name.into());
        self
    }

    /// When HTTP/2 connections are pinged, to find out whether they are dead. Default:
    /// [`PingOptions::DEFAULT`](crate::http::PingOptions::DEFAULT).
    #[cfg(feature = "http2")]
    pub fn ping(mut self, options: PingOptions) -> Self {
        self.http.ping(options);
        self
    }

    /// The options of sockets ([C8](hedge_core::rules#C8)). Default: no-delay is on, and the rest is as the operating
    /// system has it.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.connecting.socket = options;
        self
    }

    /// What resolves the names of servers, for each connection ([N4](hedge_core::rules#N4)). Default: the operating
    /// system.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.connecting.resolver = BoxResolve::new(resolver);
        self
    }

    /// What becomes of the connection of an attempt that is abandoned after its request was sent whole, for instance the
    /// loser of a hedged call ([C2](hedge_core::rules#C2)). Default: its answer is read and thrown away, so that the
    /// connection can be used again. See [`DrainOrClose`].
    pub fn drain_or_close(mut self, drain: DrainOrClose) -> Self {
        self.http.drain_or_close(drain);
        self
    }

    /// The statuses that are retried, each in \[400, 599\]. Usual are 429, 502, 503 and 504. Default: none
    /// ([R1](hedge_core::rules#R1)). This replaces a [retry policy](Self::retry_policy) that was set before. A status
    /// out of range is [`BuildError::RetryStatus`](crate::BuildError::RetryStatus).
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
    /// limit of the checks. The GET has the [default headers](Self::default_header). Default: it is enough that the
    /// server can be connected to. A path that does not begin with `/`, or is not valid, is
    /// [`BuildError::CheckPath`](crate::BuildError::CheckPath).
    pub fn health_check_path(mut self, path: &str) -> Self {
        self.application = Some(match PathAndQuery::try_from(path) {
            Ok(valid) if path.starts_with('/') => Application::Path(valid),
            _ => Application::NoPath(path.into()),
        });
        self
    }
}

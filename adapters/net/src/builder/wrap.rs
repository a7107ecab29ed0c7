//! Puts a transport of the program around that of HTTP: [`Builder::wrap`].

use ::http::{Request, Response};
use hedge_core::drive::SendTransport;
use hedge_fleet::Address;
use hedge_http_transport::{Body, Http, HttpError, RequestBody};
use hedge_link::Runtime;

use super::Builder;
use crate::http::InnerHttp;
use crate::making::{Making, OverHttp};

impl<R: Runtime> Builder<R, Http<R>> {
    /// Puts a transport of the program around that of HTTP, for instance one that breaks attempts on purpose, or counts
    /// them. `wrap` is called once, when the channel is built. The inner transport then has all options of this builder.
    /// For several transports around each other, let `wrap` make all of them. Default: none.
    ///
    /// Call this after the setters of HTTP: TLS, limits of answers, connections and default headers. What applies to any
    /// transport can still be set. The outer transport takes the requests of HTTP, and gives its replies and errors.
    /// Streaming bodies, health checks, interceptors and the retry policy work as without it. What goes along with a
    /// call ([`along`](Self::along)) reaches the inner transport only if the outer one passes it on, as in this
    /// example.
    ///
    /// ```
    /// # use hedge_net::http::{Body, HttpError, Request, RequestBody, Response};
    /// # use hedge_net::{Address, Along, AttemptInfo, BuildError, Channel, Idempotency, Runtime, SendTransport};
    /// /// Prints each attempt.
    /// struct Prints<T>(T);
    ///
    /// impl<T> SendTransport for Prints<T>
    /// where
    ///     T: SendTransport<Address = Address, Request = Request<RequestBody>> + Sync,
    /// {
    ///     type Address = Address;
    ///     type Request = Request<RequestBody>;
    ///     type Reply = T::Reply;
    ///     type Error = T::Error;
    ///
    ///     fn start(
    ///         &self,
    ///         request: &Request<RequestBody>,
    ///         attempt: AttemptInfo<Address>,
    ///     ) -> impl Future<Output = Result<T::Reply, T::Error>> + Send {
    ///         self.start_along(request, attempt, Along::NOTHING)
    ///     }
    ///
    ///     // The channel calls this one.
    ///     fn start_along(
    ///         &self,
    ///         request: &Request<RequestBody>,
    ///         attempt: AttemptInfo<Address>,
    ///         along: Along<'_, Address>,
    ///     ) -> impl Future<Output = Result<T::Reply, T::Error>> + Send {
    ///         println!("{} to {}", request.uri(), attempt.address);
    ///         self.0.start_along(request, attempt, along)
    ///     }
    ///
    ///     fn wants_key(&self) -> bool {
    ///         self.0.wants_key()
    ///     }
    ///
    ///     fn idempotency(&self, request: &Request<RequestBody>) -> Idempotency {
    ///         self.0.idempotency(request)
    ///     }
    /// }
    ///
    /// # fn build<R: Runtime>(runtime: R) -> Result<(), BuildError> {
    /// let channel = Channel::builder(runtime, "10.0.0.1:8001").wrap(|http| Prints(http)).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wrap<W>(self, wrap: impl FnOnce(InnerHttp<R>) -> W + Send + 'static) -> Builder<R, W>
    where
        W: SendTransport<Address = Address, Request = Request<RequestBody>, Reply = Response<Body>, Error = HttpError>
            + Send
            + Sync
            + 'static,
    {
        Builder {
            making: Making::Http(OverHttp::new(|http| wrap(InnerHttp::new(http)))),
            runtime: self.runtime,
            http: self.http,
            connecting: self.connecting,
            name: self.name,
            servers: self.servers,
            schemes: self.schemes,
            sources: self.sources,
            given: self.given,
            protocol: self.protocol,
            connection_type: self.connection_type,
            setup: self.setup,
            retry_policy: self.retry_policy,
            retry_statuses: self.retry_statuses,
            default_headers: self.default_headers,
            listed: self.listed,
            interceptors: self.interceptors,
            filter: self.filter,
            checks: self.checks,
            application: self.application,
            probe: self.probe,
            #[cfg(feature = "serde")]
            file: self.file,
            #[cfg(feature = "serde")]
            file_errors: self.file_errors,
        }
    }
}

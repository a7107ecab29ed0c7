//! The transport inside a transport of the program: [`InnerHttp`].

use std::future::Future;

use ::http::{Request, Response};
use hedge_core::drive::{Along, AttemptInfo, SendTransport};
use hedge_core::policy::Idempotency;
use hedge_fleet::Address;
use hedge_http_transport::{Body, Http, HttpError, RequestBody};
use hedge_link::Runtime;

/// The transport of a channel over HTTP, inside a transport of the program: see
/// [`Builder::wrap`](crate::Builder::wrap). It behaves as the [`Http`] that it holds.
#[derive(Debug)]
pub struct InnerHttp<R: Runtime>(Http<R>);

impl<R: Runtime> InnerHttp<R> {
    pub(crate) const fn new(http: Http<R>) -> Self {
        Self(http)
    }

    /// The transport, for its counters.
    pub const fn http(&self) -> &Http<R> {
        &self.0
    }
}

impl<R: Runtime> SendTransport for InnerHttp<R> {
    type Address = Address;
    type Request = Request<RequestBody>;
    type Reply = Response<Body>;
    type Error = HttpError;

    fn start(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
    ) -> impl Future<Output = Result<Response<Body>, HttpError>> + Send {
        self.0.start(request, attempt)
    }

    fn start_along(
        &self,
        request: &Request<RequestBody>,
        attempt: AttemptInfo<Address>,
        along: Along<'_, Address>,
    ) -> impl Future<Output = Result<Response<Body>, HttpError>> + Send {
        self.0.start_along(request, attempt, along)
    }

    fn wants_key(&self) -> bool {
        self.0.wants_key()
    }

    fn idempotency(&self, request: &Request<RequestBody>) -> Idempotency {
        self.0.idempotency(request)
    }
}

//! The common call in one line: [`RequestBuilder`], which [`Channel::get`] and similar methods make.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Response};
use hedge_core::policy::Idempotency;

use super::call_error::SendError;
use crate::channel::Channel;
use crate::reply::Reply;
use hedge_fleet::{BodyMode, CallOptions, CancelToken};
use hedge_http_transport::{Body, Http, RequestBody, RequestError, add_header, parse_target, with_query};
use hedge_link::Runtime;

/// A request that is sent when it is awaited, as a call of its channel.
///
/// If something is wrong with the request, the `await` gives [`SendError::Request`], which names the first such thing,
/// and nothing is sent.
///
/// A status is not an error unless the program asks for that, by [`Reply::error_for_status`]. There is one exception: a
/// status that the channel's retry policy does not accept, by default one of 500 or more, ends the call as
/// [`CallError::Failed`](crate::CallError::Failed), which keeps the reply.
///
/// ```
/// use hedge_net::http::{Http, SendError};
/// use hedge_net::{Channel, Runtime};
/// use std::time::Duration;
///
/// async fn rename<R: Runtime>(channel: &Channel<R, Http<R>>, id: u64, name: &str) -> Result<(), SendError> {
///     let reply = channel
///         .put(&format!("/users/{id}"))
///         .query("name", name)
///         .header("x-tenant", "blue")
///         .timeout(Duration::from_millis(200))
///         .await?;
///     println!("{} from {}, not hedged: {:?}", reply.status(), reply.answered_by(), reply.report().not_hedged());
///     Ok(())
/// }
/// ```
///
/// # Cost
/// A call that is made this way allocates no more than the same call by [`Channel::call`], and its future is not boxed.
/// The future takes about 600 bytes more, for the request and the options of the call.
#[must_use = "a request is sent when it is awaited"]
pub struct RequestBuilder<D> {
    dispatch: D,
    request: Request<RequestBody>,
    options: CallOptions,
    /// The first error of a setter.
    error: Option<RequestError>,
    /// The body is JSON, so the request gets a `content-type` that says so, unless the caller sets another.
    is_json: bool,
}

/// Makes a call of a built request. Closures of the channel implement it; that gives the call's future a type, which
/// [`RequestBuilder`] needs to be awaited without a box.
pub trait Dispatch: Send {
    /// The call.
    type Future: Future<Output = SendResult> + Send;

    /// Starts the call, or passes on what was wrong with its request.
    fn dispatch(self, built: Result<(Request<RequestBody>, CallOptions), RequestError>) -> Self::Future;
}

/// What a call in one line returns.
pub type SendResult = Result<Reply<Response<Body>>, SendError>;

impl<F, Fut> Dispatch for F
where
    F: FnOnce(Result<(Request<RequestBody>, CallOptions), RequestError>) -> Fut + Send,
    Fut: Future<Output = SendResult> + Send,
{
    type Future = Fut;

    fn dispatch(self, built: Result<(Request<RequestBody>, CallOptions), RequestError>) -> Fut {
        self(built)
    }
}

/// The common call, which is one line.
///
/// `path` is a path with its query, such as `/users/7?full=1`. It may also be `*`, or an absolute URI with the scheme
/// `http`: its authority becomes the `Host` header, and the channel still chooses the server. Characters that a URI
/// cannot hold must be percent-encoded; [`RequestBuilder::query`] does that.
impl<R: Runtime> Channel<R, Http<R>> {
    /// A `GET`.
    pub fn get(&self, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        self.request(Method::GET, path)
    }

    /// A `HEAD`.
    pub fn head(&self, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        self.request(Method::HEAD, path)
    }

    /// A `POST`. It is not idempotent, so it is not hedged, and it is retried only if it certainly never left; see
    /// [`RequestBuilder::idempotency`].
    pub fn post(&self, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        self.request(Method::POST, path)
    }

    /// A `PUT`.
    pub fn put(&self, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        self.request(Method::PUT, path)
    }

    /// A `PATCH`. It is not idempotent, as a [`post`](Self::post) is not.
    pub fn patch(&self, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        self.request(Method::PATCH, path)
    }

    /// A `DELETE`.
    pub fn delete(&self, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        self.request(Method::DELETE, path)
    }

    /// A request with any method. `CONNECT` ends as [`BadRequest::Connect`](super::BadRequest::Connect).
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder<impl Dispatch + use<'_, R>> {
        let dispatch = move |built: Result<(Request<RequestBody>, CallOptions), RequestError>| async move {
            let (request, options) = built?;
            Ok(self.call_with(request, &options).await?)
        };
        RequestBuilder::new(dispatch, method, path)
    }
}

impl<D> RequestBuilder<D> {
    fn new(dispatch: D, method: Method, path: &str) -> Self {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = method;
        let builder = Self { dispatch, request, options: CallOptions::new(), error: None, is_json: false };
        builder.change(|request| {
            *request.uri_mut() = parse_target(path)?;
            Ok(())
        })
    }

    /// Adds a header. Headers of the same name that were set before stay. Only `content-type` is replaced, since a
    /// request has one.
    ///
    /// The `await` gives [`RequestError::Header`] if the name is not a token, if the value holds a control character
    /// other than a tab, or if there are too many headers.
    pub fn header<V>(self, name: impl AsRef<str>, value: V) -> Self
    where
        V: AsRef<[u8]> + TryInto<HeaderValue>,
    {
        self.change(|request| {
            let name = name.as_ref();
            add_header(request.headers_mut(), name, value)
                .map_err(|fault| RequestError::Header { name: name.into(), fault })
        })
    }

    /// Adds `name=value` to the query, percent-encoded.
    pub fn query(self, name: &str, value: impl fmt::Display) -> Self {
        self.change(|request| {
            *request.uri_mut() = with_query(request.uri(), name, &value)?;
            Ok(())
        })
    }

    /// Sets the body. This sets no `content-type`. Default: no body.
    pub fn body(mut self, body: impl Into<RequestBody>) -> Self {
        *self.request.body_mut() = body.into();
        self.is_json = false;
        self
    }

    /// Sets the body to the value, written as JSON. The `content-type` is `application/json`, unless
    /// [`header`](Self::header) sets another, before or after.
    ///
    /// The `await` gives [`RequestError::Json`] if the value cannot be written as JSON.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Self {
        let mut with_body = self.change(|request| {
            let json = serde_json::to_vec(value);
            let json = json.map_err(|error| RequestError::Json { of: std::any::type_name::<T>(), error })?;
            *request.body_mut() = json.into();
            Ok(())
        });
        with_body.is_json = true;
        with_body
    }

    /// Replaces all options of the call. Setters that are called after this one change single options.
    pub fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets how long the call may take from its start to its end, retries and backups included. Default: the channel's
    /// timeout. With 0, nothing is sent.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options = self.options.with_timeout(timeout);
        self
    }

    /// Sets how long one attempt may take before another server is tried ([L21](hedge_core::rules#L21)). Default: the
    /// channel's attempt timeout.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.options = self.options.with_attempt_timeout(timeout);
        self
    }

    /// Sends a backup to another server if no answer has come after `delay`. Default: the channel's delay, if it has
    /// one.
    pub fn backup(mut self, delay: Duration) -> Self {
        self.options = self.options.with_backup(delay);
        self
    }

    /// Sets how many attempts may follow the first, retries and backups together: at most 7. Default: the channel's
    /// number.
    pub fn max_retry(mut self, attempts: u8) -> Self {
        self.options.max_retry = Some(attempts);
        self
    }

    /// Sets the request's key, for balancers that hash. [`hash`](crate::hash) computes one from text.
    pub fn request_code(mut self, code: u32) -> Self {
        self.options.request_code = Some(code);
        self
    }

    /// Sets whether the request may be sent twice. Default: its method decides ([L15](hedge_core::rules#L15)).
    pub fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.options.idempotency = idempotency;
        self
    }

    /// Lets a token cancel the call from another place. Dropping the call's future cancels it too.
    pub fn cancelled_by(mut self, token: CancelToken) -> Self {
        self.options.cancel = Some(token);
        self
    }

    /// Ends the call at the head of its reply ([`BodyMode::Streaming`]). The program reads the body, which
    /// [`Reply::into_inner`] gives.
    pub fn streaming(mut self) -> Self {
        self.options.body = BodyMode::Streaming;
        self
    }

    /// Changes the request, unless an earlier change has failed.
    fn change(mut self, change: impl FnOnce(&mut Request<RequestBody>) -> Result<(), RequestError>) -> Self {
        if self.error.is_none() {
            self.error = change(&mut self.request).err();
        }
        self
    }
}

impl<D: Dispatch> IntoFuture for RequestBuilder<D> {
    type Output = SendResult;
    type IntoFuture = D::Future;

    fn into_future(mut self) -> D::Future {
        if self.is_json && !self.request.headers().contains_key(CONTENT_TYPE) {
            self = self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let Self { dispatch, request, options, error, is_json: _ } = self;
        dispatch.dispatch(match error {
            None => Ok((request, options)),
            Some(error) => Err(error),
        })
    }
}

impl<D> fmt::Debug for RequestBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("request", &self.request)
            .field("options", &self.options)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

//! The protocol and the retry policy for HTTP: [`Http`].

use hedge_core::drive::AttemptInfo;
use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::{Idempotency, RetryPolicy};
use hedge_http::RetryStatuses;
use http::{Extensions, Request, Response};

use crate::{CallEnd, CallOptions, Protocol};

/// A [`Protocol`] and a retry policy in one type. It is for requests of the crate `http` whose body can be cloned, such
/// as shared bytes.
///
/// * A copy has the method, URI, version, headers, extensions and body.
/// * [`CallOptions`] in the request's extensions are the options of the call.
/// * Unless these options say otherwise, requests with the methods `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` and
///   `DELETE` may be sent twice. Other requests may not ([L15](hedge_core::rules#L15)).
/// * The [`Report`](crate::Report) is put into the response's extensions. With [`winner_key`](Http::winner_key), the
///   key of the server that answered is put there too. With [`attempt_info`](Http::attempt_info), the [`AttemptInfo`]
///   is put into the extensions of each attempt's request.
/// * A response with a status below 500 is accepted. The verdict on any other status is `Wait`: it is not retried, but
///   an attempt in flight may still win. Errors are retried ([R1](hedge_core::rules#R1)), and so are the statuses that
///   [`retry_statuses`](Http::retry_statuses) names.
/// * The headers of a response that is not accepted may ask to delay or stop further attempts
///   ([R4](hedge_core::rules#R4)): see [`pushback`](hedge_http::pushback). A retry policy of your own should use
///   [`failure`](hedge_http::failure) for its verdicts on responses, so that these headers count.
///
/// In gRPC, a response usually has status 200, even if it is a failure. So use
/// [`Builder::retry_codes`](crate::Builder::retry_codes) for gRPC.
///
/// If a body cannot be cloned, use a closure as the protocol. It returns `None` for a request that it cannot copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http {
    silent: bool,
    tells_attempts: bool,
    attach_key: Option<fn(&CallEnd<'_>, &mut Extensions)>,
    retried: RetryStatuses,
}

impl Http {
    /// A protocol that puts the report of each call into the extensions of its response.
    #[must_use]
    pub const fn new() -> Self {
        Self { silent: false, tells_attempts: false, attach_key: None, retried: RetryStatuses::NONE }
    }

    /// A protocol that puts no report into the response. This saves allocations.
    #[must_use]
    pub const fn without_reports() -> Self {
        Self { silent: true, ..Self::new() }
    }

    /// Puts a [`WinnerKey<K>`] into the extensions of each accepted response: the key of the server that sent the
    /// response. `K` must be the type of the set's keys. With another type, or under a layer, which has no keys,
    /// nothing is put there. Default: nothing is put there.
    ///
    /// # Cost
    /// For each call, a clone of the key and an allocation, and a second allocation if the extensions were empty.
    ///
    /// ```
    /// use hedge_tower::{HedgeSet, Http, WinnerKey};
    /// use tower::{ServiceExt, service_fn};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// let http = Http::new().winner_key::<&str>();
    /// let set: HedgeSet<&str, _, _, _, _> =
    ///     hedge_tower::builder(hedge_tokio::Tokio::new()).http().protocol(http).set()?;
    /// // In a program: a client that is connected to the address.
    /// let service = service_fn(|_: http::Request<String>| async { Ok::<_, String>(http::Response::new("hello")) });
    /// set.insert("10.0.0.1:80", service)?;
    /// let response = set.oneshot(http::Request::new(String::new())).await?;
    /// assert_eq!(response.extensions().get(), Some(&WinnerKey("10.0.0.1:80")));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[must_use]
    pub const fn winner_key<K: Clone + Send + Sync + 'static>(self) -> Self {
        Self { attach_key: Some(attach_key::<K>), ..self }
    }

    /// Puts an [`AttemptInfo<()>`](AttemptInfo) into the extensions of each attempt's request. It contains the number
    /// of the attempt in its call, its kind, when it was started, and the time that was left then. The service, or a
    /// layer around the service, may make headers of it. Default: nothing is put there.
    ///
    /// # Cost
    /// For each attempt, one allocation, and a second one if the extensions were empty.
    ///
    /// ```
    /// use hedge_tower::{AttemptInfo, Http};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// // In a program: a client, which sends the request with its new header.
    /// let service = service_fn(|mut request: http::Request<String>| async move {
    ///     let attempt = request.extensions().get::<AttemptInfo<()>>().copied().ok_or("no attempt")?;
    ///     request.headers_mut().insert("x-attempt", attempt.attempt.index().into());
    ///     Ok::<_, &str>(http::Response::new(format!("{:?}", request.headers())))
    /// });
    /// let http = Http::new().attempt_info();
    /// let layer = hedge_tower::builder(hedge_tokio::Tokio::new()).http().protocol(http).layer()?;
    /// let response = layer.layer(service).oneshot(http::Request::new(String::new())).await?;
    /// assert_eq!(response.body(), r#"{"x-attempt": "0"}"#);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[must_use]
    pub const fn attempt_info(self) -> Self {
        Self { tells_attempts: true, ..self }
    }

    /// Sets the statuses that are retried ([R1](hedge_core::rules#R1)).
    #[must_use]
    pub const fn retry_statuses(self, statuses: RetryStatuses) -> Self {
        Self { retried: statuses, ..self }
    }
}

/// The key of the server that sent a response. [`Http::winner_key`] puts it into the response's extensions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WinnerKey<K>(pub K);

/// Puts the winner's key into a response's extensions.
fn attach_key<K: Clone + Send + Sync + 'static>(call: &CallEnd<'_>, extensions: &mut Extensions) {
    if let Some(key) = call.winner_key::<K>() {
        extensions.insert(WinnerKey(key.clone()));
    }
}

impl<B: Clone, Reply> Protocol<Request<B>, Response<Reply>> for Http {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    fn options(&self, request: &Request<B>) -> CallOptions {
        let mut options = request.extensions().get::<CallOptions>().cloned().unwrap_or_default();
        if options.idempotency == Idempotency::Unset {
            options.idempotency = hedge_http::idempotency(request.method());
        }
        options
    }

    fn prepare(&self, request: &mut Request<B>, attempt: &AttemptInfo<()>) {
        if self.tells_attempts {
            request.extensions_mut().insert(*attempt);
        }
    }

    fn attach(&self, response: &mut Response<Reply>, call: &CallEnd<'_>) {
        if !self.silent {
            response.extensions_mut().insert(call.report().clone());
        }
        if let Some(attach_key) = self.attach_key {
            attach_key(call, response.extensions_mut());
        }
    }
}

impl<B, E> RetryPolicy<Response<B>, E> for Http {
    fn judge(&self, result: Result<&Response<B>, &E>) -> Judgement {
        match result {
            Ok(response) => self.retried.judge(response),
            Err(_) => Verdict::Retry.into(),
        }
    }
}

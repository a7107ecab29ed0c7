//! How the layer handles the program's requests, responses and errors: [`Protocol`] and [`RetryErrors`].

use hedge_core::drive::{Along, AttemptInfo};
use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::RetryPolicy;

use crate::{CallEnd, CallOptions, ServerRef};

/// Says how a request is copied. Optionally, it also reads the options of a call from its request, prepares the request
/// of each attempt, and attaches the report to the response.
///
/// A closure `Fn(&Request) -> Option<Request>` is a protocol that only copies.
#[diagnostic::on_unimplemented(
    message = "the protocol `{Self}` does not fit requests `{Request}` and responses `{Response}`",
    label = "the layer or set cannot copy such a request",
    note = "`Plain`, the default, takes requests that are `Clone`; `Http` takes requests of the crate `http` whose body is `Clone`",
    note = "set another one with `Builder::protocol`; a closure `Fn(&{Request}) -> Option<{Request}>` is one"
)]
pub trait Protocol<Request, Response> {
    /// Copies a request. `None`: the request cannot be copied, so the call makes only one attempt.
    ///
    /// This runs once at the start of a call that may make further attempts, and again for each further attempt. If the
    /// first copy succeeds, the later ones should succeed too. If a later copy fails, its attempt fails and is not
    /// sent.
    fn copy(&self, request: &Request) -> Option<Request>;

    /// The options of the call with this request. Default: options that set nothing, so the layer's options apply.
    fn options(&self, request: &Request) -> CallOptions {
        let _ = request;
        CallOptions::new()
    }

    /// Prepares the request of an attempt, which is about to be sent. `attempt` contains the number and the kind of the
    /// attempt, and the time that is left. Default: does nothing.
    fn prepare(&self, request: &mut Request, attempt: &AttemptInfo<()>) {
        let _ = (request, attempt);
    }

    /// Prepares the request of an attempt, as [`prepare`](Self::prepare) does. `along` is what goes along with the
    /// attempt ([W3](hedge_core::rules#W3)): the ids and the key of its call, and for a backup the server of the call's
    /// first attempt. `hedge_http::along` has the names of the headers. Default: calls `prepare`.
    fn prepare_along(&self, request: &mut Request, attempt: &AttemptInfo<()>, along: Along<'_, ServerRef<'_>>) {
        let _ = along;
        self.prepare(request, attempt);
    }

    /// Returns whether the requests carry idempotency keys. If so, a key is drawn for each call whose
    /// [`options`](Self::options) have none. Default: they do not.
    fn wants_key(&self) -> bool {
        false
    }

    /// Attaches information about the call to the response that the caller gets, for instance the report or the key of
    /// the server that answered. Default: does nothing.
    fn attach(&self, response: &mut Response, call: &CallEnd<'_>) {
        let _ = (response, call);
    }
}

/// The default protocol. It copies requests with `Clone`, and does nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plain;

impl<Request: Clone, Response> Protocol<Request, Response> for Plain {
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

impl<F, Request, Response> Protocol<Request, Response> for F
where
    F: Fn(&Request) -> Option<Request>,
{
    fn copy(&self, request: &Request) -> Option<Request> {
        self(request)
    }
}

/// The default retry policy: it accepts every response and retries every error, since it knows nothing about errors.
///
/// An error may come after the request was sent, so a request that is not idempotent is not retried. If the errors of a
/// service say whether the request was sent, use a closure or
/// [`DefaultRetryPolicy`](hedge_core::policy::DefaultRetryPolicy) instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetryErrors;

impl<Response, E> RetryPolicy<Response, E> for RetryErrors {
    fn judge(&self, result: Result<&Response, &E>) -> Judgement {
        if result.is_ok() { Verdict::Accept.into() } else { Verdict::Retry.into() }
    }
}

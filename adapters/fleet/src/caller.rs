//! One interface for everything that makes calls: [`Caller`], and how its calls end, [`Outcome`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hedge_core::outcome::{Pushback, Verdict};
use hedge_core::policy::Idempotency;

use crate::options::CallOptions;
use crate::trace::Trace;
use crate::tree::{CallTree, SubCall};

/// The result of a call in a form that does not depend on the caller. Both the reply and the error of a call implement
/// this trait.
pub trait Outcome {
    /// Returns the report of the call, with its servers.
    fn trace(&self) -> &Trace;

    /// Returns the verdict on the result ([L8](hedge_core::rules#L8)). The verdict says, for example, whether the
    /// result is accepted, or whether another caller may succeed.
    fn verdict(&self) -> Verdict;

    /// Returns whether no part of the request has left this client ([T4](hedge_core::rules#T4)). If so, the request may
    /// go to another caller even if it must not be sent twice.
    fn never_left(&self) -> bool;

    /// Returns whether the call failed because its caller had no usable server: the list is empty or missing, or all
    /// servers are down.
    fn all_down(&self) -> bool;

    /// Returns the pushback of the servers that holds at the end of the call ([R4](hedge_core::rules#R4)). `None` if no
    /// server has sent one. A channel of channels asks this of a call that has failed: "do not retry" ends its own
    /// retries, and a delay concerns the sub-channel ([X1](hedge_core::rules#X1)). Default: the pushback in the report.
    fn pushback(&self) -> Option<Pushback> {
        self.trace().pushback()
    }

    /// Returns the reports of the sub-calls, if this was a combined call ([X4](hedge_core::rules#X4)). Default: no
    /// sub-calls. This copies the reports.
    fn sub_calls(&self) -> Vec<SubCall> {
        Vec::new()
    }

    /// Returns the report of the call and the reports of all its sub-calls, as a tree
    /// ([X4](hedge_core::rules#X4)). This copies the reports.
    fn tree(&self) -> CallTree {
        CallTree::new(self.trace().clone(), self.sub_calls())
    }
}

/// Something that makes calls: a channel, or a wrapper around other callers. [`BoxCaller`] hides the type of a caller.
///
/// The request is borrowed, so that several callers can send it.
pub trait Caller<Request>: Send + Sync {
    /// The type of the reply of a call that succeeds.
    type Reply: Outcome + Send;
    /// The type of the error of a call that fails.
    type Error: Outcome + Send;

    /// Makes a call. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Returns the reason why the call failed.
    fn call_with(
        &self,
        request: &Request,
        options: &CallOptions,
    ) -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send;

    /// Returns whether a call of this caller would find a usable server now. A channel of channels asks this when a call
    /// of a sub-channel has failed. If the answer is `false`, the sub-channel counts as down. It is then asked once a
    /// second, and called again when the answer is `true` ([X1](hedge_core::rules#X1)). Default: `true`, so the caller
    /// never counts as down.
    ///
    /// This method must not block, and it should be cheap: it runs within a call.
    fn has_usable_server(&self) -> bool {
        true
    }

    /// Returns whether this request may be sent twice, if the caller knows ([L15](hedge_core::rules#L15)). For example,
    /// a channel of HTTP decides by the request's method, and a channel whose transport does not know answers with its
    /// own option. A channel of channels uses the answer if the options of the call do not decide. Default: `Unset`.
    fn idempotency(&self, request: &Request) -> Idempotency {
        let _ = request;
        Idempotency::Unset
    }

    /// Returns whether this caller sends an idempotency key with its calls ([W3](hedge_core::rules#W3)). If so, a
    /// channel of channels draws one key for each call that has none, so that all sub-calls of the call carry the same
    /// key. It asks for each call, so this must be cheap. Default: `false`.
    fn wants_key(&self) -> bool {
        false
    }
}

/// A caller that several owners share.
impl<Request: Sync, C: Caller<Request>> Caller<Request> for Arc<C> {
    type Reply = C::Reply;
    type Error = C::Error;

    fn call_with(
        &self,
        request: &Request,
        options: &CallOptions,
    ) -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send {
        (**self).call_with(request, options)
    }

    fn has_usable_server(&self) -> bool {
        (**self).has_usable_server()
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        (**self).idempotency(request)
    }

    fn wants_key(&self) -> bool {
        (**self).wants_key()
    }
}

/// A caller whose type is hidden, so that a program can keep callers of several types in one list. All clones use the
/// same caller. A call through a `BoxCaller` costs one more allocation.
pub struct BoxCaller<Request, Reply, Error>(Arc<dyn AnyCaller<Request, Reply, Error>>);

type BoxCall<'a, Reply, Error> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send + 'a>>;

trait AnyCaller<Request, Reply, Error>: Send + Sync {
    fn call<'a>(&'a self, request: &'a Request, options: &'a CallOptions) -> BoxCall<'a, Reply, Error>;
    fn has_usable_server(&self) -> bool;
    fn idempotency(&self, request: &Request) -> Idempotency;
    fn wants_key(&self) -> bool;
}

impl<C: Caller<Request>, Request: Sync> AnyCaller<Request, C::Reply, C::Error> for C {
    fn call<'a>(&'a self, request: &'a Request, options: &'a CallOptions) -> BoxCall<'a, C::Reply, C::Error> {
        Box::pin(self.call_with(request, options))
    }

    fn has_usable_server(&self) -> bool {
        Caller::has_usable_server(self)
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        Caller::idempotency(self, request)
    }

    fn wants_key(&self) -> bool {
        Caller::wants_key(self)
    }
}

impl<Request: Sync, Reply, Error> BoxCaller<Request, Reply, Error> {
    /// Wraps a caller and hides its type.
    pub fn new(caller: impl Caller<Request, Reply = Reply, Error = Error> + 'static) -> Self {
        Self(Arc::new(caller))
    }
}

impl<Request: Sync, Reply: Outcome + Send, Error: Outcome + Send> Caller<Request> for BoxCaller<Request, Reply, Error> {
    type Reply = Reply;
    type Error = Error;

    async fn call_with(&self, request: &Request, options: &CallOptions) -> Result<Reply, Error> {
        self.0.call(request, options).await
    }

    fn has_usable_server(&self) -> bool {
        self.0.has_usable_server()
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        self.0.idempotency(request)
    }

    fn wants_key(&self) -> bool {
        self.0.wants_key()
    }
}

impl<Request, Reply, Error> Clone for BoxCaller<Request, Reply, Error> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Request, Reply, Error> fmt::Debug for BoxCaller<Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxCaller").finish_non_exhaustive()
    }
}

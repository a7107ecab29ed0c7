//! One interface for everything that makes calls: [`Caller`], and how its calls end, [`Outcome`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hedge_core::outcome::Verdict;

use crate::options::CallOptions;
use crate::trace::Trace;

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
}

/// A caller whose type is hidden, so that a program can keep callers of several types in one list. All clones use the
/// same caller. A call through a `BoxCaller` costs one more allocation.
pub struct BoxCaller<Request, Reply, Error>(Arc<dyn AnyCaller<Request, Reply, Error>>);

type BoxCall<'a, Reply, Error> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send + 'a>>;

trait AnyCaller<Request, Reply, Error>: Send + Sync {
    fn call<'a>(&'a self, request: &'a Request, options: &'a CallOptions) -> BoxCall<'a, Reply, Error>;
}

impl<C: Caller<Request>, Request: Sync> AnyCaller<Request, C::Reply, C::Error> for C {
    fn call<'a>(&'a self, request: &'a Request, options: &'a CallOptions) -> BoxCall<'a, C::Reply, C::Error> {
        Box::pin(self.call_with(request, options))
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

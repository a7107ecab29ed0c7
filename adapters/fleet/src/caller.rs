//! One interface for everything that makes calls: [`Caller`], and how its calls end, [`Outcome`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hedge_core::outcome::Verdict;

use crate::options::CallOptions;
use crate::trace::Trace;

/// How a call ended, for code that uses several callers. Replies and errors both implement it.
pub trait Outcome {
    /// The report of the call, with its servers.
    fn trace(&self) -> &Trace;

    /// What the result means: whether it is the reply, or whether another caller may succeed
    /// ([L8](hedge_core::rules#L8)).
    fn verdict(&self) -> Verdict;

    /// Whether no part of the request has left this client ([T4](hedge_core::rules#T4)). Such a request may go to
    /// another caller even if it must not be sent twice.
    fn never_left(&self) -> bool;

    /// Whether there was no server to call.
    fn all_down(&self) -> bool;
}

/// Something that makes calls: a channel, or a wrapper around other callers. [`BoxCaller`] hides its type.
///
/// The request is borrowed, so that several callers can send it.
pub trait Caller<Request>: Send + Sync {
    /// What a call that succeeds returns.
    type Reply: Outcome + Send;
    /// Why a call has no reply.
    type Error: Outcome + Send;

    /// Makes a call. Dropping the future cancels it.
    ///
    /// # Errors
    /// Why there is no reply.
    fn call_with(
        &self,
        request: &Request,
        options: &CallOptions,
    ) -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send;
}

/// A caller of any type. A clone is the same caller. A call through it costs one more allocation.
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
    /// Hides the type of a caller.
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

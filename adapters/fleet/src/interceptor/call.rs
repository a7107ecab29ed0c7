//! One call on its way through its channel's interceptors: [`InterceptedCall`].

use std::fmt;

use hedge_core::drive::AttemptInfo;
use hedge_core::time::Instant;

use super::changed::Changed;
use super::{
    AfterCall, BeforeCall, BoxInterceptor, CallOutcome, Flow, InterceptedAttempt, InterceptorPanicked, Refusal,
};
use crate::Report;
use crate::caught::{caught, caught_in};
use crate::end::{CallEnd, Keys};
use crate::options::CallOptions;
use crate::trace::Trace;

/// One call on its way through its channel's interceptors. Hosts use this type. A host asks the interceptors one by one
/// with [`ask`](Self::ask). Then it begins each attempt with [`begin`](Self::begin), and reports how the call ended
/// with [`ended`](Self::ended). If the value is dropped before `ended` is called, the interceptors that were asked are
/// informed that the call was dropped.
pub struct InterceptedCall<'a, Request, Reply, Error> {
    interceptors: &'a [BoxInterceptor<Request, Reply, Error>],
    call: BeforeCall<'a, Request>,
    started: Instant,
    /// How many interceptors have let the call pass. They are informed of the call's end.
    passed: usize,
    is_ended: bool,
}

impl<'a, Request, Reply, Error> InterceptedCall<'a, Request, Reply, Error> {
    /// Makes a call that starts at `started`.
    #[must_use]
    pub const fn new(
        interceptors: &'a [BoxInterceptor<Request, Reply, Error>],
        request: &'a Request,
        options: &'a CallOptions,
        started: Instant,
    ) -> Self {
        let call = BeforeCall { request: Changed::new(request), options: Changed::new(options) };
        Self { interceptors, call, started, passed: 0, is_ended: false }
    }

    /// Returns the request, with the changes that interceptors have made so far.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.call.request()
    }

    /// Returns the options, with the changes that interceptors have made so far.
    #[must_use]
    pub fn options(&self) -> &CallOptions {
        self.call.options()
    }

    /// Asks the next interceptor. Returns `None` if all interceptors have let the call pass. At the call's deadline,
    /// the host drops the future and asks no further interceptor.
    ///
    /// # Errors
    /// The result contains an error if the interceptor refuses the call, or if it panicked.
    pub async fn ask(&mut self) -> Option<Result<Flow<Reply>, Refusal>> {
        let interceptor = self.interceptors.get(self.passed)?;
        let call = &mut self.call;
        // `before_call` is called inside the async block, since it may panic before it returns a future.
        let flow = caught_in(async move { interceptor.any().before_call(call).await }).await;
        let flow = flow.unwrap_or_else(|| Err(InterceptorPanicked.into()));
        self.passed += usize::from(matches!(flow, Ok(Flow::Continue)));
        Some(flow)
    }

    /// Shows an attempt to the interceptors. `keys` finds the key of the attempt's server.
    ///
    /// # Errors
    /// Returns an error if an interceptor refuses the attempt, or if it panicked. The attempt must not be sent then,
    /// and the call must end.
    pub fn begin<'b, H: Keys>(
        &'b self,
        keys: &'b H,
        info: AttemptInfo<()>,
    ) -> Result<InterceptedAttempt<'b, H, Request, Reply, Error>, Refusal> {
        InterceptedAttempt::begin(self.interceptors, self.request(), keys, info)
    }

    /// Informs the interceptors that the call has ended.
    pub fn ended(&mut self, end: CallEnd<'_>, outcome: CallOutcome<'_, Reply, Error>) {
        self.is_ended = true;
        let (request, options) = (self.call.request(), self.call.options());
        for interceptor in self.interceptors.iter().take(self.passed).rev() {
            caught(|| interceptor.any().after_call(&AfterCall { request, options, outcome, end }));
        }
    }
}

impl<Request, Reply, Error> Drop for InterceptedCall<'_, Request, Reply, Error> {
    fn drop(&mut self) {
        if !self.is_ended && self.passed > 0 {
            let nowhere = Trace::nowhere(Report::new(self.started));
            self.ended(CallEnd::new(&nowhere, &nowhere), CallOutcome::Dropped);
        }
    }
}

impl<Request, Reply, Error> fmt::Debug for InterceptedCall<'_, Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptedCall")
            .field("call", &self.call)
            .field("passed", &self.passed)
            .finish_non_exhaustive()
    }
}

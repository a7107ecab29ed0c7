//! One attempt on its way through the interceptors of its call: [`InterceptedAttempt`].

use std::fmt;

use hedge_core::drive::AttemptInfo;

use super::changed::Changed;
use super::{AfterAttempt, BeforeAttempt, BoxInterceptor, InterceptorPanicked, Refusal};
use crate::caught::caught;
use crate::end::Keys;
use crate::observer::ServerRef;

/// One attempt on its way through the interceptors of its call. Hosts use this type. If it is dropped before
/// [`ended`](Self::ended) is called, the interceptors see that the attempt was abandoned.
pub struct InterceptedAttempt<'a, H: Keys, Request, Reply, Error> {
    /// The interceptors that have let the attempt pass.
    passed: &'a [BoxInterceptor<Request, Reply, Error>],
    request: Changed<'a, Request>,
    keys: &'a H,
    info: AttemptInfo<()>,
}

impl<'a, H: Keys, Request, Reply, Error> InterceptedAttempt<'a, H, Request, Reply, Error> {
    /// Shows an attempt to the interceptors, one after the other. Returns an error if an interceptor refuses the
    /// attempt, or if it panics.
    pub(super) fn begin(
        interceptors: &'a [BoxInterceptor<Request, Reply, Error>],
        request: &'a Request,
        keys: &'a H,
        info: AttemptInfo<()>,
    ) -> Result<Self, Refusal> {
        // If an interceptor refuses, dropping `attempt` informs the interceptors that have let the attempt pass.
        let mut attempt = Self { passed: &[], request: Changed::new(request), keys, info };
        for (interceptor, passed) in interceptors.iter().zip(1..) {
            let server = ServerRef::new(info.server, keys);
            let request = std::mem::replace(&mut attempt.request, Changed::new(request));
            let mut before = BeforeAttempt { info, server, request };
            let result = caught(|| interceptor.any().before_attempt(&mut before));
            attempt.request = before.request;
            result.unwrap_or_else(|| Err(InterceptorPanicked.into()))?;
            attempt.passed = interceptors.get(..passed).unwrap_or_default();
        }
        Ok(attempt)
    }

    /// Returns the request to send.
    #[must_use]
    pub fn request(&self) -> &Request {
        self.request.get()
    }

    /// Returns the copy of the request that interceptors have changed for this attempt. Returns `None` if they changed
    /// nothing. In this copy, a host must restore everything that may not differ from the call's request.
    pub fn changed_request(&mut self) -> Option<&mut Request> {
        self.request.own()
    }

    /// Informs the interceptors of the result.
    pub fn ended(mut self, result: Result<&Reply, &Error>) {
        self.tell(Some(result));
        self.passed = &[];
    }

    fn tell(&self, result: Option<Result<&Reply, &Error>>) {
        let (info, server) = (self.info, ServerRef::new(self.info.server, self.keys));
        for interceptor in self.passed.iter().rev() {
            let request = self.request.get();
            caught(|| interceptor.any().after_attempt(&AfterAttempt { info, server, request, result }));
        }
    }
}

impl<H: Keys, Request, Reply, Error> Drop for InterceptedAttempt<'_, H, Request, Reply, Error> {
    fn drop(&mut self) {
        self.tell(None);
    }
}

impl<H: Keys, Request, Reply, Error> fmt::Debug for InterceptedAttempt<'_, H, Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptedAttempt").field("info", &self.info).finish_non_exhaustive()
    }
}

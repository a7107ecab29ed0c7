//! Interceptors whose type is hidden, [`BoxInterceptor`], and lists of interceptors, [`Interceptors`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{AfterAttempt, AfterCall, BeforeAttempt, BeforeCall, Flow, Interceptor, Refusal};

/// An interceptor whose type is hidden. All clones are the same interceptor.
pub struct BoxInterceptor<Request, Reply, Error>(Arc<dyn AnyInterceptor<Request, Reply, Error>>);

type BoxBefore<'a, Reply> = Pin<Box<dyn Future<Output = Result<Flow<Reply>, Refusal>> + Send + 'a>>;

pub(super) trait AnyInterceptor<Request, Reply, Error>: Send + Sync {
    fn before_call<'a>(&'a self, call: &'a mut BeforeCall<'_, Request>) -> BoxBefore<'a, Reply>
    where
        Reply: 'a,
        Error: 'a;
    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, Request>) -> Result<(), Refusal>;
    fn after_attempt(&self, attempt: &AfterAttempt<'_, Request, Reply, Error>);
    fn after_call(&self, call: &AfterCall<'_, Request, Reply, Error>);
}

impl<I: Interceptor<Request, Reply, Error>, Request, Reply, Error> AnyInterceptor<Request, Reply, Error> for I {
    fn before_call<'a>(&'a self, call: &'a mut BeforeCall<'_, Request>) -> BoxBefore<'a, Reply>
    where
        Reply: 'a,
        Error: 'a,
    {
        Box::pin(Interceptor::before_call(self, call))
    }

    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, Request>) -> Result<(), Refusal> {
        Interceptor::before_attempt(self, attempt)
    }

    fn after_attempt(&self, attempt: &AfterAttempt<'_, Request, Reply, Error>) {
        Interceptor::after_attempt(self, attempt);
    }

    fn after_call(&self, call: &AfterCall<'_, Request, Reply, Error>) {
        Interceptor::after_call(self, call);
    }
}

impl<Request, Reply, Error> BoxInterceptor<Request, Reply, Error> {
    /// Wraps an interceptor and hides its type.
    pub fn new(interceptor: impl Interceptor<Request, Reply, Error> + 'static) -> Self {
        Self(Arc::new(interceptor))
    }

    pub(super) fn any(&self) -> &dyn AnyInterceptor<Request, Reply, Error> {
        &*self.0
    }
}

impl<Request, Reply, Error> Interceptor<Request, Reply, Error> for BoxInterceptor<Request, Reply, Error>
where
    Request: Send + Sync,
{
    async fn before_call(&self, call: &mut BeforeCall<'_, Request>) -> Result<Flow<Reply>, Refusal> {
        self.any().before_call(call).await
    }

    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, Request>) -> Result<(), Refusal> {
        self.any().before_attempt(attempt)
    }

    fn after_attempt(&self, attempt: &AfterAttempt<'_, Request, Reply, Error>) {
        self.any().after_attempt(attempt);
    }

    fn after_call(&self, call: &AfterCall<'_, Request, Reply, Error>) {
        self.any().after_call(call);
    }
}

impl<Request, Reply, Error> Clone for BoxInterceptor<Request, Reply, Error> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Request, Reply, Error> fmt::Debug for BoxInterceptor<Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxInterceptor").finish_non_exhaustive()
    }
}

/// A list of interceptors. The first interceptor in the list is the outermost one, and is asked first. A program makes
/// one list and gives it to each builder, so that all its channels have the same interceptors. A clone of the list has
/// the same interceptors.
pub struct Interceptors<Request, Reply, Error>(Option<Arc<[BoxInterceptor<Request, Reply, Error>]>>);

impl<Request, Reply, Error> Interceptors<Request, Reply, Error> {
    /// Makes an empty list.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Adds an interceptor at the end of the list, where it is the innermost one. Channels that were built earlier do
    /// not change.
    pub fn add(&mut self, interceptor: impl Interceptor<Request, Reply, Error> + 'static) {
        self.extend([BoxInterceptor::new(interceptor)]);
    }

    /// Returns this list with one more interceptor at its end.
    #[must_use]
    pub fn with(mut self, interceptor: impl Interceptor<Request, Reply, Error> + 'static) -> Self {
        self.add(interceptor);
        self
    }

    /// Returns the interceptors, beginning with the outermost one.
    #[must_use]
    pub fn all(&self) -> &[BoxInterceptor<Request, Reply, Error>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns the interceptors, beginning with the outermost one. Returns `None` if the list is empty.
    #[inline]
    pub fn some(&self) -> Option<&[BoxInterceptor<Request, Reply, Error>]> {
        self.0.as_deref()
    }
}

impl<Request, Reply, Error> Extend<BoxInterceptor<Request, Reply, Error>> for Interceptors<Request, Reply, Error> {
    fn extend<T: IntoIterator<Item = BoxInterceptor<Request, Reply, Error>>>(&mut self, interceptors: T) {
        let all: Vec<_> = self.all().iter().cloned().chain(interceptors).collect();
        self.0 = if all.is_empty() { None } else { Some(all.into()) };
    }
}

impl<Request, Reply, Error> Default for Interceptors<Request, Reply, Error> {
    fn default() -> Self {
        Self::none()
    }
}

impl<Request, Reply, Error> Clone for Interceptors<Request, Reply, Error> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Request, Reply, Error> fmt::Debug for Interceptors<Request, Reply, Error> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interceptors").field(&self.all().len()).finish()
    }
}

//! The state that all calls of a layer or a set share: [`Shared`].

use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::RetryPolicy;
use hedge_fleet::Settings;

/// The state that all calls of a layer or a set share, except the services.
pub(crate) struct Shared<T, R, C> {
    pub(crate) settings: Settings,
    pub(crate) timer: T,
    pub(crate) retry_policy: AttemptPolicy<R>,
    pub(crate) protocol: C,
}

/// The program's retry policy, for results with one more error, `None`: the attempt was not sent, because the request
/// could not be copied.
pub(crate) struct AttemptPolicy<R>(pub(crate) R);

impl<R: RetryPolicy<Response, E>, Response, E> RetryPolicy<Response, Option<E>> for AttemptPolicy<R> {
    fn judge(&self, result: Result<&Response, &Option<E>>) -> Judgement {
        match result {
            Ok(response) => self.0.judge(Ok(response)),
            Err(Some(error)) => self.0.judge(Err(error)),
            // There was no request to send. Another attempt would have none either, so nothing is retried.
            Err(None) => Judgement::from(Verdict::Wait).never_left(),
        }
    }
}

//! What all calls of a layer or a set share: [`Shared`].

use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::RetryPolicy;
use hedge_fleet::{Settings, caught};

use crate::Report;

/// Everything that calls share but the services.
pub(crate) struct Shared<T, R, C> {
    pub(crate) settings: Settings,
    pub(crate) timer: T,
    pub(crate) judge: Judge<R>,
    pub(crate) protocol: C,
    pub(crate) on_end: Option<OnEnd>,
}

/// Who hears of the reports.
pub(crate) type OnEnd = Box<dyn Fn(&Report) + Send + Sync>;

impl<T, R, C> Shared<T, R, C> {
    /// A call has ended.
    pub(crate) fn ended(&self, report: &Report) {
        if let Some(on_end) = &self.on_end {
            caught(|| on_end(report));
        }
    }
}

/// A retry policy over attempts, of which one may not have been made for want of a request.
pub(crate) struct Judge<R>(pub(crate) R);

impl<R: RetryPolicy<Response, E>, Response, E> RetryPolicy<Response, Option<E>> for Judge<R> {
    fn judge(&self, result: Result<&Response, &Option<E>>) -> Judgement {
        match result {
            Ok(response) => self.0.judge(Ok(response)),
            Err(Some(error)) => self.0.judge(Err(error)),
            // There was no request to send.
            Err(None) => Judgement::from(Verdict::Wait).never_left(),
        }
    }
}

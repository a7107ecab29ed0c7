//! What all calls of a layer or a set share: [`Shared`].

use std::sync::Arc;

use hedge_core::limit::{Counted, Limits};
use hedge_core::outcome::{Denial, Judgement, Verdict};
use hedge_core::policy::{self, BackupDelay, BackupPolicy, CallLatencies, ChannelOptions, Ended, RetryPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use crate::Report;

/// Everything that calls share but the services.
pub(crate) struct Shared<T, R, C> {
    pub(crate) settings: Settings,
    pub(crate) timer: T,
    pub(crate) judge: Judge<R>,
    pub(crate) protocol: C,
}

/// Who hears of the reports.
pub(crate) type OnEnd = Box<dyn Fn(&Report) + Send + Sync>;

/// The limits, whose refusals are counted, and the user's own policy.
pub(crate) type Policy = Counted<(Limits, Option<policy::Shared<Arc<dyn BackupPolicy + Send + Sync>>>)>;

/// What the core asks of a host, the servers apart.
pub(crate) struct Settings {
    pub(crate) options: ChannelOptions,
    pub(crate) policy: Policy,
    pub(crate) latencies: CallLatencies,
    pub(crate) seeds: Seeds,
    pub(crate) on_end: Option<OnEnd>,
}

impl Settings {
    pub(crate) fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.policy.delay(now).unwrap_or(self.options.backup)
    }

    pub(crate) fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_back_up(now)
    }

    pub(crate) fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.policy.may_retry(now)
    }

    pub(crate) fn ended(&self, call: &Ended<'_>) {
        self.policy.ended(call);
        self.latencies.ended(call);
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

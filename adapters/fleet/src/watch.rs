//! Tells what happens in one call: [`CallWatch`].

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use hedge_core::drive::Watch;
use hedge_core::id::AttemptId;

use crate::end::{CallEnd, Keys};
#[cfg(feature = "tracing")]
use crate::observer::AttemptSpans;
use crate::observer::{AttemptEnded, AttemptStarted, CallId, Observers};
use crate::{MAX_ATTEMPTS, MAX_IN_FLIGHT, Report};

/// The future of an attempt. With the feature `tracing`, it runs in the attempt's span.
#[cfg(not(feature = "tracing"))]
pub type InSpan<F> = F;

/// The future of an attempt. With the feature `tracing`, it runs in the attempt's span.
#[cfg(feature = "tracing")]
pub type InSpan<F> = tracing::instrument::Instrumented<F>;

/// Tells the observers, the subscriber and the logger what happens in one call, as its driver tells it.
///
/// # Cost
/// If nobody wants to know, one look when the call starts, and one at each event. Otherwise one allocation, and what
/// the observers do.
pub struct CallWatch<'a, H> {
    keys: &'a H,
    /// `None`: nobody wants to know.
    call: Option<Box<WatchedCall<'a>>>,
}

struct WatchedCall<'a> {
    observers: &'a Observers,
    id: CallId,
    /// The attempts in flight: a bit each.
    open: AtomicU8,
    #[cfg(feature = "tracing")]
    spans: Option<AttemptSpans>,
}

const _: () = assert!(MAX_ATTEMPTS <= 8, "a bit for each attempt");

impl<'a, H: Keys> CallWatch<'a, H> {
    /// For a call that starts. `keys` knows the servers that it goes to. If it may send more backups than a call has
    /// room for, its driver rejects it, so nothing is told.
    #[inline]
    pub fn new(keys: &'a H, observers: &'a Observers, max_backups: u8) -> Self {
        let wanted = is_wanted(observers) && usize::from(max_backups) < MAX_IN_FLIGHT;
        Self { keys, call: if wanted { WatchedCall::new(observers) } else { None } }
    }

    /// Makes the future of an attempt: `start` runs, and the future is polled, in the attempt's span.
    #[cfg(not(feature = "tracing"))]
    #[inline(always)]
    pub fn begin<F>(&self, _: AttemptId, start: impl FnOnce() -> F) -> InSpan<F> {
        start()
    }

    /// Makes the future of an attempt: `start` runs, and the future is polled, in the attempt's span.
    #[cfg(feature = "tracing")]
    #[inline]
    pub fn begin<F>(&self, attempt: AttemptId, start: impl FnOnce() -> F) -> InSpan<F> {
        use tracing::instrument::Instrument as _;

        match self.call.as_ref().and_then(|call| call.spans.as_ref()) {
            Some(spans) => {
                let span = spans.of(attempt);
                let future = span.in_scope(start);
                future.instrument(span)
            }
            None => start().instrument(tracing::Span::none()),
        }
    }
}

/// Whether anyone may want to know of calls.
#[inline]
fn is_wanted(observers: &Observers) -> bool {
    #[cfg(feature = "tracing")]
    if AttemptSpans::are_on() {
        return true;
    }
    observers.want_calls()
}

impl<'a> WatchedCall<'a> {
    #[cold]
    fn new(observers: &'a Observers) -> Option<Box<Self>> {
        let id = CallId::next();
        #[cfg(feature = "tracing")]
        let spans = AttemptSpans::new(id);
        #[cfg(feature = "tracing")]
        if spans.is_none() && !observers.want_calls() {
            return None;
        }
        let call = Self {
            observers,
            id,
            open: AtomicU8::new(0),
            #[cfg(feature = "tracing")]
            spans,
        };
        observers.call_started(id);
        Some(Box::new(call))
    }

    #[cold]
    fn attempt_started(&self, keys: &dyn Keys, report: &Report, id: AttemptId) {
        let Some(attempt) = report.attempts().get(id.index()) else { return };
        self.open.fetch_or(1 << id.index(), Ordering::Relaxed);
        let started = AttemptStarted::new(self.id, id, attempt, keys);
        #[cfg(feature = "tracing")]
        if let Some(spans) = &self.spans {
            crate::caught(|| spans.attempt_started(&started));
        }
        self.observers.attempt_started(&started);
    }

    #[cold]
    fn attempt_ended(&self, keys: &dyn Keys, report: &Report, id: AttemptId) {
        let Some(attempt) = report.attempts().get(id.index()) else { return };
        let bit = 1 << id.index();
        if self.open.fetch_and(!bit, Ordering::Relaxed) & bit == 0 {
            return;
        }
        let ended = AttemptEnded::new(self.id, id, (report, attempt), keys);
        #[cfg(feature = "tracing")]
        if let Some(spans) = &self.spans {
            crate::caught(|| spans.attempt_ended(&ended));
        }
        self.observers.attempt_ended(&ended);
    }

    #[cold]
    fn call_ended(&self, keys: &dyn Keys, report: &Report) {
        for id in report.ids() {
            self.attempt_ended(keys, report, id);
        }
        #[cfg(feature = "tracing")]
        if let Some(spans) = &self.spans {
            crate::caught(|| spans.call_ended(report));
        }
        self.observers.call_ended(self.id, &CallEnd::new(report, keys));
    }
}

impl<H: Keys> Watch<MAX_ATTEMPTS> for CallWatch<'_, H> {
    #[inline]
    fn attempt_started(&self, report: &Report, attempt: AttemptId) {
        if let Some(call) = &self.call {
            call.attempt_started(self.keys, report, attempt);
        }
    }

    #[inline]
    fn attempt_ended(&self, report: &Report, attempt: AttemptId) {
        if let Some(call) = &self.call {
            call.attempt_ended(self.keys, report, attempt);
        }
    }

    #[inline]
    fn call_ended(&self, report: &Report) {
        if let Some(call) = &self.call {
            call.call_ended(self.keys, report);
        }
    }
}

impl<H> fmt::Debug for CallWatch<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallWatch").field("call", &self.call.as_ref().map(|call| call.id)).finish_non_exhaustive()
    }
}

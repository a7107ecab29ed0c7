//! Reports the events of one call to the observers, the subscriber and the logger: [`CallWatch`].

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use hedge_core::drive::Watch;
use hedge_core::id::AttemptId;

use crate::end::{CallEnd, Keys};
#[cfg(feature = "tracing")]
use crate::observer::AttemptSpans;
use crate::observer::{AttemptEnded, AttemptStarted, CallId, Observers};
use crate::{MAX_ATTEMPTS, MAX_IN_FLIGHT, Report};

/// The future of an attempt. With the feature `tracing`, the future runs in the attempt's span.
#[cfg(not(feature = "tracing"))]
pub type InSpan<F> = F;

/// The future of an attempt. With the feature `tracing`, the future runs in the attempt's span.
#[cfg(feature = "tracing")]
pub type InSpan<F> = tracing::instrument::Instrumented<F>;

/// Watches one call. It gets the events of the call from the driver, and reports them to its receivers: the observers,
/// the `tracing` subscriber and the logger.
///
/// # Cost
/// Without receivers, this costs one check when the call starts, and one check at each event. With receivers, it costs
/// one allocation and the work of the receivers.
pub struct CallWatch<'a, H> {
    keys: &'a H,
    /// The data for the events of the call. `None` if no observer, subscriber or logger wants these events.
    call: Option<Box<WatchedCall<'a>>>,
}

struct WatchedCall<'a> {
    observers: &'a Observers,
    id: CallId,
    /// The attempts in flight. Bit `i` is set while attempt `i` is in flight.
    open: AtomicU8,
    #[cfg(feature = "tracing")]
    spans: Option<AttemptSpans>,
}

const _: () = assert!(MAX_ATTEMPTS <= 8, "a bit for each attempt");

impl<'a, H: Keys> CallWatch<'a, H> {
    /// Makes the watch of a call that starts. `keys` finds the keys of the servers that the call tries. If
    /// `max_backups` is [`MAX_IN_FLIGHT`] or more, the driver will reject the call, so no event is reported.
    #[inline]
    pub fn new(keys: &'a H, observers: &'a Observers, max_backups: u8) -> Self {
        let wanted = is_wanted(observers) && usize::from(max_backups) < MAX_IN_FLIGHT;
        Self { keys, call: if wanted { WatchedCall::new(observers) } else { None } }
    }

    /// Calls `start`, which makes the future of an attempt. If the attempt has a span, both `start` and the future run
    /// in this span.
    #[cfg(not(feature = "tracing"))]
    #[inline(always)]
    pub fn begin<F>(&self, _: AttemptId, start: impl FnOnce() -> F) -> InSpan<F> {
        start()
    }

    /// Calls `start`, which makes the future of an attempt. If the attempt has a span, both `start` and the future run
    /// in this span.
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

/// Returns whether a subscriber, an observer or a logger may want the events of calls.
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

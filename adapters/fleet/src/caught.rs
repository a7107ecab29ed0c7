//! Runs the program's own code where its panic must be stopped: in background tasks, between a call and its counts, and
//! between a call and its answer.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{BackupDelay, BackupPolicy, Ended};
use hedge_core::time::Instant;

/// Runs a closure and returns its result; `None` if it panics. The closure is only the program's code, so no state of
/// this library can be left half changed.
pub fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Runs a future and returns its output; `None` if it panics.
pub async fn caught_in<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
        Some(poll) => poll.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// A policy of the program whose panics are caught. If it panics, it gives no delay, refuses, or misses the notice,
/// depending on the method.
#[derive(Clone, Copy, Debug)]
pub struct Guarded<P>(pub P);

impl<P: Deref<Target: BackupPolicy>> BackupPolicy for Guarded<P> {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        caught(|| self.0.delay(now)).flatten()
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        caught(|| self.0.may_back_up(now)).unwrap_or(Err(Denial::Policy))
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        caught(|| self.0.may_retry(now)).unwrap_or(Err(Denial::Policy))
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        caught(|| self.0.take_back(extra, now));
    }

    fn ended(&self, call: &Ended<'_>) {
        caught(|| self.0.ended(call));
    }
}

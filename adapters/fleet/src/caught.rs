//! Runs code of the program and catches its panics. A panic in this code must not end a background task, make the
//! counts of a call wrong, or replace the answer of a call.

use std::future::{Future, poll_fn};
use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use hedge_core::outcome::{Denial, Extra};
use hedge_core::policy::{BackupDelay, BackupPolicy, Ended};
use hedge_core::time::Instant;

/// Runs a closure and returns its result. Returns `None` if the closure panics. The closure should only call code of
/// the program, such as a policy or an observer. Then a panic cannot leave the state of this library half changed.
pub fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    // The payload of a panic is a value of the program, and its drop could panic again. So it is never dropped.
    catch_unwind(AssertUnwindSafe(run)).map_err(mem::forget).ok()
}

/// Runs a future and returns its output. Returns `None` if the future panics.
pub async fn caught_in<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
        Some(poll) => poll.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

/// A backup policy of the program. Its panics are caught. If `delay` panics, the policy gives no delay of its own. If
/// `may_back_up` or `may_retry` panics, the policy refuses. A panic in `take_back` or `ended` is ignored.
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

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("the payload of a panic was dropped");
        }
    }

    #[test]
    fn w1_a_payload_that_panics_when_it_is_dropped_is_caught_too() {
        assert_eq!(caught(|| panic_any(PanicsWhenDropped)), None::<()>);
    }
}

//! Calls run by the driver over a clock that moves only when something waits for it: what
//! [`drive`] costs without a runtime.

use std::cell::Cell;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hedge_core::balance::Balancer;
use hedge_core::drive::{Driver, Timer, drive};
use hedge_core::id::AttemptId;
use hedge_core::outcome::ErrorKind;
use hedge_core::policy::{AttemptError, CallOptions, DefaultRetryPolicy};
use hedge_core::time::Instant;

use crate::Line;

/// A clock that stands still until someone sleeps, and has then come to that instant already.
#[derive(Debug, Default)]
pub struct Jumping {
    now: Cell<Instant>,
    sleeps: Cell<u32>,
}

impl Jumping {
    /// How many sleeps were made.
    pub const fn sleeps(&self) -> u32 {
        self.sleeps.get()
    }
}

impl Timer for Jumping {
    type Sleep = Ready<()>;

    #[inline]
    fn now(&self) -> Instant {
        black_box(self.now.get())
    }

    #[inline]
    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        self.sleeps.set(self.sleeps.get().wrapping_add(1));
        self.now.set(at.max(self.now.get()));
        ready(())
    }
}

/// A clock that stands still, whose sleeps never end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Still;

impl Timer for Still {
    type Sleep = std::future::Pending<()>;

    #[inline]
    fn now(&self) -> Instant {
        black_box(Instant::ZERO)
    }

    #[inline]
    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        black_box(at);
        std::future::pending()
    }
}

/// What an attempt would fail with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// An attempt that answers `value` when it has been polled `pending` times in vain.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    value: u64,
    pending: u32,
}

impl Answer {
    /// At once.
    #[inline]
    #[must_use]
    pub const fn ready(value: u64) -> Self {
        Self { value, pending: 0 }
    }

    /// At the second poll.
    #[inline]
    #[must_use]
    pub const fn pending_once(value: u64) -> Self {
        Self { value, pending: 1 }
    }

    /// Never, for all that a bench waits.
    #[inline]
    #[must_use]
    pub const fn never() -> Self {
        Self { value: 0, pending: u32::MAX }
    }
}

impl Future for Answer {
    type Output = Result<u64, Failed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if black_box(self.pending) == 0 {
            return Poll::Ready(Ok(black_box(self.value)));
        }
        self.pending -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls a future until it is ready, without an executor.
#[inline]
pub fn by_hand<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// A driven call whose attempts `answer` makes; answers the reply.
#[inline]
pub async fn driven<B: Balancer, T: Timer>(
    line: &Line<B>,
    options: &CallOptions<'_>,
    timer: &T,
    mut answer: impl FnMut(AttemptId) -> Answer,
) -> Option<u64> {
    let mut call = line.call(options, timer.now()).ok()?;
    let driver = Driver::new(timer, &DefaultRetryPolicy);
    let slots = [pin!(None), pin!(None)];
    let result = drive(&mut call, slots, driver, |attempt| answer(attempt.attempt)).await;
    black_box(call.report());
    result.ok()
}

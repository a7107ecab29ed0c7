//! Cancelling a call from elsewhere: [`CancelSignal`].

// The docs of futures-core hide it, but every futures-util 0.3 re-exports it, so no 0.3 release can remove it. The
// alternative is one more dependency, or `unsafe` here.
use futures_core::task::__internal::AtomicWaker;

use core::task::Context;

use crate::atomic::{AtomicBool, Ordering};

/// A flag and a waker that the caller lends to one call ([L12](crate::rules#L12)): no allocation, and any thread may
/// raise it.
///
/// Raising it before the call starts ends the call at its first poll. It serves one call at a time: only the call that
/// polled it last is woken. Once raised it stays raised until [`CancelSignal::reset`].
#[derive(Debug)]
pub struct CancelSignal {
    raised: AtomicBool,
    waker: AtomicWaker,
}

impl CancelSignal {
    /// A signal that has not been raised.
    #[must_use]
    pub const fn new() -> Self {
        Self { raised: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Cancels the call that listens, now or later. Idempotent.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it has been raised.
    pub fn is_cancelled(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Lowers it, for the next call.
    pub fn reset(&mut self) {
        self.raised.store(false, Ordering::Release);
    }
}

/// What may cancel a call: [`NoCancel`], a [`CancelSignal`], or an `Option` of one. It is a trait, so that a program
/// without signals carries no code for them.
pub trait Cancel: sealed::Sealed {
    #[doc(hidden)]
    fn poll(&self, cx: &mut Context<'_>) -> bool;
}

/// Only dropping the future cancels the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoCancel;

impl Cancel for NoCancel {
    fn poll(&self, _: &mut Context<'_>) -> bool {
        false
    }
}

impl Cancel for &CancelSignal {
    fn poll(&self, cx: &mut Context<'_>) -> bool {
        if self.is_cancelled() {
            return true;
        }
        self.waker.register(cx.waker());
        // Checks again: a signal that was raised between the first check and the registration wakes no one.
        self.is_cancelled()
    }
}

impl<C: Cancel> Cancel for Option<C> {
    fn poll(&self, cx: &mut Context<'_>) -> bool {
        self.as_ref().is_some_and(|cancel| cancel.poll(cx))
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::NoCancel {}
    impl Sealed for &super::CancelSignal {}
    impl<C: super::Cancel> Sealed for Option<C> {}
}

impl Default for CancelSignal {
    fn default() -> Self {
        Self::new()
    }
}

//! Cancels a call from another task or thread: [`CancelSignal`].

// The docs of futures-core hide this module. But every 0.3 release of futures-util re-exports the module, so no 0.3
// release of futures-core can remove it. The alternatives are one more dependency, or `unsafe` code here.
use futures_core::task::__internal::AtomicWaker;

use core::task::Context;

use crate::atomic::{AtomicBool, Ordering};

/// A signal that cancels one call ([L12](crate::rules#L12)). The signal consists of a flag and a waker. The caller
/// lends the signal to the call. It allocates nothing, and any thread may raise it.
///
/// If a signal is raised before the call starts, the call ends at its first poll. A signal serves one call at a time:
/// it wakes only the call that polled it last. The signal stays raised until [`CancelSignal::reset`].
#[derive(Debug)]
pub struct CancelSignal {
    raised: AtomicBool,
    waker: AtomicWaker,
}

impl CancelSignal {
    /// Makes a signal that is not raised.
    #[must_use]
    pub const fn new() -> Self {
        Self { raised: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Raises the signal. This cancels the call that uses the signal now, or else the next call that uses it. If the
    /// signal is already raised, nothing changes.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Returns whether this signal has been raised.
    pub fn is_cancelled(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Lowers the signal, so that the next call can use it.
    pub fn reset(&mut self) {
        self.raised.store(false, Ordering::Release);
    }
}

/// A way to cancel a call, in addition to dropping the call's future: [`NoCancel`], a [`CancelSignal`], or an `Option`
/// of a `CancelSignal`. This is a trait, so that a program without signals contains no code for signals.
pub trait Cancel: sealed::Sealed {
    #[doc(hidden)]
    fn poll(&self, cx: &mut Context<'_>) -> bool;
}

/// No signal: a call is cancelled only by dropping its future.
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
        // This second check is necessary: if the signal was raised between the first check and the registration of the
        // waker, no task was woken.
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

//! tokio's clock and sleeps as a [`Timer`], as `hedge-tokio` has them, that counts the sleeps made.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use tokio::time::Sleep;

/// Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct TokioClock {
    epoch: tokio::time::Instant,
    sleeps: Arc<AtomicU32>,
}

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self { epoch: tokio::time::Instant::now(), sleeps: Arc::default() }
    }

    pub(crate) fn sleeps(&self) -> u32 {
        self.sleeps.load(Ordering::Relaxed)
    }

    fn at(&self, at: Instant) -> tokio::time::Instant {
        self.epoch + at.since(Instant::ZERO)
    }
}

impl Timer for TokioClock {
    type Sleep = Sleep;

    #[inline]
    fn now(&self) -> Instant {
        Instant::from_elapsed(self.epoch.elapsed())
    }

    #[inline]
    fn sleep_until(&self, at: Instant) -> Sleep {
        // There is one thread: counting need not cost an atomic addition.
        self.sleeps.store(self.sleeps().wrapping_add(1), Ordering::Relaxed);
        tokio::time::sleep_until(self.at(at))
    }

    #[inline]
    fn reset(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        sleep.reset(self.at(at));
    }
}

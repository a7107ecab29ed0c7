//! The clock: milliseconds, counted by SysTick.

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

static TICKS: AtomicU32 = AtomicU32::new(0);

/// Milliseconds since the start.
#[derive(Clone, Copy, Debug)]
pub struct Ticks;

impl Ticks {
    /// The time.
    #[must_use]
    pub fn now(self) -> u32 {
        black_box(&TICKS).load(Ordering::Relaxed)
    }
}

#[cfg(target_os = "none")]
#[cortex_m_rt::exception]
fn SysTick() {
    // The only writer, and not interrupted by itself: a load and a store do where there is no fetch-and-add.
    TICKS.store(TICKS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

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
    // This handler is the only writer, and it does not interrupt itself. So a load and a store are enough, which also work
    // where there is no fetch-and-add.
    TICKS.store(TICKS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

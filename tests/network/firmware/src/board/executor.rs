//! embassy's executor in a loop that sleeps by WFI. embassy's own loop for a Cortex-M sleeps by WFE, which does nothing in
//! QEMU, so that a core of the host would be busy all the time.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

/// Whether a task was woken since the executor was last polled.
static PENDING: AtomicBool = AtomicBool::new(false);

/// The executor calls this when a task is woken, in an interrupt or outside of one.
#[allow(unsafe_code, reason = "embassy-executor asks for this symbol, and defines it nowhere else without a platform")]
#[unsafe(export_name = "__pender")]
fn pend(_context: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

/// Runs the tasks that `spawn` spawns, for ever. It must be called once only.
#[allow(unsafe_code, reason = "`poll` must not be entered twice: this loop is its only caller, and does not return")]
pub fn run(spawn: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(null_mut()));
    spawn(executor.spawner());
    loop {
        // SAFETY: this loop is the only caller of `poll`.
        unsafe { executor.poll() };
        // An interrupt that comes between the check and the sleep stays pending, and ends the sleep at once.
        cortex_m::interrupt::free(|_| {
            if !PENDING.load(Ordering::Acquire) {
                cortex_m::asm::wfi();
            }
            PENDING.store(false, Ordering::Release);
        });
    }
}

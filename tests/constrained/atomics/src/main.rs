//! Main and an interrupt share a ratio limit: no count is lost, and neither waits for the other for ever.

#![cfg_attr(target_os = "none", no_std, no_main)]

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hprintln;
use critical_section::Mutex;
use hedge_core::bounded::Bounded;
use hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::Instant;
use static_cell::StaticCell;
// Its features choose how atomics are done.
#[cfg(any(feature = "choice-critical-section", feature = "choice-single-core"))]
use portable_atomic as _;

/// How many interrupts there are. Each comes at another place in main's work.
const INTERRUPTS: u32 = 5_000;
/// How many cycles there are from one interrupt to the next.
const PERIOD: u32 = 2_000;

/// The limit that main and the interrupt share.
static LIMIT: Mutex<Cell<Option<&'static RatioLimit>>> = Mutex::new(Cell::new(None));
/// The interrupt's calls. Only the interrupt writes this.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// The backups that the interrupt was granted. Only the interrupt writes this.
static GRANTED: AtomicU32 = AtomicU32::new(0);

/// Completes one call and asks for one backup. Everything happens within one window.
fn call(limit: &RatioLimit) -> bool {
    let now = Instant::from_millis(1);
    limit.completed(now);
    limit.may_back_up(now).is_ok()
}

#[cfg_attr(target_os = "none", cortex_m_rt::exception)]
#[cfg_attr(not(target_os = "none"), allow(dead_code, non_snake_case, reason = "nothing interrupts a host"))]
fn SysTick() {
    if let Some(limit) = critical_section::with(|section| LIMIT.borrow(section).get()) {
        let granted = u32::from(call(limit));
        GRANTED.store(GRANTED.load(Ordering::Relaxed) + granted, Ordering::Relaxed);
        CALLS.store(CALLS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    static SHARED: StaticCell<RatioLimit> = StaticCell::new();
    let options = RatioOptions { burst: Bounded::of::<0>(), ..RatioOptions::DEFAULT };
    let Some(peripherals) = cortex_m::Peripherals::take() else { finish(false) };
    let limit = &*SHARED.init(RatioLimit::new(options));
    critical_section::with(|section| LIMIT.borrow(section).set(Some(limit)));
    let mut timer = peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(PERIOD);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
    let (mut calls, mut granted) = (0_u32, 0_u32);
    while CALLS.load(Ordering::Relaxed) < INTERRUPTS {
        calls += 1;
        granted += u32::from(call(limit));
    }
    timer.disable_interrupt();
    let by_interrupts = GRANTED.load(Ordering::Relaxed);
    let (all_calls, all_granted) = (calls + CALLS.load(Ordering::Relaxed), granted + by_interrupts);
    hprintln!("{} calls by main, {} by interrupts; {} backups", calls, CALLS.load(Ordering::Relaxed), all_granted);
    // Exactly one backup for ten calls: with a lost call there would be one less, and with a lost grant one more.
    let mut passed = true;
    for (what, holds) in [
        ("both were granted backups", granted > 0 && by_interrupts > 0),
        ("no call and no grant was lost", all_granted == all_calls / 10),
    ] {
        hprintln!("{} {}", if holds { "ok" } else { "FAIL" }, what);
        passed &= holds;
    }
    finish(passed)
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    hprintln!("error: {info}");
    finish(false)
}

/// Ends QEMU with the verdict. On a machine without a debugger it waits here for ever.
fn finish(passed: bool) -> ! {
    exit(if passed { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        core::hint::spin_loop();
    }
}

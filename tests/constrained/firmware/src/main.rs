//! A client on a bare microcontroller, without an operating system, a heap, an executor and a clock. It drives hedged calls
//! by hand in virtual time, replays cases of the lifecycle's table, reports over semihosting, and exits with its verdict.

#![cfg_attr(target_os = "none", no_std, no_main)]

mod fleet;
#[cfg(feature = "hedge")]
mod hedged;
mod histogram;
#[cfg(feature = "hedge")]
mod lifecycle;
mod plain;
mod verdict;

// It provides the critical sections.
use cortex_m as _;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use verdict::Verdict;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m_semihosting::hprintln!("error: {info}");
    finish(false)
}

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let mut verdict = Verdict::new();
    let plain = plain::run();
    verdict.expect("a plain call stalls as often as its server", plain.latencies.quantile(990) >= fleet::STALL_US);
    #[cfg(feature = "hedge")]
    {
        hedged::check(&mut verdict, &plain);
        lifecycle::check(&mut verdict);
    }
    finish(verdict.passed())
}

/// Ends QEMU with the verdict. On a machine without a debugger it waits here for ever.
fn finish(passed: bool) -> ! {
    exit(if passed { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        core::hint::spin_loop();
    }
}

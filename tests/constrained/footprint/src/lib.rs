//! A small client on a bare machine: what all programs share, so that what differs is hedge, or what
//! its channel is made of.
//!
//! A [`Line`] that sends one frame to a server and waits for one frame, a clock that SysTick counts, and an executor for one
//! future. Nothing is formatted. What another interrupt would write is hidden from the compiler, or it would leave most of
//! the program away.

#![no_std]

mod client;
mod line;
mod ticks;

use core::pin::pin;
use core::task::{Context, Poll, Waker};

pub use client::{run, run_by, run_under};
pub use line::{Line, Lost};
pub use ticks::Ticks;

/// How many servers there are.
pub const SERVERS: u16 = 16;

/// What is asked of them.
pub const REQUEST: &[u8] = b"the state of a light";

/// Runs one future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        core::hint::spin_loop();
    }
}

/// Waits for ever: what is left to do if a policy cannot be made.
pub fn stop() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}

// For the critical sections that portable-atomic asks for.
#[cfg(any(feature = "limits", not(target_has_atomic = "ptr")))]
use cortex_m as _;

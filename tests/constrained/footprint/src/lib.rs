//! A small client on a bare machine. All programs share this code, so they differ only in hedge, or in the parts of a
//! channel.
//!
//! It has a [`Line`] that sends one frame to a server and waits for one frame, a clock that SysTick counts, and an executor
//! for one future. Nothing is formatted. Values that an interrupt would write are hidden from the compiler, since it would
//! otherwise remove most of the program.

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

/// The request.
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

/// Waits for ever. A program calls it if a policy cannot be made.
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

// It provides the critical sections that portable-atomic needs.
#[cfg(any(feature = "limits", not(target_has_atomic = "ptr")))]
use cortex_m as _;

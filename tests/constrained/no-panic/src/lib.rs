//! A static library of hedge-core: a call over a channel of 16 servers with `rr`, the limits and the adaptive delay, and a
//! channel with any balancer and any breaker, whose list changes.
//!
//! `ci/constrained` builds it with LTO and reads its symbols. None of them may belong to a panic. So these functions, and what
//! they call in hedge-core, its dependencies and `core`, must have no index, no arithmetic and no `unwrap` that the compiler
//! cannot prove safe.

#![cfg_attr(not(test), no_std)]

mod exports;
#[cfg(any(feature = "limits", target_has_atomic = "64", not(target_has_atomic = "ptr")))]
mod fleet;
#[cfg(any(feature = "limits", target_has_atomic = "64", not(target_has_atomic = "ptr")))]
mod limits;
mod sizes;

use hedge_core::balance::RoundRobin;
use hedge_core::call::Call;
use hedge_core::channel::Channel;
use hedge_core::policy::NoPolicy;

/// The channel of the calls: servers with 32-bit addresses and tags of a byte.
pub type Line = Channel<u32, RoundRobin, NoPolicy, u8, 16>;

/// Room for a call.
pub type Place<'a> = Option<Call<'a, &'a Line>>;

/// It is never called: the symbols of a caller would be found.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

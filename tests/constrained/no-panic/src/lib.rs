//! One call from its start to its end as a static library: a channel of 16 servers, picked by `rr`; what limits and a delay
//! that adapts decide; and a channel by any balancer under a breaker, whose list changes.
//!
//! `ci/constrained` builds it with LTO and reads its symbols. None of them may belong to a panic: neither they nor what they
//! reach in hedge-core, its dependencies and `core` may hold an index, an arithmetic or an `unwrap` that the
//! compiler cannot prove safe.

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

/// What the calls belong to: servers by a 32-bit address, told apart by a byte.
pub type Line = Channel<u32, RoundRobin, NoPolicy, u8, 16>;

/// Room for a call.
pub type Place<'a> = Option<Call<'a, &'a Line>>;

/// Never called, or the symbols of whoever calls it would show.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

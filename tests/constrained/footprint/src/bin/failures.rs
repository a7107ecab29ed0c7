//! The client over a channel with `rr`, whose breaker isolates a server after failures in a row.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::health::{ConsecutiveFailures, FailureOptions};
use hedge_footprint::run_under;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let breaker = ConsecutiveFailures::new(FailureOptions::DEFAULT);
    run_under(breaker)
}

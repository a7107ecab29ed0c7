//! The client over a channel with `rr` and brpc's circuit breaker.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::health::{CircuitBreaker, CircuitOptions};
use hedge_footprint::run_under;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let breaker = CircuitBreaker::new(CircuitOptions::DEFAULT);
    run_under(breaker)
}

//! The client with a delay that follows the latencies.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions};
use hedge_footprint::{run, stop};

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let Ok(policy) = AdaptiveDelay::new(AdaptiveOptions::DEFAULT) else { stop() };
    run(policy)
}

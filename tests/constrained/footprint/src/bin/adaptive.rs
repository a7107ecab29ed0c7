//! The client with a delay that follows the latencies.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions};
use hedge_footprint::run;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let policy = AdaptiveDelay::new(AdaptiveOptions::DEFAULT);
    run(policy)
}

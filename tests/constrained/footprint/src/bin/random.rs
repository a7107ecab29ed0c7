//! The client over a channel with random choice.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::balance::RandomChoice;
use hedge_footprint::run_by;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    run_by(RandomChoice)
}

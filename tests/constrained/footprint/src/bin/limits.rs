//! The client with the default limits.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::limit::Limits;
use hedge_footprint::run;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    run(Limits::default())
}

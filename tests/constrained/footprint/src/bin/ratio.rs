//! The client with a ratio limit: backups in proportion to its calls.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_footprint::run;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let policy = RatioLimit::<16>::new(RatioOptions::DEFAULT);
    run(policy)
}

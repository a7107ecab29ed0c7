//! The client over a channel with `p2c`, the better of two random servers.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::balance::p2c::{P2c, P2cOptions};
use hedge_footprint::run_by;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let balancer = P2c::new(P2cOptions::DEFAULT);
    run_by(balancer)
}

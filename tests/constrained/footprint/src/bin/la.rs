//! The client over a channel with `la`, which goes by latency and throughput.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::balance::Fixed;
use hedge_core::balance::la::LocalityAware;
use hedge_footprint::{SERVERS, run_by};

type Room = Fixed<{ SERVERS as usize }>;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    run_by(LocalityAware::<Room>::new(1))
}

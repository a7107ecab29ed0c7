//! The client over a channel with weighted round robin.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::balance::{Fixed, WeightedRoundRobin};
use hedge_footprint::{SERVERS, run_by};

type Room = Fixed<{ SERVERS as usize }>;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    run_by(WeightedRoundRobin::<Room>::new(1))
}

//! The client over a channel with a hash ring of 40 points for each server.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::balance::ring::{Ring, RingHash};
use hedge_core::balance::{Consistent, Fixed};
use hedge_footprint::{SERVERS, run_by, stop};

type Room = Fixed<{ SERVERS as usize }, { 40 * SERVERS as usize }>;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let Ok(ring) = Ring::new(RingHash::Ketama, 40) else { stop() };
    run_by(Consistent::<Room>::new(ring))
}

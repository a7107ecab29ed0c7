//! The client without hedge: one request to one server.

#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use hedge_footprint::{Line, REQUEST, SERVERS, Ticks, block_on};

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    loop {
        let started = Ticks.now();
        let server = black_box(0) % SERVERS;
        let result = block_on(Line.exchange(server, black_box(REQUEST)));
        let _ = black_box((result, Ticks.now().wrapping_sub(started)));
    }
}

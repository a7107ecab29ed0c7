//! The client with tRPC's token bucket.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::limit::{TokenBucket, TokenOptions};
use hedge_footprint::run;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let policy = TokenBucket::new(TokenOptions::TRPC);
    run(policy)
}

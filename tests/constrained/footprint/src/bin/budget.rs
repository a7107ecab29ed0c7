//! The client with a budget for retries and backups.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::limit::{Budget, BudgetOptions};
use hedge_footprint::{run, stop};

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let Ok(policy) = Budget::new(BudgetOptions::DEFAULT) else { stop() };
    run(policy)
}

//! The client with a budget for retries and backups.

#![cfg_attr(target_os = "none", no_std, no_main)]

use hedge_core::limit::{Budget, BudgetOptions};
use hedge_footprint::run;

#[cfg_attr(target_os = "none", cortex_m_rt::entry)]
fn main() -> ! {
    let policy = Budget::new(BudgetOptions::DEFAULT);
    run(policy)
}

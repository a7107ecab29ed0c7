//! Tests of the ways to call (W1). Time is virtual: the test polls the tasks and sets the clock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod board;
mod callbacks;
mod joins;
mod panics;
mod service;
mod table;
#[allow(dead_code, reason = "hedge-fleet's own, not all of which is used here")]
#[path = "../../../fleet/src/testing.rs"]
mod testing;

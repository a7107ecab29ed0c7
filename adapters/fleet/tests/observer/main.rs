//! Tests of the events that observers and loggers get, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod calls;
mod lines;
mod servers;
#[path = "../../src/testing.rs"]
mod testing;
mod world;

//! What observers, subscribers and loggers are told, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod calls;
mod lines;
mod servers;
mod spans;
mod world;

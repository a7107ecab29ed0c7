//! Channels of channels in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod along;
mod cases;
mod down;
mod faulty;
mod parallel;
mod partition;
mod properties;
mod selective;
mod tree;
mod world;

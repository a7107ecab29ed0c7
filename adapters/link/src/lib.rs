//! Connections to one server: what they need from an async runtime, and what they have in common for every protocol.
//!
//! | To | see |
//! |---|---|
//! | bring a runtime | [`Runtime`], which is [`Spawn`](hedge_fleet::Spawn) and [`Connect`] |
//! | look a name up | [`lookup()`] |
//! | refuse a connection to itself | [`refuse_self`] |
//! | give a future a deadline | [`before`] |
//!
//! `hedge-tokio` and `hedge-smol` implement the runtime. `hedge-net` sends HTTP over it.
//!
//! # Contract
//! A connection is used only on the runtime that made it. Dropping the future that makes a connection stops that.
//! Nothing panics on input.
//!
//! # Cost
//! This crate costs nothing of its own, except for [looking names up](lookup()#cost).
#![forbid(unsafe_code)]

mod lookup;
mod runtime;

/// The traits for I/O. They are hyper's.
pub use hyper::rt as io;
pub use lookup::lookup;
pub use runtime::{Connect, Runtime, RuntimeId, before, refuse_self};

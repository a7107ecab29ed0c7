//! Bytes to one server: what connections need of an async runtime, and what they have in common whatever they carry.
//!
//! | To | see |
//! |---|---|
//! | bring a runtime | [`Runtime`], which is [`Spawn`](hedge_fleet::Spawn) and [`Connect`] |
//! | look a name up | [`lookup()`] |
//! | tell a server from oneself | [`refuse_self`] |
//! | bound a step by a deadline | [`before`] |
//!
//! `hedge-tokio` and `hedge-smol` are runtimes; `hedge-net` sends HTTP over them.
//!
//! # Contract
//! A connection is used on the runtime that made it, and on no other. Dropping the future of a connection that is being made
//! ends that. Nothing panics on input.
//!
//! # Cost
//! None of its own, but for [looking names up](lookup()#cost).
#![forbid(unsafe_code)]

mod lookup;
mod runtime;

/// The traits of I/O, which are hyper's.
pub use hyper::rt as io;
pub use lookup::lookup;
pub use runtime::{Connect, Runtime, RuntimeId, before, refuse_self};

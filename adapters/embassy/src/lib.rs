#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

// This module comes first, since the others use its macros.
mod fmt;

mod attempt_limit;
mod channel;
mod clock;
mod error;
mod http;
mod parts;
mod reply;
mod request;
mod resources;
mod response;
mod runner;
mod shared;
mod slots;
#[cfg(feature = "embassy-net")]
mod sockets;

pub use attempt_limit::AttemptLimit;
pub use channel::Channel;
pub use clock::Clock;
pub use error::Error;
pub use hedge_core;
pub use parts::{Choice, Parts};
pub use reply::{CallError, CallResult, Reply};
pub use request::Request;
pub use resources::{Memory, Resources};
pub use response::{HttpRetryPolicy, Response};
pub use runner::Runner;
#[cfg(feature = "embassy-net")]
pub use sockets::{Connection, SocketBuffers, SocketError, Sockets};

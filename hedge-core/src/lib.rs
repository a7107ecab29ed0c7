#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod atomic;
pub mod balance;
pub mod call;
pub mod channel;
pub mod cluster;
#[cfg(feature = "async")]
pub mod drive;
pub mod health;
pub mod latency;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub mod limit;
pub mod policy;
pub mod time;
#[cfg(any(target_has_atomic = "64", feature = "portable-atomic"))]
pub mod window;

// An empty module that carries the text. It is not `cfg(doc)`, since docs of other crates show items of this one, and their
// links lead here.
#[doc = include_str!("../RULES.md")]
pub mod rules {}

//! Channels of channels, and ways to call, over any [`Caller`](hedge_fleet::Caller).
#![forbid(unsafe_code)]

mod faults;
mod sync;
mod ways;

pub use faults::{FaultOptions, Faults};
pub use ways::{Ended, Handle, HandleId, JoinError, PreparedCall, Started, WayError, Ways, join_all};

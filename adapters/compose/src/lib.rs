//! Channels of channels, and ways to call, over any [`Caller`](hedge_fleet::Caller).
//!
//! | To | see |
//! |---|---|
//! | call one of several clusters, with retries and backups between them | [`Selective`] |
//! | call several channels at once, and join the replies | [`Parallel`], [`Mapper`], [`Merger`] |
//! | call all partitions of one name | [`Partition`], [`DynamicPartition`] |
//! | read what every sub-call did | [`Outcome::tree`](hedge_fleet::Outcome::tree) |
//! | hold channels of several types in one | [`BoxCaller`](hedge_fleet::BoxCaller) |
//!
//! A channel of channels makes one call of the core for each of its own calls. For a [`Selective`], each sub-channel is
//! a server in the sense of hedge-fleet. For a [`Parallel`], all parts together are one attempt, and they run in one
//! future. So deadlines, cancels, limits, counts and reports are the same as in every other channel.
//!
//! # Contract
//! A call ends exactly once at every level. Nothing starts at or after the deadline of the call at the top. Dropping the
//! future of a call drops all of its sub-calls, and every count returns to zero. At each level, the attempts of a call
//! are bounded by its `max_retry`, so the attempts at the bottom are bounded by the product over the levels.
//!
//! A channel of channels starts no task, and it does not poll in a loop. Only [`Ways`] starts tasks. Code of the
//! program may panic: if `has_usable_server` panics, the sub-channel has no usable server, and a panic of a mapper, a
//! merger or a sub-channel reaches the caller. All counts are correct then.
#![forbid(unsafe_code)]

mod build_error;
mod faults;
mod judge;
mod machine;
mod options;
mod parallel;
mod partition;
mod selective;
mod sync;
mod ways;

pub use build_error::BuildError;
pub use faults::{FaultOptions, Faults};
pub use judge::OutcomePolicy;
pub use parallel::{
    BoxError, Collect, Concat, First, MapFn, Mapped, Mapper, Merger, Parallel, ParallelBuilder, ParallelCause,
    ParallelError, ParallelReply, Part, PartResult, Parts, Unmapped, Unmerged,
};
#[cfg(feature = "json")]
pub use parallel::{JsonArrays, JsonError, JsonObjects};
pub use partition::{DynamicPartition, PartList, Partition, PartitionGroup, PartitionStatus, PartitionWarning};
pub use selective::{Selective, SelectiveBuilder, SelectiveError, SelectiveReply};
pub use ways::{Ended, Handle, HandleId, JoinError, PreparedCall, Started, WayError, Ways, join_all};

pub use hedge_core;
pub use hedge_fleet;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

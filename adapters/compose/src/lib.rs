//! Channels of channels, and ways to call, over any [`Caller`](hedge_fleet::Caller).
#![forbid(unsafe_code)]

mod build_error;
mod judge;
mod machine;
mod options;
mod parallel;
mod partition;
mod selective;

pub use build_error::BuildError;
pub use judge::OutcomePolicy;
pub use parallel::{
    BoxError, Collect, Concat, First, MapFn, Mapped, Mapper, Merger, Parallel, ParallelBuilder, ParallelCause,
    ParallelError, ParallelReply, Part, PartResult, Parts, Unmapped, Unmerged,
};
#[cfg(feature = "json")]
pub use parallel::{JsonArrays, JsonError, JsonObjects};
pub use partition::{DynamicPartition, PartList, Partition, PartitionGroup, PartitionStatus, PartitionWarning};
pub use selective::{Selective, SelectiveBuilder, SelectiveError, SelectiveReply};

pub use hedge_core;
pub use hedge_fleet;

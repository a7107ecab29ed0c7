//! Channels of channels, and ways to call, over any [`Caller`](hedge_fleet::Caller).
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

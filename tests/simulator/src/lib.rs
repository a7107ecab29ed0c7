//! A simulator: the real core, calls and channel and all, against seeded models of servers, in virtual time.
//!
//! [`World`] jumps from event to event; nothing waits and no clock is read, so a million calls take seconds and two runs
//! from one seed make the same decisions to the byte. While it runs, [`Watch`] holds every call to what the core promises;
//! the first broken promise ends the run with an error that says what, when and in which call. [`storm`] makes worlds at
//! random and counts what happened in them.
//!
//! [`Fleet`] measures instead: requests that may read many keys each, millions of calls, and how long they took. [`tail`]
//! and [`redundancy`] repeat two results from the literature. [`tied`] repeats a third one, with the queue of
//! hedge-tower. [`balancers`] tries every balancer on fleets that are uneven or have faults. [`subsets`] has large
//! fleets whose clients use some of the servers.

#![allow(clippy::indexing_slicing, reason = "the indices are made here, and a wrong one is a bug to hear of")]

pub mod balancers;
mod fleet;
mod line;
mod model;
pub mod outage;
pub mod redundancy;
pub mod storm;
pub mod subsets;
pub mod tail;
pub mod tied;
mod watch;
mod world;

pub use fleet::{Fleet, FleetOf, Load, Measured, SERVERS};
pub use line::{Change, Line, SimPolicy};
pub use model::{Faults, Latency, ServerModel};
pub use watch::{Broken, Watch};
pub use world::{CallPlan, Log, Outcome, World};

/// How many attempts a simulated call holds.
pub const ATTEMPTS: usize = 8;

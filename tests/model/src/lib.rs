//! The life of one call against a second implementation of its rules.
//!
//! The model is plain and slow: vectors, one field for each thing that the rules speak of, no code of the core but the types
//! of options and results. It was written from hedge-core's `RULES.md` and not from the core's state machine, so that a
//! mistake in one of them is not also in the other. A [`script`] says what happens to a call: options, servers, what becomes
//! of each attempt, what policies answer, when the caller cancels, how late the driver's timer is. [`generate`] draws scripts
//! from a seed, [`play`] plays one before either implementation, and [`compare`] holds what they tell against each other:
//! each answer to a poll with its instant, what the host and its balancer are told, what policies are asked and told, and
//! the report. Times are small multiples of 5 ms, so that much happens at one instant.
//!
//! Where the rules leave room, or the core does not do what they say, the model has a named constant in `model/readings.rs`
//! that says so.

pub mod compare;
pub mod generate;
mod model;
pub mod play;
mod real;
pub mod script;
mod shrink;
mod words;

//! A fleet of servers on hosts: what `hedge-net` and `hedge-tower` have in common. No I/O, and no runtime.
//!
//! `hedge-core` decides and knows neither heap nor threads; this crate brings what hosts have of those: a list of servers that
//! may change at any time, the health of each, and one way to run a call. It is for authors of adapters; programs use one of
//! those, which re-export what they need.
//!
//! | To | see |
//! |---|---|
//! | name servers | [`Server`], [`Address`], [`parse_servers`] |
//! | keep a list of servers that changes while calls look at it | [`Servers`], [`Node`], [`ListUpdate`] |
//! | take options, limits, balancer and breaker from a program | [`Setup`] and its [`setters!`] |
//! | run a call | [`run!`], over a [`CallHost`] |
//! | set what one call does | [`CallOptions`], [`CancelToken`] |
//! | tell what happened | [`Trace`], [`Report`] |
//!
//! # Contract
//! A call ends exactly once; dropping its future abandons its attempts at once and settles every count. Everything here may
//! be shared by threads. Nothing panics on input, and a lock that a panic poisoned goes on being used. A policy of the program's
//! that panics has no delay to give, refuses, or was told nothing, and its call goes on; other code of the program's is run for
//! its caller, who sees the panic: every count is settled then, and the list is what it was.
//!
//! An id of a server does not recur as long as anything holds the server (L20).
//!
//! # Cost
//! A call takes no lock and allocates nothing, unless it may send more than one backup. Its future has room for two attempts. A
//! list is copied when it changes.
#![forbid(unsafe_code)]

mod address;
mod caught;
mod host;
mod ids;
mod list;
mod node;
mod options;
mod run;
mod server;
mod servers;
mod settings;
mod setup;
mod snapshot;
mod spawn;
mod trace;

pub use hedge_core;

pub use address::{Address, AddressError};
pub use caught::{Guarded, caught, caught_in};
pub use host::{CallHost, Home, Tried, find};
pub use list::{Filter, ListError, ListUpdate, MAX_SERVERS, Refusal};
pub use node::{Lease, Node, OwnAddress, Service};
pub use options::{BodyMode, CallOptions, CancelToken};
pub use run::{Asked, CallContext};
pub use server::{NameError, Named, Server, parse_servers};
pub use servers::{Changed, Place, Servers};
pub use settings::{Settings, SharedPolicy};
pub use setup::Setup;
pub use snapshot::{List, Snapshot, View, WriteAddress};
pub use spawn::Spawn;
pub use trace::Trace;

/// How many attempts a call holds, the first included: `max_retry` is at most one less.
pub const MAX_ATTEMPTS: usize = 8;

/// How many attempts of a call may be in flight at once, gRPC's maximum: `max_backups` is at most one less.
pub const MAX_IN_FLIGHT: usize = 5;

/// What happened in a call.
pub type Report = hedge_core::call::Report<MAX_ATTEMPTS>;

/// What chooses among servers.
pub type Balancer = hedge_core::balance::AnyBalancer<hedge_core::balance::Heap>;

/// What isolates servers, and lets calls in after all were down.
pub type Breaker = hedge_core::health::Recovering<hedge_core::health::AnyBreaker>;

/// What [`run!`] names.
#[doc(hidden)]
pub mod __private {
    pub use hedge_core::call::Call;
    pub use hedge_core::drive::{Driver, Timer, drive};
    pub use hedge_core::policy::Idempotency;
    pub use std::pin::pin;
}

//! What `hedge-net` and `hedge-tower` have in common: a fleet of servers, for programs with `std`. This crate does no
//! I/O and needs no runtime.
//!
//! `hedge-core` makes the decisions and uses neither heap nor threads. This crate adds what needs them: a list of
//! servers that may change at any time, the health of each server, and one way to run a call. It is for authors of
//! adapters. Programs use an adapter, which re-exports what they need.
//!
//! | To | see |
//! |---|---|
//! | name servers | [`Server`], [`Address`], [`parse_servers`], [`Schemes`] |
//! | follow a source of servers | [`Naming`], [`Update`], [`Follower`] |
//! | keep a list of servers that changes while calls use it | [`Servers`], [`Node`], [`ListUpdate`] |
//! | take options, limits, balancer and breaker from a program | [`Setup`] and its [`setters!`] |
//! | look a protocol up | [`Protocol`], [`ConnectionType`] |
//! | run a call | [`run!`], over a [`CallHost`] |
//! | replace the options while calls run | [`ReplaceableOptions`], [`Settings::replace_with`] |
//! | set what one call does | [`CallOptions`], [`CancelToken`] |
//! | make calls through one interface, or hold several callers | [`Caller`], [`BoxCaller`], [`Outcome`] |
//! | run tasks | [`Spawn`] |
//! | show the state of a channel | [`Inspect`], [`ChannelInfo`] |
//! | report what happened | [`Trace`], [`CallEnd`], [`Report`] |
//! | tell what happens, and count it | [`Observer`], [`Observers`], [`Counters`] |
//!
//! # Contract
//! A call ends exactly once. Dropping its future abandons its attempts at once and settles every count. Everything here
//! may be shared between threads. Nothing panics on input. A lock that a panic poisoned stays in use.
//!
//! The program's own code may panic. If a backup policy panics, its call goes on: the policy gives no delay, refuses,
//! or misses a notice, depending on the method that panicked. A panic in `on_end` or of an observer harms no call. A panic in other code of the program reaches the caller.
//! Every count is settled then, and the list is unchanged.
//!
//! The id of a server is not used again as long as anything holds the server ([L20](hedge_core::rules#L20)).
//!
//! # Cost
//! A call takes no lock. It allocates only if it may send more than one backup, or if it tries a third server. Its
//! future has room for two attempts. A list is copied when it changes.
#![forbid(unsafe_code)]

mod address;
mod caller;
mod cap;
mod caught;
#[cfg(feature = "serde")]
mod config;
mod counters;
mod end;
mod host;
mod ids;
mod in_force;
mod inspect;
mod list;
mod naming;
mod node;
mod observer;
mod options;
mod protocols;
mod queue;
mod replace;
mod run;
mod server;
mod servers;
mod settings;
mod setup;
mod slow_start;
mod snapshot;
mod spawn;
#[cfg(test)]
mod testing;
mod trace;
mod tried;
mod watch;

pub use hedge_core;

pub use address::{Address, AddressError};
pub use caller::{BoxCaller, Caller, Outcome};
pub use caught::{Guarded, caught, caught_in};
pub use counters::Counters;
pub use end::{CallEnd, Keys, OnEnd};
pub use host::{CallHost, ChannelContext};
pub use in_force::HeldOptions;
pub use inspect::{ChannelInfo, Inspect, LatencyInfo, ServerInfo, ServerState};
pub use list::{Filter, ListError, ListUpdate, MAX_SERVERS, RefusedServer};
pub use naming::{
    BoxNaming, Follower, LineError, NameError, Named, Naming, NamingError, NamingErrorKind, News, SchemeError, Schemes,
    Update, parse_lines, parse_servers,
};
pub use node::{Lease, Node, OwnAddress, Service};
pub use observer::{
    AttemptEnded, AttemptStarted, CallId, CheckEnded, CheckOutcome, CheckStep, Observer, Observers, ServerChange,
    ServerRef,
};
pub use options::{BodyMode, CallOptions, CancelToken};
pub use protocols::{ConnectionType, Protocol, ProtocolError};
pub use replace::{OptionsError, ReplaceableOptions};
pub use run::{AsCallOptions, CallContext};
pub use server::Server;
pub use servers::{Changed, HealthChange, ListEntry, Servers};
pub use settings::{Settings, SharedPolicy};
pub use setup::Setup;
pub use snapshot::{List, Snapshot, View, WriteAddress};
pub use spawn::Spawn;
pub use trace::Trace;
pub use tried::TriedServers;

/// How many attempts a call can make, the first included. `max_retry` is at most one less.
pub const MAX_ATTEMPTS: usize = 8;

/// How many attempts of a call may be in flight at once: gRPC's maximum. `max_backups` is at most one less.
pub const MAX_IN_FLIGHT: usize = 5;

/// The report of a call: what happened in it.
pub type Report = hedge_core::call::Report<MAX_ATTEMPTS>;

/// The balancer, which chooses a server for each attempt.
pub type Balancer = hedge_core::balance::AnyBalancer<hedge_core::balance::Heap>;

/// The circuit breaker, which isolates servers, and the recovery, which admits calls after all servers were down.
pub type Breaker = hedge_core::health::Recovering<hedge_core::health::AnyBreaker>;

/// The names that [`run!`] uses.
#[doc(hidden)]
pub mod __private {
    pub use crate::watch::{CallWatch, InSpan};
    pub use hedge_core::call::Call;
    pub use hedge_core::drive::{AttemptInfo, Driver, Timer, drive};
    pub use hedge_core::policy::Idempotency;
    pub use std::pin::pin;
}

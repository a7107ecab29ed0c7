//! The code that `hedge-net` and `hedge-tower` share: a fleet of servers, for programs with `std`. This crate does no
//! I/O and needs no runtime.
//!
//! `hedge-core` makes the decisions and uses neither heap nor threads. This crate adds the parts that need the heap and
//! threads: a list of servers that may change at any time, the health of each server, and one way to run a call. This
//! crate is for authors of adapters. A program uses an adapter, which re-exports the types that a program needs.
//!
//! | To | see |
//! |---|---|
//! | name servers | [`Server`], [`Address`], [`parse_servers`], [`Schemes`] |
//! | follow a source of servers | [`Naming`], [`Update`], [`Follower`] |
//! | keep a list of servers that changes while calls use it | [`Servers`], [`Node`], [`ListUpdate`] |
//! | let a program set options, limits, balancer and breaker | [`Setup`] and its [`setters!`] |
//! | look a protocol up | [`Protocol`], [`ConnectionType`] |
//! | run a call | [`run!`], over a [`CallHost`] |
//! | replace the options while calls run | [`ReplaceableOptions`], [`Settings::replace_with`] |
//! | set what one call does | [`CallOptions`], [`CancelToken`] |
//! | make calls through one interface, or hold several callers | [`Caller`], [`BoxCaller`], [`Outcome`] |
//! | change, answer or refuse calls | [`Interceptor`], [`Interceptors`]; hosts run them with [`InterceptedCall`] |
//! | run tasks | [`Spawn`] |
//! | show the state of a channel | [`Inspect`], [`ChannelInfo`] |
//! | report how a call ended | [`Trace`], [`CallEnd`], [`Report`]; for combined calls [`CallTree`] |
//! | notify a program of events, and count them | [`Observer`], [`Observers`], [`Counters`] |
//!
//! # Contract
//! A call ends exactly once. Dropping the future of a call abandons its attempts at once and corrects every count.
//! [`Servers`], [`Settings`] and [`Observers`] can be used by several threads at once. No input makes this crate panic.
//! If a panic has poisoned a lock, the lock is still used.
//!
//! Code of the program may panic. If a backup policy panics, its call continues: after a panic in `delay` the policy
//! gives no delay of its own, a panic in `may_back_up` or `may_retry` is a refusal, and a panic in another method is
//! ignored. A panic in `on_end` or in an observer is ignored. If an interceptor panics before a call or an attempt,
//! that call or attempt is refused. A panic of an interceptor after a call or an attempt is ignored. A panic in other
//! code of the program, for example in a filter, reaches the caller. All counts are correct then, and the list of
//! servers is unchanged.
//!
//! While anything still holds a server, for example a call or a report, the id of this server is not given to another
//! server ([L20](hedge_core::rules#L20)).
//!
//! # Cost
//! Without observers, without interceptors and without a cap on attempts in flight, a call takes no lock. In this case
//! it allocates only if it may send more than one backup, or if it tries a third server. The future of a call has room
//! for two attempts. A list of servers is copied when it changes.
#![forbid(unsafe_code)]

mod address;
mod along;
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
mod interceptor;
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
#[cfg(test)]
mod testing_calls;
mod trace;
mod tree;
mod tried;
mod watch;

pub use hedge_core;

// `testing.rs` names this crate in the same way as the tests in `tests/observer` and `tests/spans.rs`, which use the same
// file.
#[cfg(test)]
extern crate self as hedge_fleet;

pub use address::{Address, AddressError};
pub use along::{AlongOptions, RequestId, RequestIdError, random_key};
pub use caller::{BoxCaller, Caller, Outcome};
pub use caught::{Guarded, caught, caught_in};
pub use counters::Counters;
pub use end::{CallEnd, Keys, OnEnd};
pub use host::{CallHost, ChannelContext};
pub use in_force::HeldOptions;
pub use inspect::{ChannelInfo, Inspect, LatencyInfo, ServerInfo, ServerState};
pub use interceptor::{
    AfterAttempt, AfterCall, BeforeAttempt, BeforeCall, BoxInterceptor, CallOutcome, Flow, InterceptedAttempt,
    InterceptedCall, Interceptor, InterceptorPanicked, Interceptors, Refusal,
};
pub use list::{Filter, ListError, ListUpdate, RefusedServer, StrictListError};
pub use naming::{
    BoxNaming, Follower, LineError, NameError, Naming, NamingError, NamingErrorKind, News, ParsedName, SchemeError,
    Schemes, Update, parse_lines, parse_servers, shown,
};
pub use node::{AnyLease, Lease, Node, OwnAddress, Service};
pub use observer::{
    AttemptEnded, AttemptStarted, CallId, CheckEnded, CheckOutcome, CheckStep, Observer, Observers, ServerChange,
    ServerRef,
};
pub use options::{BodyMode, CallOptions, CancelToken};
pub use protocols::{ConnectionType, Protocol, ProtocolError};
pub use replace::ReplaceableOptions;
pub use run::{AsCallOptions, CallContext};
pub use server::{MAX_SERVERS, Server};
pub use servers::{Changed, HealthChange, ListEntry, Servers};
pub use settings::{Settings, SharedPolicy};
pub use setup::Setup;
pub use snapshot::{List, Snapshot, View, WriteAddress};
pub use spawn::Spawn;
pub use trace::Trace;
pub use tree::{CallTree, SubCall, SubEnd};
pub use tried::TriedServers;

/// The maximum number of attempts of a call, including the first. So `max_retry` is at most 7.
pub const MAX_ATTEMPTS: usize = 8;

/// The maximum number of attempts of a call that are in flight at once, as in gRPC. So `max_backups` is at most 4.
pub const MAX_IN_FLIGHT: usize = 5;

/// The report of a call: its attempts, and how it ended.
pub type Report = hedge_core::call::Report<MAX_ATTEMPTS>;

/// The type of the balancer, which chooses a server for each attempt.
pub type Balancer = hedge_core::balance::AnyBalancer<hedge_core::balance::Heap>;

/// The type of the circuit breaker, which isolates servers that fail. It also contains the recovery, which admits only
/// a share of the calls after all servers were down.
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

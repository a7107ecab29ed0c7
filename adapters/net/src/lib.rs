//! Hedged calls for hosts: channel, HTTP/1.1 transport and connection pools, generic over a runtime.
//!
//! A [`Channel`] is a line to a cluster of servers. Its decisions are `hedge-core`'s; this crate brings what they act on:
//! the list of servers, connections, and one driver future a call. It knows no runtime: `hedge-tokio` and `hedge-smol`
//! bring one each, and most programs use one of those.
//!
//! | To | see |
//! |---|---|
//! | make a channel | [`Builder`] |
//! | make a call in one line | [`Channel::get`] and its like, [`http::RequestBuilder`] |
//! | make a call of any request | [`Channel::call`], [`Channel::call_with`] and [`CallOptions`] |
//! | read what came of it | [`Reply`], [`http::SendError`], [`CallError`], [`Report`] |
//! | set what calls may do | [`Builder::options`], [`Builder::limits`], or `Builder::config` from a file (feature `serde`) |
//! | choose how servers are chosen | [`Builder::load_balancer`], [`hash`] for request codes |
//! | have backups follow the latencies, or only counted | [`AdaptiveDelay`], [`Shadow`], by [`Builder::backup_policy`] |
//! | see how long calls take | [`Channel::latencies`], [`latency`] |
//! | change the servers | [`Channel::set_servers`], [`Builder::filter`] |
//! | have servers that are down checked | [`Builder::health_checks`], [`Channel::set_check_interval`] |
//! | isolate servers that fail | [`Builder::circuit_breaker`], [`Builder::recovery`] |
//! | send HTTP | [`http`] |
//! | bring a transport | [`SendTransport`] and [`Channel::with_transport`] |
//! | bring a runtime | [`Runtime`] |
//!
//! # Contract
//! A call ends exactly once; dropping its future abandons its attempts at once and settles every count. Everything here
//! may be shared by threads. Nothing panics on input; a lock that a panic poisoned goes on being used.
//!
//! Code of the program's own may panic, where panics unwind. A health check that does so has failed, a probe has no answer;
//! a backup policy has no delay to give, refuses, or was told nothing, and its call goes on. A request's body, or its factory,
//! is an error of its call. A retry policy, a transport or a filter is run by a call, or by the change of a list, for its
//! caller, who sees the panic: every count is settled then, and the list is what it was.
#![forbid(unsafe_code)]

mod builder;
mod channel;
mod check;
mod checks;
mod error;
mod fleet;
mod ground;
pub mod http;
mod outage;
mod own;
mod probe;
mod reply;
mod stream;

pub use builder::{BuildError, Builder};
pub use channel::{CallResult, Channel};
pub use error::{CallError, LastFailure};
pub use hedge_core::balance::prequal::ServerLoad;
pub use hedge_core::balance::{ArrangeError, BalancerError, ProbeAnswer, WeightError, hash};
pub use hedge_core::call::Report;
#[cfg(feature = "serde")]
pub use hedge_core::config::{ChannelConfig, service_config};
pub use hedge_core::config::{Warning, Warnings};
pub use hedge_core::drive::{AttemptInfo, SendTransport, Timer};
pub use hedge_core::health::{
    BreakerOptions, CheckOptions, CircuitOptions, FailureOptions, HealthError, IsolationLimit, IsolationOptions,
    RecoveryOptions, WindowOptions,
};
pub use hedge_core::id::AttemptId;
pub use hedge_core::latency;
pub use hedge_core::limit::{BudgetOptions, LimitOptions, RatioMode, RatioOptions, TokenOptions};
pub use hedge_core::outcome::{
    Attempt, Code, Denial, End, ErrorKind, Extra, Judgement, Kind, NotHedged, Pushback, State, Verdict,
};
pub use hedge_core::policy::{
    AdaptiveDelay, AdaptiveError, AdaptiveOptions, AttemptError, Backoff, BackupDelay, BackupPolicy, CallKind,
    ChannelOptions, ConfigError, FailMode, Idempotency, LimitError, OnEarlyFailure, RetryPolicy, RetryTarget, Shadow,
    ShadowCount, Target,
};
pub use hedge_core::time::Timeout;
pub use hedge_fleet::Spawn;
pub use hedge_fleet::{
    Address, AddressError, BodyMode, CallOptions, CancelToken, ListError, ListUpdate, MAX_ATTEMPTS, NameError, Refusal,
    Server, Trace, parse_servers,
};
pub use hedge_link::{Connect, Runtime, RuntimeId, lookup, refuse_self};
pub use reply::Reply;

/// The README's own code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

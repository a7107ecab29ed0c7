//! Hedged calls on tokio: requests to a fleet of servers, with retries, backups and load balancing.
//!
//! `builder` makes a `Channel` over HTTP, and a call is one line: `channel.get("/users/7").await?`. What most programs need
//! is at the root of this crate; all of `hedge_net` and [`hedge_core`] is in it too, so that it is the only dependency. Without
//! the feature `channel`, which is on by default, this is [`Tokio`] alone, a timer and tasks, as `hedge-tower` needs them: no HTTP
//! then.
//!
#![cfg_attr(feature = "channel", doc = "```")]
#![cfg_attr(not(feature = "channel"), doc = "```ignore")]
//! use std::time::Duration;
//! # use std::io::{Read, Write};
//! # fn server() -> std::net::SocketAddr {
//! #     let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
//! #     let address = listener.local_addr().unwrap();
//! #     std::thread::spawn(move || for stream in listener.incoming() {
//! #         let mut stream = stream.unwrap();
//! #         stream.read(&mut [0; 1024]).unwrap();
//! #         stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
//! #     });
//! #     address
//! # }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! # let (one, two) = (server(), server());
//! // In a program: "list://10.0.0.1:8001,10.0.0.2:8001".
//! let channel = hedge_tokio::builder(format!("list://{one},{two}"))
//!     .load_balancer("rr")
//!     .timeout(Duration::from_secs(2))
//!     .backup(Duration::from_millis(20))
//!     // One line a call in the log, and which server's reply it was.
//!     .on_end(|call| println!("{}, from {:?}", call.report(), call.winner_server()))
//!     .build()?;
//!
//! let reply = channel.get("/users/7").await?;
//! println!("{} from {} by attempt {:?}", reply.status(), reply.answered_by(), reply.report().winner());
//! assert_eq!(reply.text()?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Calls and streaming bodies must be polled within a tokio runtime that has its I/O and time enabled. A channel may be
//! made anywhere, and serve several runtimes; a connection lives on the one that made it, and serves calls there.
//!
//! # JSON
//!
//! With the feature `json`, bodies are values of any type that serde knows:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! /// What is wrong with the request, the call, the status or the body is an error that says so.
//! async fn add(channel: &hedge_tokio::Channel, user: &User) -> Result<User, Box<dyn std::error::Error + Send + Sync>> {
//!     let reply = channel.post("/users").json(user).await?.error_for_status()?;
//!     Ok(reply.json()?)
//! }
//! ```
//!
//! [`http::RequestBuilder`] says what else a line can set, and what is an error.
//!
//! # A channel from a file
//!
//! With the feature `serde`, a channel is read from any format that serde knows: its servers, how they are chosen and checked,
//! options and limits, connections, TLS, and the options of sources. `ChannelFile` and `ChannelConfig` list all fields.
//! Setters that follow `channel_file` change single settings. `Channel::set_channel_file` applies a changed file to a
//! channel that runs:
//!
#![cfg_attr(feature = "channel", doc = "```")]
#![cfg_attr(not(feature = "channel"), doc = "```ignore")]
//! let text = r#"{"servers": ["10.0.0.1:8001", "10.0.0.2:8001"], "load_balancer": "p2c", "timeout": "200ms", "backup": "10ms"}"#;
//! let config: hedge_tokio::ChannelFile = serde_json::from_str(text)?;
//! let channel = hedge_tokio::builder("").channel_file(&config).name("users").build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A delay that follows the latencies
//!
#![cfg_attr(feature = "channel", doc = "```")]
#![cfg_attr(not(feature = "channel"), doc = "```ignore")]
//! use std::sync::Arc;
//! use hedge_tokio::hedge_core::latency::Quantile;
//! use hedge_tokio::{AdaptiveDelay, AdaptiveOptions};
//!
//! let adaptive = Arc::new(AdaptiveDelay::new(AdaptiveOptions::DEFAULT));
//! let channel = hedge_tokio::builder("list://10.0.0.1:8001,10.0.0.2:8001")
//!     .load_balancer("rr")
//!     .backup_policy(adaptive.clone())
//!     .build()?;
//! // Later: how long the calls took, and the attempts, which is what the delay follows.
//! let (calls, attempts) = (channel.latencies(), adaptive.latencies().snapshot(channel.now()));
//! assert_eq!((calls.count(), attempts.quantile(Quantile::P95)), (0, None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Other ways to call
//!
//! With the feature `blocking`, the module `blocking` makes calls that a thread waits for, that have a callback, or that
//! are started and joined later.
//!
//! # Transports
//!
//! A transport of your own takes `hedge_net::Channel::with_transport(Tokio::new(), transport, servers)`. Its traits are in
//! `hedge_net`. `Builder::wrap` puts one around the transport of HTTP.
#![forbid(unsafe_code)]

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "channel")]
mod channel;
mod context;
#[cfg(feature = "channel")]
mod io;

use std::future::Future;
use std::pin::Pin;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::Spawn;
use tokio::runtime::Handle;
use tokio::time::Sleep;

#[cfg(feature = "grpc")]
pub use channel::GrpcChannel;
#[cfg(feature = "channel")]
pub use channel::{Builder, Channel, Http, builder};
pub use hedge_core;
#[cfg(feature = "channel")]
pub use hedge_net;
#[cfg(feature = "grpc")]
pub use hedge_net::grpc;
#[cfg(feature = "channel")]
pub use hedge_net::http::SendError;
#[cfg(feature = "channel")]
pub use hedge_net::{
    AdaptiveDelay, AdaptiveOptions, Address, AlongOptions, AttemptEnded, AttemptStarted, BodyMode, Bounded,
    BoundedSpan, BreakerOptions, BudgetOptions, BuildError, CallEnd, CallError, CallId, CallOptions, CancelToken,
    CheckEnded, ConfigError, ConnectionType, Counters, Decimal, Denial, FailureOptions, Idempotency, IdempotencyKey,
    Judgement, Kind, LimitOptions, NotHedged, Observer, Protocol, Ratio, RatioOptions, ReplaceableOptions, Reply,
    Report, RetryPolicy, Server, ServerChange, ServerRef, Trace, Verdict, hash, http, parse_servers,
};
#[cfg(feature = "channel")]
pub use hedge_net::{
    AfterAttempt, AfterCall, BeforeAttempt, BeforeCall, BoxInterceptor, CallOutcome, Flow, Interceptor, Interceptors,
    Refusal,
};
#[cfg(feature = "channel")]
pub use hedge_net::{BoxNaming, ChannelInfo, Inspect, Naming, NamingError, NamingErrorKind, Schemes, Update};
#[cfg(feature = "channel")]
pub use hedge_net::{BoxResolve, ConnectError, ConnectionInfo, Resolve, SocketOptions};
#[cfg(feature = "serde")]
pub use hedge_net::{ChannelConfig, ChannelFile};
// The two features are named here, because the compiler names them to a program that lacks them.
#[cfg(any(feature = "tls", feature = "tls-aws-lc"))]
pub use hedge_net::{Tls, TlsName};
#[cfg(feature = "channel")]
pub use io::Io;

/// The tokio runtime; its clock counts from when this was made, and stands still where tokio's is paused.
#[derive(Clone, Copy, Debug)]
pub struct Tokio {
    epoch: tokio::time::Instant,
}

/// tokio keeps no instant that the operating system's clock cannot hold: what is later is this much later.
const FAR: std::time::Duration = std::time::Duration::from_secs(30 * 365 * 24 * 3600);

impl Tokio {
    /// The runtime, its clock starting now. Needs no running runtime.
    #[must_use]
    pub fn new() -> Self {
        Self { epoch: tokio::time::Instant::now() }
    }

    fn at(&self, at: Instant) -> tokio::time::Instant {
        let since = at.since(Instant::ZERO);
        self.epoch.checked_add(since).unwrap_or_else(|| tokio::time::Instant::now() + FAR)
    }
}

impl Default for Tokio {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for Tokio {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_elapsed(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        tokio::time::sleep_until(self.at(at))
    }

    fn reset(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        sleep.reset(self.at(at));
    }
}

impl Spawn for Tokio {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn try_spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        runtime.spawn(task);
        true
    }

    /// False in a task of tokio and in its `block_on`. True on threads outside of a runtime, in `spawn_blocking`, and in
    /// `block_in_place`. A task that tokio runs as `unconstrained` cannot be told from these, so this is true there too.
    fn may_block() -> bool {
        context::may_block()
    }
}

/// The README's own code, compiled.
#[cfg(all(doctest, feature = "json"))]
#[doc = include_str!("../README.md")]
mod readme {}

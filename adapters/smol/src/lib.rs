//! Hedged calls on smol: requests to a fleet of servers, with retries, backups and load balancing.
//!
//! `builder` makes a `Channel` over HTTP, and a call is one line: `channel.get("/users/7").await?`. What most programs need
//! is at the root of this crate; all of `hedge_net` and [`hedge_core`] is in it too, so that it is the only dependency. Without
//! the feature `channel`, which is on by default, this is [`Smol`] alone, a timer and tasks, as `hedge-tower` needs them: no HTTP
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
//! # smol::block_on(async {
//! # let (one, two) = (server(), server());
//! // In a program: "list://10.0.0.1:8001,10.0.0.2:8001".
//! let channel = hedge_smol::builder(format!("list://{one},{two}"))
//!     .load_balancer("rr")
//!     .timeout(Duration::from_secs(2))
//!     .backup(Duration::from_millis(20))
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
//! Calls run on any executor; connections are tasks of smol's global one.
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
//! async fn add(channel: &hedge_smol::Channel, user: &User) -> Result<User, Box<dyn std::error::Error + Send + Sync>> {
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
//! let config: hedge_smol::ChannelFile = serde_json::from_str(text)?;
//! let channel = hedge_smol::builder("").channel_file(&config).name("users").build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Without an async runtime
//!
//! With the feature `blocking`, the module `blocking` makes calls from plain threads: blocking, by callback, or started
//! and joined later. A thread of hedge drives them.
//!
//! # Transports
//!
//! A transport of your own takes `hedge_net::Channel::with_transport(Smol::new(), transport, servers)`. Its traits are in
//! `hedge_net`. `Builder::wrap` puts one around the transport of HTTP.
#![forbid(unsafe_code)]

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "channel")]
mod channel;
#[cfg(feature = "channel")]
mod io;
mod timer;

use std::future::Future;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_fleet::Spawn;

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
pub use timer::Sleep;

/// The smol runtime; its clock counts from when this was made.
#[derive(Clone, Copy, Debug)]
pub struct Smol {
    epoch: std::time::Instant,
}

impl Smol {
    /// The runtime, its clock starting now.
    #[must_use]
    pub fn new() -> Self {
        Self { epoch: std::time::Instant::now() }
    }

    /// `None`: later than the operating system's clock can hold.
    fn at(&self, at: Instant) -> Option<std::time::Instant> {
        self.epoch.checked_add(at.since(Instant::ZERO))
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for Smol {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_elapsed(self.epoch.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::new(self.at(at))
    }

    fn reset(&self, sleep: std::pin::Pin<&mut Sleep>, at: Instant) {
        sleep.get_mut().reset(self.at(at));
    }
}

impl Spawn for Smol {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

/// The README's own code, compiled.
#[cfg(all(doctest, feature = "json"))]
#[doc = include_str!("../README.md")]
mod readme {}

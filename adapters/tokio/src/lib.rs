//! Hedged calls on tokio: requests to a fleet of servers, with retries, backups and load balancing.
//!
//! [`builder`] makes a [`Channel`] over HTTP/1.1, and a call is one line: `channel.get("/users/7").await?`. What most programs
//! need is at the root of this crate; all of [`hedge_net`] and [`hedge_core`] is in it too, so that it is the only dependency.
//!
//! ```
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
//!     .build()?;
//!
//! let reply = channel.get("/users/7").await?;
//! println!("{} from {} by attempt {:?}", reply.status(), reply.server(), reply.report().winner());
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
//! # Options from a file
//!
//! With the feature `serde`, a channel's options and limits are read from any format that serde knows:
//!
//! ```
//! let text = r#"{"preset": "trpc", "timeout": "200ms", "backup": "10ms", "limits": {"ratio": {"burst": 20}}}"#;
//! let config: hedge_tokio::ChannelConfig = serde_json::from_str(text)?;
//! let channel = hedge_tokio::builder("list://10.0.0.1:8001,10.0.0.2:8001").load_balancer("rr").config(&config).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A delay that follows the latencies
//!
//! ```
//! use std::sync::Arc;
//! use hedge_tokio::hedge_core::latency::Quantile;
//! use hedge_tokio::{AdaptiveDelay, AdaptiveOptions};
//!
//! let adaptive = Arc::new(AdaptiveDelay::new(AdaptiveOptions::DEFAULT)?);
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
//! # Transports
//!
//! A transport of one's own takes [`Channel::with_transport`](hedge_net::Channel::with_transport)`(Tokio::new(), transport,
//! servers)`. Its traits are in [`hedge_net`].
#![forbid(unsafe_code)]

use std::future::Future;
use std::hash::{Hash as _, Hasher};
use std::io;
use std::pin::Pin;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;
use hedge_net::RuntimeId;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Sleep;

pub use hedge_core;
pub use hedge_net;
#[cfg(feature = "serde")]
pub use hedge_net::ChannelConfig;
pub use hedge_net::http::SendError;
pub use hedge_net::{
    AdaptiveDelay, AdaptiveOptions, Address, BodyMode, BreakerOptions, BuildError, CallError, CallOptions, CancelToken,
    FailureOptions, Idempotency, Judgement, Kind, LimitOptions, RatioOptions, Reply, RetryPolicy, Server, Trace,
    Verdict, hash, http, parse_servers,
};

/// A channel on tokio, over HTTP/1.1 if nothing else is said.
pub type Channel<T = Http> = hedge_net::Channel<Tokio, T>;

/// The HTTP/1.1 transport on tokio.
pub type Http = hedge_net::http::Http<Tokio>;

/// A channel to be, on tokio.
pub type Builder<T = Http> = hedge_net::Builder<Tokio, T>;

/// A channel over HTTP/1.1 to the servers of `list://a:1,b:2 tag`, or to one `host:port`.
pub fn builder(servers: impl AsRef<str>) -> Builder {
    hedge_net::Channel::builder(Tokio::new(), servers)
}

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
        let since = at.since(Instant::ZERO).into();
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

impl hedge_net::Runtime for Tokio {
    type Io = TokioIo<TcpStream>;

    async fn connect(&self, address: &Address) -> io::Result<Self::Io> {
        let stream = match address {
            Address::Socket(address) => TcpStream::connect(address).await?,
            Address::Name { host, port } => TcpStream::connect(&*hedge_net::lookup(host, *port).await?).await?,
        };
        hedge_net::refuse_self(stream.local_addr()?, stream.peer_addr()?)?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn id(&self) -> RuntimeId {
        let Ok(runtime) = Handle::try_current() else { return RuntimeId::default() };
        let mut number = Number(0);
        runtime.id().hash(&mut number);
        RuntimeId::new(number.0)
    }
}

/// The number within an identity of tokio's, which tells it to hashers only.
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

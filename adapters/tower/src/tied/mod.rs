//! Tied requests, the server's half ([Y1](hedge_core::rules#Y1)): [`TiedLayer`].
//!
//! A backup and its first attempt are two copies of one request on two servers. Without ties, often both are worked on.
//! With ties, the servers tell each other which copy has begun, and the other copy is dropped. So a call waits only in
//! the shorter of two queues, and nearly no request is worked on twice (Dean and Barroso, *The Tail at Scale*, CACM
//! 2013).
//!
//! A client sends a key with each attempt of a call, in the header `idempotency-key`. With a backup, it also sends the
//! address of the first attempt's server, in `x-hedge-first-server`. A channel of hedge-net does so with
//! `.along(AlongHeaders::tied())`. Without these headers, or with a server that has no such layer, nothing changes:
//! both copies run.
//!
//! ```
//! use std::net::{IpAddr, SocketAddr};
//!
//! use hedge_tower::tied::{RemoteIp, TiedLayer};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let own: SocketAddr = "10.0.0.1:80".parse()?;
//! let peers: [SocketAddr; 2] = ["10.0.0.2:80".parse()?, "10.0.0.3:80".parse()?];
//! // In a program: sends the message to the server, and returns the status of its answer.
//! let tell = |_to: SocketAddr, _message: Request<()>| async { None::<StatusCode> };
//! let layer = TiedLayer::builder(hedge_tokio::Tokio::new(), own, tell)
//!     .peers(peers)
//!     .concurrency(4)
//!     .max_waiting(100)
//!     .build()?;
//! let service = layer.layer(service_fn(|_: Request<String>| async { Ok::<_, String>(Response::new(String::from("hello"))) }));
//!
//! let mut request = Request::new(String::new());
//! // The server puts the address of the connection's other end into each request.
//! request.extensions_mut().insert(RemoteIp(IpAddr::from([10, 0, 0, 9])));
//! assert_eq!(service.oneshot(request).await?.into_body(), "hello");
//! assert_eq!(layer.counters().begun, 1);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # Messages
//!
//! A message is a `POST` without a body to a fixed path ([`path`](TiedBuilder::path)). The layer answers it itself. A
//! layer outside of this one sees messages as well. So put a layer that authenticates users inside of this one. The
//! message's header `x-hedge-tied` has one of two values:
//!
//! * `ask`: a backup has arrived. If the first attempt is at work, the answer is status 409, and the backup is dropped.
//!   Otherwise the answer is status 204. If the first attempt still waits there, the server that was asked sends
//!   `begun` when that attempt begins. The backup is held until the answer comes, but at most for
//!   [`ask_timeout`](TiedBuilder::ask_timeout), by default 1 ms. A message between two servers of one data centre
//!   takes less.
//! * `begun`: a copy has begun, so the other copy is dropped if it still waits.
//!
//! The program's [`Tell`] sends the messages. A message may be lost, late or refused; then both copies may run. A copy
//! that has begun is never dropped, and a copy is dropped only if another one has begun. So at least one copy of a call
//! begins, in any order of events. [`TieQueue`] decides this, and its tests try every order.
//!
//! A dropped copy is answered with status 503 and the header `x-hedge-dropped: tied`. The client takes this as
//! [`Wait`](hedge_core::outcome::Verdict::Wait): another attempt is at work. If too many requests wait, the answer is
//! status 503 and `x-hedge-dropped: full`.
//!
//! Ties help against queues. They do not help if a server is slow after a request has begun, since the other copy has
//! been dropped then. If one copy fails after the other copy was dropped, the call needs a retry.
//!
//! A client of HTTP/1.1 that gives up a first attempt, such as after an attempt timeout, should close its connection.
//! Otherwise the copy stays in the queue. When it begins, the backup is dropped, although the answer of the copy is
//! thrown away.
//!
//! # What is trusted
//!
//! * Only the servers in [`peers`](TiedBuilder::peers) are contacted. Another address in a request's header is ignored, so
//!   a client cannot make this server send messages elsewhere. One request causes at most two messages to the server
//!   that it names, and messages in flight are bounded.
//! * A message is obeyed only if it comes from the IP address of a peer. The program says where a request comes from:
//!   it puts [`RemoteIp`] into the request's extensions. Take this address from the accepted connection, never from a
//!   header. The port of an outgoing connection says nothing. So a message names its server's own address, which must
//!   be a peer with that IP address. This means that all programs on a peer's host are trusted, and all clients behind
//!   its address translation too, unless [`secret`](TiedBuilder::secret) is set. Behind a proxy, all requests come from
//!   the proxy, so messages are refused.
//! * The worst that a false message can do is to drop a waiting copy whose key the sender knows. A key has 128 random
//!   bits. The only client that knows it is the caller itself.
//! * The secret is sent in a header, so use TLS or a trusted network.
//!
//! # Cost
//!
//! A request takes a lock of the layer three or four times, for less than a microsecond each. Memory is bounded by
//! [`concurrency`](TiedBuilder::concurrency) and [`max_waiting`](TiedBuilder::max_waiting): some 200 bytes for each
//! request, in addition to the request itself. A backup costs one or two messages.

mod counters;
mod headers;
mod layer;
mod messages;
mod queue;
mod service;

pub use counters::TiedCounters;
pub use headers::RemoteIp;
pub use layer::{TiedBuilder, TiedError, TiedLayer};
pub use messages::Tell;
pub use queue::{Answer, CopyId, CopyState, Effect, QueueFull, TieQueue};
pub use service::{Tied, TiedFuture};

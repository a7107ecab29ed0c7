//! Tied requests, the server's half ([Y1](hedge_core::rules#Y1)): [`TiedLayer`].
//!
//! A backup and its first attempt are two copies of one request on two servers. Without ties, often both are worked on.
//! With ties, the servers tell each other which copy begins, and the other copy is dropped. So a call takes the shorter of
//! two queues, for nearly no extra work (Dean and Barroso, *The Tail at Scale*, CACM 2013).
//!
//! A client sends a key with each attempt of a call, in the header `idempotency-key`. With a backup, it also sends the
//! address of the first attempt's server, in `x-hedge-first-server`. A channel of hedge-net does so with
//! `.along(AlongHeaders::tied())`. Without these headers, or with a server that has no such layer, nothing changes: both copies run.
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
//! A message is a `POST` without a body to a fixed path ([`path`](TiedBuilder::path)), which the layer answers itself. A layer
//! around this one sees messages as well, so a layer that authenticates users belongs inside of this one. The message's
//! header `x-hedge-tied` is one of two words:
//!
//! * `ask`: a backup has arrived. The answer is 409 if the first attempt has begun and is at work, and the backup is
//!   dropped. Else the answer is 204, and the server that was asked will tell when its copy begins. The backup is held until
//!   the answer comes, but at most for [`ask_timeout`](TiedBuilder::ask_timeout), by default 1 ms. A message between two
//!   servers of one data centre takes less.
//! * `begun`: a copy has begun, so the other copy is dropped if it still waits.
//!
//! Messages are sent by the program's [`Tell`]. They are a best effort. If one is lost, late or refused, both copies run. A
//! copy that has begun is never dropped, and a copy is dropped only if another one has begun. So copies are never all
//! dropped, in any order of events; [`TieQueue`], which decides this, is tested for each order.
//!
//! A dropped copy is answered with status 503 and the header `x-hedge-dropped: tied`. The client takes this as
//! [`Wait`](hedge_core::outcome::Verdict::Wait): another attempt is at work. If too many requests wait, the answer is
//! status 503 and `x-hedge-dropped: full`.
//!
//! Ties help against queues. They do not help if a server is slow after a request has begun, since the other copy is dropped
//! then. A call whose one copy fails after the other was dropped needs a retry.
//!
//! # What is trusted
//!
//! * Only the servers in [`peers`](TiedBuilder::peers) are contacted. Another address in a request's header is ignored, so
//!   a client cannot make this server send messages elsewhere. One request causes at most one message to the server that it
//!   names, and messages in flight are bounded.
//! * A message is obeyed if it comes from the IP address of a peer. The program says where a request comes from:
//!   [`RemoteIp`] in the request's extensions, from the accepted connection and never from a header. Ports of outgoing
//!   connections mean nothing, so the message names its server's own address, which must be a peer with that IP address.
//!   All programs on a peer's host, and all clients behind its address translation, are thus trusted, unless
//!   [`secret`](TiedBuilder::secret) is set. Behind a proxy, all requests come from the proxy, so messages are refused.
//! * A false message can at worst drop a waiting copy whose key the sender knows. Keys are 128 random bits. A client that
//!   knows a key is the caller itself.
//! * The secret travels in a header, so use TLS or a trusted network.
//!
//! # Cost
//!
//! A request takes a lock of the layer three or four times, for less than a microsecond each. Memory is bounded by
//! [`concurrency`](TiedBuilder::concurrency) and [`max_waiting`](TiedBuilder::max_waiting), some 200 bytes a request beyond
//! the request itself. A backup costs one or two messages.

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

//! Hedged calls as a tower layer: around one service, or around a set of services, one for each server.
//!
//! A slow call is sent again after a short delay, and the first good answer wins. Failures are retried. A deadline
//! bounds the whole call. `hedge-core` makes the decisions; its docs list the rules.
//!
//! * [`HedgeLayer`] makes a [`Hedge`] from any service that can be cloned. Extra attempts go to a clone of the service.
//!   Use a layer if the service balances by itself, or if there is only one server.
//! * [`HedgeSet`] holds a service for each server, and chooses among the servers. An extra attempt goes to *another*
//!   server, as long as a usable server is left that the call has not tried ([L11](hedge_core::rules#L11)).
//!   [`HedgeSet::follow`] applies a stream of changes to the set.
//! * The module `tied`, with the feature of that name, is for servers: a queue whose requests are tied to their copies on
//!   other servers ([Y1](hedge_core::rules#Y1)).
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
//! # runtime.block_on(async {
//! let layer = hedge_tower::builder(hedge_tokio::Tokio::new()) // any hedge_core::drive::Timer
//!     .timeout(Duration::from_millis(500))
//!     .backup(Duration::from_millis(20))
//!     .on_end(|call| println!("{:?} after {:?}", call.end(), call.elapsed()))
//!     .layer()?;
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(|name: String| async move {
//!     Ok::<_, std::io::Error>(format!("hello, {name}"))
//! }));
//! assert_eq!(service.oneshot("world".into()).await?, "hello, world");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # What a call is
//!
//! A call starts when its future is first polled, and ends with that future. The deadline covers everything that an
//! attempt does, also the wait for a clone to become ready. The deadline does not cover `poll_ready` of the layered
//! service itself, which tower calls before the call exists. Dropping the future cancels the call. A signal in the
//! [`CallOptions`] of the call cancels it too.
//!
//! A [`Protocol`] says how a request is copied. A request that cannot be copied is sent once, and the report gives
//! `NotIdempotent` as the reason why no backup was sent. A response that the retry policy does not accept is still a
//! response. If the call ends with such a response, the caller gets the response as `Ok`, and the report says how the
//! call ended.
//!
//! # gRPC
//!
//! One line names the gRPC codes that are retried. A delay that a server asks for is respected.
//! `Builder::retry_codes_of` is for a set around generated tonic clients, as in the example `tonic_channel`: the services
//! of the set take the messages of one method. `Builder::retry_codes` is for a set around tonic channels, which serves all
//! methods of a generated client.
//!
//! # Code that panics
//!
//! Code of the program may panic, if panics unwind. If a backup policy panics, the call goes on: a panic in `delay`
//! means that the policy gives no delay of its own, a panic in `may_back_up` or `may_retry` is a refusal, and a panic
//! in another method is ignored. If an `on_end` panics, the call goes on too. A panic in a retry policy, a [`Protocol`]
//! or a service reaches the code that awaits the call. Every count is settled then, and the layer or set serves other
//! calls as before. A panic in a stream of changes reaches the caller of `poll_ready`. The next `poll_ready` applies
//! the changes that the stream gave before the panic.
//!
//! # Choosing a server
//!
//! By default, a set balances with `rr`: it uses the servers in turn. [`Builder::load_balancer`] sets another balancer
//! of the core by its name. [`Builder::circuit_breaker`] isolates servers that fail too often. The balancer and the
//! breaker learn from every attempt of every call.
//!
//! ```
//! use std::time::Duration;
//! use hedge_tower::hedge_core::health::CircuitOptions;
//! use hedge_tower::BreakerOptions;
//! use tower::{ServiceExt, service_fn};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
//! # runtime.block_on(async {
//! let set = hedge_tower::builder(hedge_tokio::Tokio::new())
//!     .backup(Duration::from_millis(20))
//!     .load_balancer("p2c")
//!     .circuit_breaker(BreakerOptions::Circuit(CircuitOptions::DEFAULT))
//!     .set()?;
//! for address in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] {
//!     // In a program: a client that is connected to the address.
//!     set.insert(address, service_fn(move |name: String| async move { Ok::<_, String>(format!("hello, {name}")) }))?;
//! }
//! assert_eq!(set.clone().oneshot("world".into()).await?, "hello, world");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # Events, counters, spans and log lines
//!
//! [`Builder::observer`] adds an [`Observer`]. It is notified of the starts and ends of calls and attempts, and of
//! changes of servers: that a server is inserted, removed, isolated or usable again. [`HedgeSet::counters`] and
//! [`Hedge::counters`] count calls, attempts and backups. With the feature `tracing`, each call is a span, and each
//! attempt is a span inside the call's span. With the feature `log`, log lines report the same events. The docs of
//! [`Observer`](hedge_fleet::Observer) list the fields of spans. The example `tonic_spans` prints spans.
//!
//! A call's span is a child of the span in which the call's future is polled first:
//! `service.call(request).instrument(span)`.
//!
#![cfg_attr(all(feature = "http", feature = "tracing"), doc = "```")]
#![cfg_attr(not(all(feature = "http", feature = "tracing")), doc = "```ignore")]
//! use std::time::Duration;
//!
//! # mod hello {
//! #     pub struct HelloReply { pub message: String }
//! #     #[derive(Clone)]
//! #     pub struct HelloRequest { pub name: String }
//! #     pub mod greeter_client {
//! #         use super::*;
//! #         #[derive(Clone)]
//! #         pub struct GreeterClient(tonic::transport::Channel);
//! #         impl GreeterClient {
//! #             pub fn new(channel: tonic::transport::Channel) -> Self { Self(channel) }
//! #             pub async fn say_hello(&mut self, request: HelloRequest) -> Result<tonic::Response<HelloReply>, tonic::Status> {
//! #                 tokio::time::sleep(std::time::Duration::from_millis(1)).await;
//! #                 Ok(tonic::Response::new(HelloReply { message: format!("hello, {}", request.name) }))
//! #             }
//! #         }
//! #     }
//! # }
//! use hello::{HelloRequest, greeter_client::GreeterClient}; // generated by tonic-prost-build
//! use tonic::{Code, Status, transport::Endpoint};
//! use tower::{ServiceExt, service_fn};
//! use tracing_subscriber::fmt::format::FmtSpan;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! // Prints a span when it ends. For OpenTelemetry, use tracing-opentelemetry's layer instead.
//! tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE).init();
//!
//! let set = hedge_tower::builder(hedge_tokio::Tokio::new())
//!     .retry_codes_of([Code::Unavailable], |status: &Status| (status.code().into(), status.metadata().as_ref()))?
//!     .timeout(Duration::from_secs(1))
//!     .backup(Duration::from_millis(20))
//!     .set()?;
//! for address in ["10.0.0.1:50051", "10.0.0.2:50051", "10.0.0.3:50051"] {
//!     let client = GreeterClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy());
//!     let greet = service_fn(move |request: HelloRequest| {
//!         let mut client = client.clone();
//!         async move { client.say_hello(request).await }
//!     });
//!     set.insert(address, greet)?;
//! }
//! let reply = set.clone().oneshot(HelloRequest { name: "world".into() }).await?;
//! assert_eq!(reply.into_inner().message, "hello, world");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # Options from a file
//!
//! With the feature `serde`, the options and the limits can be read from any file format that serde supports:
//!
#![cfg_attr(feature = "serde", doc = "```")]
#![cfg_attr(not(feature = "serde"), doc = "```ignore")]
//! use hedge_tower::hedge_core::config::ChannelConfig;
//! use tower::{Layer, service_fn};
//!
//! let text = r#"{"preset": "trpc", "timeout": "200ms", "backup": "10ms", "limits": {"ratio": {"burst": 20}}}"#;
//! let config: ChannelConfig = serde_json::from_str(text)?;
//! let layer = hedge_tower::builder(hedge_tokio::Tokio::new()).config(&config).layer()?;
//! let service = layer.layer(service_fn(|name: String| async move { Ok::<_, String>(format!("hello, {name}")) }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cost
//!
//! A call allocates once, for its future. It takes no lock and spawns no task. It uses a timer only when it has to
//! wait. A call that may send more than one backup also allocates for each attempt. `Http` allocates for the report in
//! the response's extensions.
//!
//! Services, requests and futures must be `Send`, so that calls can be spawned. The services of a [`HedgeSet`] must
//! also be `Sync`, since threads share them; tower's `BoxCloneSyncService` hides the type of such a service. Services
//! that are not `Send` are not supported.
#![forbid(unsafe_code)]

mod attempt;
mod builder;
mod error;
#[cfg(feature = "http")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod layer;
mod options;
mod protocol;
mod replace;
mod run;
mod set;
mod shared;
#[cfg(feature = "tied")]
pub mod tied;

pub use hedge_core;
pub use hedge_core::bounded::{Bounded, BoundedSpan, SpanRange};
pub use hedge_core::cluster::ClusterError;
pub use hedge_core::config::{Warning, Warnings};
pub use hedge_core::drive::{Along, AttemptInfo};
pub use hedge_core::health::{BreakerOptions, IsolationLimit, RecoveryOptions};
pub use hedge_core::id::IdempotencyKey;
pub use hedge_core::limit::LimitOptions;
pub use hedge_core::outcome::{Denial, Extra};
pub use hedge_core::policy::{BackupPolicy, ConfigError, RetryPolicy};
#[cfg(feature = "http")]
pub use hedge_http;

pub use hedge_fleet::{
    AlongOptions, AttemptEnded, AttemptStarted, CallEnd, CallId, CheckEnded, CheckOutcome, CheckStep, Counters,
    MAX_ATTEMPTS, MAX_IN_FLIGHT, Observer, ReplaceableOptions, Report, RequestId, RequestIdError, ServerChange,
    ServerRef,
};

pub use builder::{BuildError, Builder, builder};
pub use error::{BoxError, Error};
#[cfg(feature = "http")]
pub use grpc::{GrpcErrors, GrpcResponses};
#[cfg(feature = "http")]
pub use http::{Http, WinnerKey};
pub use layer::{Hedge, HedgeLayer};
pub use options::CallOptions;
pub use protocol::{Plain, Protocol, RetryErrors};
pub use run::ResponseFuture;
pub use set::{Change, Following, HedgeSet};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

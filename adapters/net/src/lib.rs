//! Hedged calls for programs with `std`: a channel, a transport for HTTP/1.1 and HTTP/2, and connection pools, generic over the
//! runtime.
//!
//! A [`Channel`] makes calls to a cluster of servers. `hedge-core` makes its decisions. This crate adds the list of
//! servers, the connections, and one driver future for each call. It contains no runtime. `hedge-tokio` and
//! `hedge-smol` bring one each, and most programs use one of these.
//!
//! | To | see |
//! |---|---|
//! | make a channel | [`Builder`] |
//! | make a call in one line | [`Channel::get`] and its like, [`http::RequestBuilder`] |
//! | make a call with any request | [`Channel::call`], [`Channel::call_with`] and [`CallOptions`] |
//! | read the result | [`Reply`], [`http::SendError`], [`CallError`], [`Report`] |
//! | set what calls may do | [`Builder::options`], [`Builder::limits`], or all of a channel by `Builder::channel_file` from a file (feature `serde`) |
//! | apply a changed file to a channel that runs | `Channel::set_channel_file` (feature `serde`) |
//! | set how servers are chosen | [`Builder::load_balancer`], [`hash`] for request codes |
//! | adapt the backup delay, or only count backups | [`AdaptiveDelay`], [`Shadow`], by [`Builder::backup_policy`] |
//! | add headers to each attempt | [`Builder::on_attempt`], [`AttemptInfo`] |
//! | send ids, a key and the remaining time along, and tie requests | [`Builder::along`], [`http::AlongHeaders`], [`CallOptions`] |
//! | change, answer or refuse calls, and see each result | [`Builder::interceptor`], [`Interceptor`] |
//! | be told of the end of each call | [`Builder::on_end`], [`CallEnd`] |
//! | be told of everything that happens, in code, spans or lines | [`Builder::observer`], [`Observer`] |
//! | count calls, attempts and connections | [`Channel::counters`], [`http::Http::counters`] |
//! | see how long calls take | [`Channel::latencies`], [`latency`] |
//! | follow a source of servers, such as a registry | [`Builder::naming`], [`Builder::sources`], [`Builder::schemes`], [`Channel::ready`], [`Channel::naming`] |
//! | show the state of a channel | [`Inspect`], [`Channel::name`] |
//! | change the servers | [`Channel::set_servers`], [`Builder::filter`] |
//! | check servers that are down | [`Builder::health_checks`], [`Channel::set_check_interval`] |
//! | isolate servers that fail | [`Builder::circuit_breaker`], [`Builder::recovery`] |
//! | encrypt connections | `Builder::tls`, or a server that begins with `https://` (feature `tls` or `tls-aws-lc`) |
//! | set how connections are made | [`Builder::socket_options`], [`Builder::resolver`] |
//! | know the addresses of a connection | [`Reply::connection`], [`ConnectionInfo`] |
//! | set how connections are kept and shared | [`Builder::connection_type`], [`Builder::idle_timeout`], [`Builder::connection_group`], [`Channel::set_idle_timeout`] |
//! | send HTTP | [`http`] |
//! | make gRPC calls, with tonic's clients | `grpc` (feature `grpc`) |
//! | bring a transport | [`SendTransport`] and [`Channel::with_transport`] |
//! | put a transport around that of HTTP | [`Builder::wrap`] |
//! | use a channel as one caller among others | [`Caller`], [`BoxCaller`], [`Outcome`] |
//! | bring a runtime | [`Runtime`] |
//!
//! # Contract
//! A call ends exactly once. Dropping its future abandons its attempts at once and settles every count. Everything here
//! may be shared between threads. Nothing panics on input. A lock that a panic poisoned stays in use.
//!
//! The program's own code may panic, if panics unwind. A health check that panics has failed. A probe that panics has
//! no answer. If a backup policy panics, its call goes on: the policy gives no delay, refuses, or misses a notice,
//! depending on the method. A panic in `on_end` harms no call. If an
//! interceptor panics, it refuses the call or misses a notice. If a request's body or its factory panics, the call gets
//! an error. A panic in a retry policy, a transport, an `on_attempt` or a filter reaches the caller of the call or of the
//! change of the list. Every count is settled then, and the list is unchanged.
#![forbid(unsafe_code)]

mod background;
mod build_error;
mod builder;
mod call_state;
mod caller;
mod channel;
mod check;
mod check_state;
mod checks;
mod connections;
mod error;
mod first_list;
mod fleet;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod http;
mod making;
mod naming;
mod probe;
mod replace;
mod reply;
mod wait;

pub use build_error::BuildError;
pub use builder::Builder;
pub use channel::{CallResult, Channel};
pub use error::{CallError, LastFailure};
pub use hedge_core::balance::prequal::ServerLoad;
pub use hedge_core::balance::{ArrangeError, BalancerError, ProbeAnswer, WeightError, hash};
pub use hedge_core::bounded::{Bounded, BoundedSpan, Decimal, OutOfRange, Ratio, SpanRange};
#[cfg(feature = "serde")]
pub use hedge_core::config::{ChannelConfig, ServersConfig, Setting, service_config};
pub use hedge_core::config::{Warning, Warnings};
pub use hedge_core::drive::{Along, AttemptInfo, SendTransport, Timer};
pub use hedge_core::health::{
    BreakerOptions, CheckInterval, CheckOptions, CircuitOptions, FailureOptions, IsolationLimit, IsolationOptions,
    RecoveryOptions, WindowOptions,
};
pub use hedge_core::id::{AttemptId, IdempotencyKey};
pub use hedge_core::latency;
pub use hedge_core::limit::{BudgetOptions, LimitOptions, RatioMode, RatioOptions, TokenOptions};
pub use hedge_core::outcome::{
    Attempt, Code, Denial, End, ErrorKind, Extra, Judgement, Kind, NotHedged, Pushback, State, Verdict,
};
pub use hedge_core::policy::{
    AdaptiveDelay, AdaptiveOptions, AttemptError, Backoff, BackupDelay, BackupPolicy, CallKind, ChannelOptions,
    ConfigError, FailMode, Idempotency, OnEarlyFailure, RetryPolicy, RetryTarget, Shadow, ShadowCount, Target,
};
pub use hedge_core::time::Timeout;
pub use hedge_fleet::{
    Address, AddressError, AlongOptions, BodyMode, CallEnd, CallOptions, CancelToken, ListError, ListUpdate,
    MAX_ATTEMPTS, NameError, RefusedServer, ReplaceableOptions, Report, RequestId, RequestIdError, Server,
    StrictListError, Trace, parse_servers,
};
pub use hedge_fleet::{
    AfterAttempt, AfterCall, BeforeAttempt, BeforeCall, BoxInterceptor, CallOutcome, Flow, Interceptor,
    InterceptorPanicked, Interceptors, Refusal,
};
pub use hedge_fleet::{
    AttemptEnded, AttemptStarted, CallId, CheckEnded, CheckOutcome, CheckStep, Counters, Observer, ServerChange,
    ServerRef,
};
pub use hedge_fleet::{BoxCaller, Caller, Outcome, Spawn};
pub use hedge_fleet::{
    BoxNaming, LineError, Naming, NamingError, NamingErrorKind, PauseRange, SchemeError, Schemes, Update,
};
pub use hedge_fleet::{ChannelInfo, Inspect, LatencyInfo, ServerInfo, ServerState};
pub use hedge_fleet::{ConnectionType, Protocol, ProtocolError};
#[doc(inline)]
pub use hedge_http_transport::{ConnectOptionError, UrlError};
pub use hedge_link::{
    BoxResolve, BufferSize, ConnectError, ConnectStep, Connected, Connecting, ConnectionInfo, Connector, Datagrams,
    Dial, Dialed, Endpoint, KeepAlive, Resolve, Runtime, RuntimeId, SocketOptionError, SocketOptions, Stream, TlsInfo,
    TlsVersion, UserTimeout, begin, lookup, refuse_self,
};
#[cfg(feature = "serde")]
pub use hedge_link::{
    ChannelFile, ChannelFileError, ConnectionsConfig, ConsulSourceConfig, DnsSourceConfig, EtcdSourceConfig,
    FileSourceConfig, FixedSetting, HostSourceConfig, HttpSourceConfig, KeepAliveConfig, KubernetesSourceConfig,
    RemoteFileSourceConfig, SourcesConfig, SourcesConfigError,
};
// The two features are named here, because the compiler names them to a program that lacks them.
#[cfg(any(feature = "tls", feature = "tls-aws-lc"))]
pub use hedge_link::{DangerousNoVerification, Tls, TlsBuilder, TlsConfigError, TlsError, TlsFault, TlsName};
#[cfg(all(feature = "serde", any(feature = "tls", feature = "tls-aws-lc")))]
pub use hedge_link::{SourceTlsConfig, TlsConfig, TlsFileError};
/// The sources of servers that are built in.
pub use hedge_naming;
pub use naming::NamingStatus;
#[cfg(feature = "serde")]
pub use replace::{Applied, SetConfigError};
pub use reply::{AnsweredBy, Reply};

/// The README's own code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

//! Connections to servers: how they are made, kept and shared, for every protocol and every async runtime.
//!
//! | To | see |
//! |---|---|
//! | make a connection | [`Connector`], [`ConnectError`] |
//! | know the addresses of a connection | [`ConnectionInfo`] |
//! | support another runtime | [`Runtime`], which needs [`Spawn`](hedge_fleet::Spawn) and [`Dial`]; [`begin`], [`Datagrams`] |
//! | set options of sockets | [`SocketOptions`] |
//! | resolve names | [`Resolve`], [`BoxResolve`], [`lookup()`] |
//! | run work that blocks | [`Blocking`] |
//! | encrypt connections | `Tls`, with the feature `tls` or `tls-aws-lc` |
//! | keep connections that serve one call at a time | [`Pool`], [`PoolSettings`] |
//! | share a connection between calls | [`Single`], [`Unwritten`], [`Authenticator`] |
//! | decide which channels share connections | [`ConnectionKey`] |
//! | keep a value for each server | [`PerServer`] |
//! | refuse a socket that is connected to itself | [`refuse_self`] |
//! | give a future a deadline | [`before`] |
//! | describe a whole channel in a file | `ChannelFile`, with the feature `serde` |
//!
//! `hedge-tokio` and `hedge-smol` implement the runtime. `hedge-net` sends HTTP over these connections.
//!
//! # Connecting
//! A name is resolved for each connection. If the name has several addresses, they are tried as in RFC 8305
//! ([C5](hedge_core::rules#C5)): IPv6 and IPv4 addresses alternate, the next address is tried 250 ms after the previous
//! one or as soon as an address fails, and the first connection that is made is used. At most 16 addresses are tried.
//! The time limit covers all steps: resolving, connecting and the TLS handshake.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `serde` | a whole channel as a file describes it |
//! | `tls` | TLS by rustls, with ring and the system's roots |
//! | `tls-aws-lc` | TLS by rustls, with aws-lc-rs and the system's roots |
//! | `tls-webpki-roots` | Mozilla's roots, which are compiled in; needs one of the two features above |
//!
//! Without the features of TLS, rustls is not compiled.
//!
//! # Contract
//! A connection is used only on the runtime that made it. If the future that makes a connection is dropped, the
//! connection is not made. No input makes this crate panic.
//!
//! Channels with equal [keys](ConnectionKey) share their connections to a server ([C4](hedge_core::rules#C4)). These
//! connections are in a registry of the process. The registry holds the connections to a server only while a channel
//! uses the server, or while the close of the connections is deferred. The process also has the threads of [`lookup()`]
//! and the settings of `Tls::system`.
//!
//! # Cost
//! A connection without TLS costs one branch for each read and write, in addition to the cost of the runtime's
//! connection. [Looking up names](lookup()#cost) takes threads. For each call, a [pool](Pool#cost) or a [shared
//! connection](Single#cost) takes one short lock at the start and one at the end. While there are connections to close,
//! one task runs for each runtime.
#![forbid(unsafe_code)]

mod auth;
mod begin;
mod bell;
mod blocking;
#[cfg(feature = "serde")]
mod channel_file;
mod connect_error;
mod connection_info;
mod connector;
mod dial;
mod endpoint;
mod io_error;
mod key;
mod lookup;
mod pool;
mod race;
mod registry;
mod resolve;
mod runtime;
mod servers;
mod single;
mod socket_options;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(feature = "_tls")]
mod tls;
mod unwritten;

pub use auth::{Authenticator, Credential, CredentialError, CredentialRefused};
pub use begin::{Connecting, begin};
pub use blocking::Blocking;
#[cfg(feature = "serde")]
pub use channel_file::{ChannelFile, ChannelFileError, ConnectionsConfig, FixedSetting, KeepAliveConfig};
#[cfg(feature = "serde")]
pub use channel_file::{
    ConsulSourceConfig, DnsSourceConfig, EtcdSourceConfig, FileSourceConfig, HostSourceConfig, HttpSourceConfig,
    KubernetesSourceConfig, RemoteFileSourceConfig, SourcesConfig, SourcesConfigError,
};
#[cfg(all(feature = "serde", feature = "_tls"))]
pub use channel_file::{SourceTlsConfig, TlsConfig, TlsFileError};
pub use connect_error::{ConnectError, ConnectProgress, ConnectStep};
pub use connection_info::{ConnectionInfo, TlsInfo, TlsVersion};
pub use connector::{Connected, Connector};
pub use dial::{Datagrams, Dial, Dialed};
pub use endpoint::Endpoint;
/// The traits for I/O, which are the traits of hyper.
pub use hyper::rt as io;
pub use key::{ConnectionKey, Identity, KeyPart};
pub use lookup::lookup;
pub use pool::{IdleConnection, Lifetime, Pool, PoolConnection, PoolSettings};
pub use resolve::{BoxResolve, Resolve};
pub use runtime::{Runtime, RuntimeId, before, refuse_self};
pub use servers::PerServer;
pub use single::{Lease, Notifier, SharedConnection, Single, SingleError};
pub use socket_options::{BufferSize, KeepAlive, SocketOptionError, SocketOptions, UserTimeout};
pub use stream::Stream;
#[cfg(feature = "_tls")]
pub use tls::{DangerousNoVerification, Tls, TlsBuilder, TlsConfigError, TlsError, TlsFault, TlsName};
pub use unwritten::{Overcrowded, Unwritten, UnwrittenMessage};

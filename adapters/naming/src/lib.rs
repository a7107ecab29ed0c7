//! Sources of servers. A source turns a name into a list of servers, and follows the changes of the list. Each source
//! implements [`Naming`](hedge_fleet::Naming), on any [`Runtime`](hedge_link::Runtime).
//!
//! | To follow | see |
//! |---|---|
//! | a file, `file://path` | [`FileNaming`] |
//! | every address of a host, `http://host:port` and `https://host:port` | [`HostNaming`] |
//! | A and AAAA records, `dns://host:port` | `DnsNaming`, with the feature `dns` |
//! | SRV records, `srv://name` | `SrvNaming`, with the feature `dns` |
//! | a URL of any of these schemes | [`schemes`], [`Sources`] |
//!
//! The channels of `hedge-net`, `hedge-tokio` and `hedge-smol` know these schemes, so a program that makes a channel needs
//! nothing from here.
//!
//! # Contract
//! A source that is opened by [`Sources`] is shared by all who name the same URL on one runtime
//! ([N6](hedge_core::rules#N6)). A source does nothing before it is asked. Work that blocks runs on separate threads.
//! Answers are bounded: a file has at most 64 MiB, a name at most 4,096 addresses, a service at most 256 targets.
//!
//! # Sources over HTTP
//! These sources need the feature `http`. They have no tasks of their own: all their work is done inside of
//! [`Naming::next`](hedge_fleet::Naming::next). The README of this crate is their guide.
//!
//! | source | reads | follows changes by |
//! |---|---|---|
//! | `RemoteFile` | a list of servers, one in each line, from a web server | asking every 5 s |
//! | `Etcd` | the keys below a prefix, from etcd's API version 3 | a watch |
//! | `Consul` | the healthy instances of a service | blocking queries |
//! | `Kubernetes` | the ready endpoints of a service; also needs the feature `tls` or `tls-aws-lc` | a watch |
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `dns` | `dns://` and `srv://`, by hickory-resolver over the runtime's own sockets |
//! | `http` | the sources over HTTP |
//! | `serde` | their options in the file of a channel |
//! | `tls` | TLS for them, by rustls with ring |
//! | `tls-aws-lc` | TLS for them, by rustls with aws-lc-rs |
#![forbid(unsafe_code)]

#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod common;
#[cfg(feature = "serde")]
mod config;
#[cfg(feature = "http")]
mod consul;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "http")]
mod etcd;
#[cfg(feature = "http")]
mod few;
mod file;
#[cfg(feature = "http")]
mod given;
mod host;
mod jitter;
#[cfg(all(feature = "http", feature = "_tls"))]
mod kubernetes;
#[cfg(feature = "http")]
mod lines;
mod options;
#[cfg(feature = "http")]
mod over_http;
#[cfg(feature = "http")]
mod pace;
mod poller;
#[cfg(feature = "http")]
mod remotefile;
#[cfg(feature = "http")]
mod session;
mod shared;
mod sources;
#[cfg(feature = "http")]
mod words;

#[cfg(feature = "http")]
pub use client::HttpOptions;
#[cfg(feature = "http")]
pub use consul::Consul;
#[cfg(feature = "dns")]
pub use dns::{DnsNaming, LookupTimeout, SrvNaming};
#[cfg(feature = "http")]
pub use etcd::Etcd;
pub use file::FileNaming;
pub use host::HostNaming;
#[cfg(all(feature = "http", feature = "_tls"))]
pub use kubernetes::Kubernetes;
pub use options::PollInterval;
#[cfg(feature = "http")]
pub use remotefile::RemoteFile;
pub use sources::{Sources, schemes};

/// The README's own code, compiled.
#[cfg(all(doctest, feature = "dns", feature = "http"))]
#[doc = include_str!("../README.md")]
mod readme {}

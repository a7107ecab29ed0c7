//! What an operator sees of hedge ([O1](hedge_core::rules#O1)): the variables of channels, the last sampled calls, the
//! distribution of latencies, and Prometheus metrics. [`page`] makes a page from a path; any HTTP server can serve it.
//!
//! | path | what |
//! |---|---|
//! | `/vars` | all variables, by brpc's and tRPC's names; `/vars/search_*,*_qps` some of them |
//! | `/vars/NAME` | one variable as text, and in a browser also its live chart |
//! | `/cdf?of=NAME` | the distribution of latencies, with several channels or moments in one picture |
//! | `/rpcz` | the last sampled calls, each with its attempts as bars on one time axis |
//! | `/channels` | the channels; `/channels/NAME` the servers of one |
//! | `/metrics` | the metrics in Prometheus's text format |
//! | `/cmds/var/NAME` | one variable in JSON, as in tRPC |
//!
//! `?format=json` gives each page as JSON.
//!
//! ```
//! use hedge_admin::Registry;
//!
//! let registry = Registry::new();
//! let (search, _shown) = registry.recorder("search")?;
//! search.record(std::time::Duration::from_millis(2));
//! let page = hedge_admin::page("/vars/search_count", &registry);
//! assert_eq!((page.status, &*page.body), (200, "1\n"));
//! # Ok::<(), hedge_admin::NameError>(())
//! ```
//!
//! A channel is shown with [`Registry::add`]. Samples and the histogram on `/metrics` need a [`Watch`] as well:
//!
//! ```
//! use std::sync::Arc;
//!
//! use hedge_admin::{Registration, Registry};
//! use hedge_fleet::{Inspect, Observer};
//!
//! fn show<C: Inspect + 'static>(
//!     registry: &Registry,
//!     build: impl FnOnce(Arc<dyn Observer>) -> C, // `builder.observer(observer).build()`
//! ) -> Result<Registration, hedge_admin::NameError> {
//!     let watch = registry.watch("search")?;
//!     let channel = build(Arc::new(watch.clone()));
//!     registry.samples().set_one_in(100);
//!     registry.add_watched(watch, channel)
//! }
//! ```
//!
//! # Contract
//! Pages change nothing, and a program that serves no pages pays nothing for them ([O3](hedge_core::rules#O3)). They
//! show no bodies, no headers, and no credentials of URLs. All text of servers and of the program is limited in length
//! and escaped. The server that serves the pages decides which clients may see them. Serve them on loopback, and let
//! the server refuse a `Host` that is not [local](is_local_host). Send [`Page::HEADERS`] with each page, so that a
//! browser runs only the script of this crate.
//!
//! # Cost
//! Variables and counters come from what a channel counts anyway. A [`Watch`] costs a call two atomic additions. A page
//! reads only the channels that it shows, and has at most 2 MB. It takes no lock that a call needs.
#![forbid(unsafe_code)]

mod histogram;
mod name;
mod pages;
mod parts;
mod reading;
mod recorder;
mod registry;
mod request;
mod samples;
mod source;
mod text;
mod value;
mod watch;
mod wildcard;

pub use hedge_fleet;

pub use name::{Name, NameError};
pub use pages::{Page, page};
pub use recorder::Recorder;
pub use registry::{Registration, Registry};
pub use request::{Request, is_local_host};
pub use samples::{SampleOptions, Samples};
pub use value::Value;
pub use watch::Watch;

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

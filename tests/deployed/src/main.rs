//! Calls to servers as they are deployed: nginx, haproxy, nghttpd, and one that misbehaves.
//!
//! The servers are killed, frozen and started again while the calls run. One of the good servers stays up, so no call may
//! fail. At the end, no descriptor and no task may be left. Another run makes calls over sources of servers whose lists
//! change several times a second. Another run makes calls of channels of channels while a whole cluster, or one of 50
//! servers, is frozen. The last run sends commands to redis-server and memcached over plain sockets.

mod cancel;
mod certificate;
mod chaos;
mod churn;
mod client;
mod combined;
mod counting;
mod left;
mod protocol;
mod run;
mod server;
mod settings;
mod wire;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use hedge_net::Runtime;
use hedge_smol::Smol;
use hedge_tokio::Tokio;

use crate::cancel::Cancelled;
use crate::churn::{Churned, replica};
use crate::combined::Combined;
use crate::protocol::Protocol;
use crate::run::Outcome;
use crate::server::misbehaving;
use crate::settings::{On, Settings};
use crate::wire::Wired;

/// Makes calls to real servers on loopback that are killed, frozen and started again meanwhile. Fails if a call fails, or if
/// a descriptor or a task is left.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Serve>,
    /// Calls of a run; 0: none
    #[arg(long, default_value_t = 50_000)]
    calls: u64,
    /// Calls that are cancelled on one connection over HTTP/2, in a run of their own; 0: none
    #[arg(long, default_value_t = 5_000)]
    cancel: u64,
    /// Calls over sources whose lists change several times a second, in a run of their own on each runtime; 0: none
    #[arg(long, default_value_t = 200_000)]
    churn: u64,
    /// Calls of a channel of channels while a whole cluster is frozen, in a run of their own on each runtime; 0: none
    #[arg(long, default_value_t = 100_000)]
    combined: u64,
    /// Commands to redis-server and to memcached over each of their protocols, on plain sockets; 0: none
    #[arg(long, default_value_t = 20_000)]
    wire: u64,
    /// Calls at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    callers: u64,
    /// Only this runtime
    #[arg(long, value_enum)]
    runtime: Vec<On>,
    /// Only this protocol
    #[arg(long, value_enum)]
    protocol: Vec<Protocol>,
    /// The seed of the channels and of what happens to the servers [default: drawn]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Serve {
    /// Serves as the server that misbehaves
    #[command(name = misbehaving::ARGUMENT, hide = true)]
    Misbehave { port: u16 },
    /// Serves a small page
    #[command(name = replica::ARGUMENT, hide = true)]
    Serve { address: SocketAddr },
}

/// The first two columns of the tables.
const TITLE: &str = "on     over         ";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: calls failed, or something is left");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All runs. Returns whether all of them were good.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    match options.command {
        Some(Serve::Misbehave { port }) => return Ok(misbehaving::serve(port).map(|()| true)?),
        Some(Serve::Serve { address }) => return Ok(replica::serve(address).map(|()| true)?),
        None => {}
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut good = true;
    if options.calls > 0 {
        println!("{TITLE} {}", Outcome::HEAD);
        for settings in all(options, seed) {
            good &= run_on(Work::Calls, settings)?;
        }
    }
    if options.cancel > 0 {
        println!("{TITLE} {}", Cancelled::HEAD);
        for settings in all(options, seed).filter(|settings| settings.protocol.is_http2()) {
            good &= run_on(Work::Cancel, settings)?;
        }
    }
    if options.churn > 0 {
        println!("{TITLE} {}", Churned::HEAD);
        for settings in all(options, seed).filter(|settings| settings.protocol == Protocol::Http1) {
            good &= run_on(Work::Churn, settings)?;
        }
    }
    if options.combined > 0 {
        println!("{TITLE} {}", Combined::HEAD);
        for settings in all(options, seed).filter(|settings| settings.protocol == Protocol::Http1) {
            good &= run_on(Work::Combined, settings)?;
        }
    }
    if options.wire > 0 {
        println!("{}", Wired::HEAD);
        println!("{}", wire::run(options.wire, seed, tempfile::tempdir()?.path())?);
    }
    Ok(good)
}

/// What a run does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Calls to servers that come and go.
    Calls,
    /// Calls that are cancelled.
    Cancel,
    /// Calls over sources whose lists change.
    Churn,
    /// Calls of channels of channels.
    Combined,
}

/// The runs that were chosen: each protocol on each runtime.
fn all(options: &Options, seed: u64) -> impl Iterator<Item = Settings> {
    let Options { calls, cancel, churn, combined, callers, .. } = *options;
    chosen(&options.runtime, &On::ALL).into_iter().flat_map(move |on| {
        let protocols = chosen(&options.protocol, &Protocol::ALL);
        protocols.into_iter().map(move |protocol| Settings {
            on,
            protocol,
            calls,
            cancel,
            churn,
            combined,
            callers,
            seed,
        })
    })
}

/// Makes one run and prints its row. Returns whether it was good.
fn run_on(work: Work, settings: Settings) -> Result<bool, Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let (row, is_good) = match settings.on {
        On::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let inside = runtime.enter();
            let done = row(Tokio::new(), work, settings, home.path());
            drop(inside);
            runtime.shutdown_timeout(Duration::from_secs(5));
            done?
        }
        On::Smol => row(Smol::new(), work, settings, home.path())?,
    };
    println!("{:<6} {:<13} {row}", settings.on.name(), settings.protocol.name());
    Ok(is_good)
}

/// The results of a run as text, and whether they are good.
fn row<R: Runtime + Unpin>(
    runtime: R,
    work: Work,
    settings: Settings,
    home: &Path,
) -> Result<(String, bool), Box<dyn Error>> {
    Ok(match work {
        Work::Calls => {
            let outcome = run::run(runtime, settings, home)?;
            (outcome.to_string(), outcome.is_good())
        }
        Work::Cancel => {
            let cancelled = cancel::run(runtime, settings, home)?;
            (cancelled.to_string(), cancelled.is_good())
        }
        Work::Churn => {
            let churned = churn::run(runtime, settings, home)?;
            (churned.to_string(), churned.is_good())
        }
        Work::Combined => {
            let combined = combined::run(runtime, settings, home)?;
            (combined.to_string(), combined.is_good())
        }
    })
}

/// The values that were named, or all.
fn chosen<T: Copy>(named: &[T], all: &[T]) -> Vec<T> {
    if named.is_empty() { all.to_vec() } else { named.to_vec() }
}

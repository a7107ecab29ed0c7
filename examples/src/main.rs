//! The main job: the same calls without and with a backup request, side by side.
//!
//! `cargo run --release` needs nothing else; `--help` tells the rest.

mod chart;
mod cli;
mod hedging;
mod load;
mod stats;

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;
use hedge_core::policy::{BackupDelay, NoPolicy};
use hedge_examples::replicas::{self, Answer, Replica, ServiceTimes};
use hedge_net::{CallOptions, Channel, LimitOptions, Runtime};
use hedge_smol::Smol;
use hedge_tokio::Tokio;
use indicatif::{ProgressBar, ProgressStyle};

use crate::chart::{Chart, Curve};
use crate::cli::Options;
use crate::hedging::Hedging;
use crate::load::Load;
use crate::stats::Measurement;

const REPLICAS: u64 = 3;
/// So many unmeasured calls open a run's connections.
const WARM_UP: u64 = 48;
/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match Options::try_parse() {
        Ok(options) => run(&options),
        Err(error) if error.use_stderr() => Err(cli::one_line(&error).into()),
        Err(help) => print(&help.to_string()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        complain("error", &error.to_string());
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let limits = options.limits()?;
    if let Some(file) = &options.svg {
        // Better now than after the measurement; what is there stays until there is something to replace it.
        let writable = OpenOptions::new().create(true).append(true).open(file);
        writable.map_err(|error| format!("--svg {}: {error}", file.display()))?;
    }
    for warning in options.warnings(&limits) {
        complain("warning", &warning.to_string());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = Arc::clone(&stop);
    ctrlc::set_handler(move || interrupted.store(true, Ordering::Relaxed))?;

    let measurement = match options.runtime {
        cli::Runtime::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let inside = runtime.enter();
            let measurement = measure(&Tokio::new(), options, limits, &stop);
            drop(inside);
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            measurement?
        }
        cli::Runtime::Smol => measure(&Smol::new(), options, limits, &stop)?,
    };
    report(options, limits, &measurement)?;
    Ok(if stop.load(Ordering::Relaxed) { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Both runs, or as much of them as there was time for.
fn measure<R: Runtime>(
    runtime: &R,
    options: &Options,
    limits: LimitOptions,
    stop: &Arc<AtomicBool>,
) -> Result<Measurement, Failure> {
    let mut measurement = Measurement { servers: 0, concurrency: options.concurrency, runs: Vec::new() };
    for _ in 0..2 {
        let hedging = match measurement.runs.first() {
            None => Hedging::Plain,
            Some(plain) => Hedging::new(options, plain.p50_us),
        };
        // New replicas for each run: both meet the same service times.
        let replicas = if options.servers.is_none() { start_replicas(options.seed)? } else { Vec::new() };
        let servers = options.servers.clone().unwrap_or_else(|| replicas::servers(&replicas));
        let builder = Channel::builder(runtime.clone(), servers)
            .load_balancer(&options.balancer.to_string())
            .timeout(options.timeout_ms)
            .connect_timeout(options.connect_timeout())
            .max_retry(options.max_retry)
            .limits(limits)
            .seed(options.seed);
        let channel = hedging.install(builder).build()?;
        measurement.servers = channel.servers().len();

        let load = Load {
            calls: options.calls(),
            concurrency: options.concurrency,
            path: options.path.clone(),
            options: CallOptions::default(),
            stop: Arc::clone(stop),
        };
        let unmeasured = |calls: u64| {
            // With a policy of their own, nothing is counted of them by the channel's.
            let (backup, policy) = (Some(BackupDelay::OFF), Some(Arc::new(NoPolicy) as Arc<_>));
            let options = CallOptions { backup, backup_policy: policy, ..CallOptions::default() };
            load::run(runtime, &channel, Load { calls, options, ..load.clone() }, |_| {})
        };
        let callers = u64::from(options.concurrency);
        let probe = unmeasured(callers.max(measurement.servers as u64));
        let stopped = || stop.load(Ordering::Relaxed);
        // Servers that fail later, in the second run, are part of what is measured.
        let unusable = probe.tally.ok() == 0 && measurement.runs.is_empty() && !stopped();
        if let Some(error) = probe.first_error.filter(|_| unusable) {
            return Err(format!("no usable server: {error}").into());
        }
        unmeasured(WARM_UP.max(callers));
        if stopped() {
            break;
        }
        let bar = progress_bar(hedging.name(), options.calls());
        let outcome = load::run(runtime, &channel, load, |done| bar.set_position(done));
        bar.finish_and_clear();
        let decisions = hedging.decisions(&channel, limits, outcome.took);
        measurement.runs.push(outcome.tally.finish(hedging.name(), outcome.took, decisions));
    }
    Ok(measurement)
}

fn start_replicas(seed: u64) -> io::Result<Vec<Replica>> {
    let start = |index| {
        let mut times = ServiceTimes::new(seed, index);
        Replica::start(move || Answer::ok(times.next().unwrap_or_default()))
    };
    (0..REPLICAS).map(start).collect()
}

/// A bar on stderr; hidden where that is no terminal.
fn progress_bar(name: &'static str, calls: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>6} {bar:50} {pos}/{len} calls").ok();
    let bar = ProgressBar::new(calls).with_prefix(name);
    if let Some(style) = style { bar.with_style(style) } else { bar }
}

fn report(options: &Options, limits: LimitOptions, measurement: &Measurement) -> Result<(), Failure> {
    let curves = measurement.runs.iter().map(|run| Curve { name: run.name, sorted_us: &run.latencies_us });
    let chart = Chart::new(curves);
    if let (Some(file), Some(chart)) = (&options.svg, &chart) {
        fs::write(file, chart.svg()).map_err(|error| format!("--svg {}: {error}", file.display()))?;
    }
    if options.json {
        return print(&format!("{}\n", serde_json::to_string(measurement)?));
    }
    let servers = match (&options.servers, measurement.servers) {
        (None, _) => "replicas in this process",
        (Some(_), 1) => "server",
        (Some(_), _) => "servers",
    };
    let (backup, limits) = (options.backup_text(), cli::limits_text(&limits));
    let title = format!(
        "{} {servers}, {} calls a run, {} at a time, timeout {}, {}, {}\n{backup}, {limits}",
        measurement.servers,
        options.calls(),
        measurement.concurrency,
        cli::in_millis(options.timeout_ms),
        options.balancer,
        options.runtime.name(),
    );
    let chart = chart.map_or_else(|| "nothing was measured\n".into(), |chart| format!("\n{}", chart.text()));
    print(&format!("{title}\n\n{}{chart}", measurement.table()))
}

/// Writes to stdout. A reader that has seen enough is not an error.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// One line on stderr; nobody is left to be told if that fails.
fn complain(what: &str, text: &str) {
    let _ = writeln!(io::stderr(), "{what}: {}", text.replace('\n', " "));
}

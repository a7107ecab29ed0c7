//! The redundancy threshold: up to which load it pays to send every request to two servers and take the faster answer,
//! where the slower one is served to its end all the same.
//!
//! Two copies double the load. With servers that are FIFO queues of one worker and Poisson arrivals, they pay below a load of
//! exactly 1/3 if service times are exponential, and below about 0.27 if they are constant. (The question is that of
//! Vulimiri and others, *Low latency via redundancy*, 2013.)
//!
//! The theory has independent queues. Here the two copies of a request meet two of 1,000, chosen at random, so that the queues
//! of one have next to nothing to do with those of another: with 100 that would cost two copies up to half a percent of their
//! mean, and more than they gain at a load of 0.27.

use hedge_core::policy::{BackupDelay, ChannelOptions, NoPolicy};
use hedge_core::time::{Duration, Timeout};

use crate::model::scale;
use crate::{Broken, FleetOf, Latency, Load, Measured};

/// How many servers there are.
const SERVERS: usize = 1_000;

/// The mean service time.
pub const UNIT: Duration = Duration::from_secs(1);

/// How long a server works on a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// Always [`UNIT`]: M/D/1 queues.
    Constant,
    /// M/M/1 queues.
    Exponential,
}

/// Requests that arrive as a Poisson process and keep each server busy for `load` of the time, as long as there is one copy
/// of each; `requests` of them are measured. A second copy is a backup after no time at all.
///
/// # Errors
/// As [`FleetOf::run`].
pub fn run(service: Service, load: f64, two_copies: bool, requests: usize, seed: u64) -> Result<Measured, Broken> {
    let latency = match service {
        Service::Constant => Latency::Constant(UNIT),
        Service::Exponential => Latency::Exponential(UNIT),
    };
    let backup = if two_copies { BackupDelay::after(Duration::ZERO) } else { BackupDelay::OFF };
    let options = ChannelOptions { backup, timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    let fleet = FleetOf::<SERVERS> { latency, workers: 1, options };
    let every = Latency::Exponential(scale(UNIT, 1.0 / (load * SERVERS as f64)));
    fleet.run(NoPolicy, &Load { requests, warm_up: requests / 10, keys: 1, every, seed })
}

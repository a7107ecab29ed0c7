//! Which servers take calls: checks of servers whose connection broke, circuit breakers, and a careful return after an
//! outage ([H1](crate::rules#H1) to [H5](crate::rules#H5)).
//!
//! These parts only decide, as everywhere in this crate: each is told the time and what happened, and answers what to
//! do.
//!
//! | part | per | says |
//! |---|---|---|
//! | [`Checker`] | server | when to check the server after its connection broke, and when it is back ([H1](crate::rules#H1)) |
//! | [`Breaker`] | channel, with a small state a server | whether a server fails too much, for how long it is isolated, and which attempt probes it ([H2](crate::rules#H2)) |
//! | [`RecoveryPolicy`] | channel | whether a call is let in while servers come back after all were down ([H3](crate::rules#H3)) |
//! | [`IsolationLimit`] | channel | how many servers breakers may isolate ([H4](crate::rules#H4)) |
//! | [`Health`] | channel, with a [`ServerHealth`] a server | all of these together, for the code that selects servers |
//!
//! A server takes calls unless its checker has published it as unusable, or its breaker isolates it. The two have
//! different limits: a broken connection isolates its server however many others are out, but breakers never isolate
//! more than their share of the servers ([H4](crate::rules#H4)).
//!
//! # By hand
//!
//! A [`Channel`](crate::channel::Channel) runs its breaker by itself. Checks need code that connects:
//!
//! ```
//! use hedge_core::balance::RoundRobin;
//! use hedge_core::channel::Channel;
//! use hedge_core::health::*;
//! use hedge_core::policy::{ChannelOptions, NoPolicy};
//! use hedge_core::random::Seeds;
//! use hedge_core::time::{Duration, Instant};
//!
//! let breaker = ConsecutiveFailures::new(FailureOptions::DEFAULT)?;
//! let health = Health::new(breaker, IsolationLimit::DEFAULT)?;
//! let mut line: Channel<&str, RoundRobin, NoPolicy, &str, 8, ConsecutiveFailures> =
//!     Channel::with_health(ChannelOptions::brpc(), RoundRobin::new(7), NoPolicy, health, 7);
//! let server = line.insert("10.0.0.1:80", "")?;
//! let mut checker = Checker::new(CheckOptions::DEFAULT, &Seeds::new(7))?;
//!
//! // A connection to it was refused.
//! let mut now = Instant::from_millis(5);
//! checker.handle(now, CheckInput::Broken);
//! let mut connected = 0;
//! while connected == 0 || !line.usable(server, now) {
//!     match checker.poll(now) {
//!         CheckAction::Publish { usable } => _ = line.set_broken(server, !usable, now),
//!         CheckAction::Wait { until } => now = until.unwrap_or(now), // sleep
//!         CheckAction::Connect { check, .. } => {
//!             connected += 1; // connect
//!             checker.handle(now, CheckInput::Passed { check });
//!         }
//!         CheckAction::Ask { .. } | CheckAction::Abandon { .. } | CheckAction::Done => break,
//!     }
//! }
//! assert!(line.usable(server, now) && now > Instant::from_millis(2_400));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod breaker;
mod check;
mod circuit;
mod consecutive;
mod error;
mod gate;
mod host;
mod recovery;
mod replace;
mod window;

pub use breaker::{AnyBreaker, Breaker, BreakerChange, BreakerOptions, NoBreaker, Outcome, Recovering};
pub use check::{CheckAction, CheckId, CheckInput, CheckOptions, Checker};
pub use circuit::{CircuitBreaker, CircuitOptions, CircuitState, WindowOptions};
pub use consecutive::{ConsecutiveFailures, FailureOptions, FailureState};
pub use error::HealthError;
pub use gate::{Gate, IsolationOptions};
pub use host::{Health, ServerHealth};
pub use recovery::{IsolationLimit, RecoveryOptions, RecoveryPolicy};

use crate::time::{Duration, Instant, Micros};

/// An instant in units of 1,024 microseconds, modulo 2^32 (51 days). It fits one word on every target, and needs no
/// division.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
const fn units(now: Instant) -> u32 {
    (now.as_micros() >> UNIT_BITS) as u32
}

/// A span in units, rounded up. A span above an hour counts as an hour, which no option exceeds.
#[expect(clippy::cast_possible_truncation, reason = "an hour is 3.6 million units")]
const fn units_of(span: Micros) -> u32 {
    let hour = Micros::from_duration(HOUR).as_micros();
    let micros = if span.as_micros() < hour { span.as_micros() } else { hour };
    ((micros + (1 << UNIT_BITS) - 1) >> UNIT_BITS) as u32
}

const UNIT_BITS: u32 = 10;
/// The longest span of an option here.
const HOUR: Duration = Duration::from_secs(3_600);

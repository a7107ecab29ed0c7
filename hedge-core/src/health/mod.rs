//! Decides which servers take calls. The parts are checks of servers whose connection broke, circuit breakers, and the
//! recovery after an outage ([H1](crate::rules#H1) to [H5](crate::rules#H5)).
//!
//! Each part only decides: its input is the time and the events, and its result is the next step. Other code connects,
//! sleeps and sends.
//!
//! | part | per | says |
//! |---|---|---|
//! | [`Checker`] | server | when to check the server after its connection broke, and when it is back ([H1](crate::rules#H1)) |
//! | [`Breaker`] | channel, with a small state for each server | whether a server fails too much, for how long it is isolated, and which attempt probes it ([H2](crate::rules#H2)) |
//! | [`RecoveryPolicy`] | channel | whether a call is let in while servers come back after all were down ([H3](crate::rules#H3)) |
//! | [`IsolationLimit`] | channel | how many servers breakers may isolate ([H4](crate::rules#H4)) |
//! | [`Health`] | channel, with a [`ServerHealth`] for each server | all of these together, for the code that selects servers |
//!
//! A server takes calls unless its checker has reported it as unusable, or its breaker isolates it. Checkers and
//! breakers have different limits. A server whose connection broke takes no calls, even if no other server takes calls.
//! Breakers never isolate more than a stated share of the servers ([H4](crate::rules#H4)).
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
//! let breaker = ConsecutiveFailures::new(FailureOptions::DEFAULT);
//! let health = Health::new(breaker, IsolationLimit::DEFAULT);
//! let mut line: Channel<&str, RoundRobin, NoPolicy, &str, 8, ConsecutiveFailures> =
//!     Channel::with_health(ChannelOptions::brpc(), RoundRobin::new(7), NoPolicy, health, 7);
//! let server = line.insert("10.0.0.1:80", "")?;
//! let mut checker = Checker::new(CheckOptions::DEFAULT, &Seeds::new(7));
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
mod gate;
mod host;
mod recovery;
mod replace;
mod window;

pub use breaker::{AnyBreaker, Breaker, BreakerChange, BreakerOptions, NoBreaker, Outcome, Recovering};
pub use check::{CheckAction, CheckId, CheckInput, CheckInterval, CheckOptions, Checker};
pub use circuit::{
    CircuitBreaker, CircuitOptions, CircuitState, ErrorPercent, WindowOptions, WindowOptionsError, WindowSize,
};
pub use consecutive::{ConsecutiveFailures, FailureOptions, FailureState};
pub use gate::{Gate, IsolationOptions, IsolationTimes};
pub use host::{Health, ServerHealth};
pub use recovery::{IsolationLimit, RecoveryOptions, RecoveryPolicy};

use crate::time::{Instant, Micros};

/// Returns an instant in units of 1,024 microseconds, modulo 2^32 (51 days). Such an instant fits into one word on
/// every target, and computing it needs no division.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
const fn units(now: Instant) -> u32 {
    (now.as_micros() >> UNIT_BITS) as u32
}

/// Returns a span in units of 1,024 microseconds, rounded up. Spans above an hour are cut to an hour, which is the
/// longest span that the options allow.
#[expect(clippy::cast_possible_truncation, reason = "an hour is 3.6 million units")]
const fn units_of(span: Micros) -> u32 {
    let hour = Micros::from_millis(HOUR_MS).as_micros();
    let micros = if span.as_micros() < hour { span.as_micros() } else { hour };
    ((micros + (1 << UNIT_BITS) - 1) >> UNIT_BITS) as u32
}

const UNIT_BITS: u32 = 10;
/// The longest span of an option in this module, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

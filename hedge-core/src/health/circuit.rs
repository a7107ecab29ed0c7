//! brpc's circuit breaker: [`CircuitBreaker`] ([H2](crate::rules#H2)).

use super::window::{Names, Window, WindowState};
use super::{Breaker, Gate, HealthError, IsolationOptions};
use crate::atomic::AtomicU32;
use crate::time::Micros;

pub use super::window::WindowOptions;

/// The options of a [`CircuitBreaker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CircuitOptions {
    /// The short window, which soon detects many failures. Default 1500 calls and 10 %.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::short"))]
    pub short: WindowOptions,
    /// The long window, which detects fewer failures that go on. Default 3000 calls and 5 %.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::long"))]
    pub long: WindowOptions,
    /// For how long it isolates.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::isolation"))]
    pub isolation: IsolationOptions,
}

impl CircuitOptions {
    /// brpc's defaults.
    pub const DEFAULT: Self = Self {
        short: WindowOptions { size: 1_500, max_error_percent: 10 },
        long: WindowOptions { size: 3_000, max_error_percent: 5 },
        isolation: IsolationOptions::DEFAULT,
    };

    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        const SHORT: Names = Names { size: "short.size", max_error_percent: "short.max_error_percent" };
        const LONG: Names = Names { size: "long.size", max_error_percent: "long.max_error_percent" };
        if let Err(error) = self.short.validate(&SHORT) {
            return Err(error);
        }
        if let Err(error) = self.long.validate(&LONG) {
            return Err(error);
        }
        self.isolation.validate()
    }
}

impl Default for CircuitOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Isolates a server whose failures cost too much of its time, as brpc's `CircuitBreaker` does.
///
/// Each of two windows keeps a moving mean of the successes' latency, and a decaying sum of what failures cost. A
/// failure adds its latency to the sum, but at most twice the mean. A success takes the share 1 - 0.02^(1 / size) of
/// the sum away. A window is unhealthy when the sum is above 1.02 × mean × size × percent. Until it has seen `size`
/// calls, it counts failures instead, and is unhealthy when a call fails after size × percent have failed. The short
/// window is asked only if the long one is healthy. When a server returns, costs are forgotten, and a window that was
/// not full begins anew.
///
/// It differs from brpc in three things. The server is probed instead of checked and trusted (*better*: a server that
/// accepts connections and fails calls is back in isolation after one call instead of some hundred). Feedback from
/// before the probing decides nothing. Latencies are capped so that the sum fits in 32 bits: at 28 s with the default
/// windows, at 4 s with the largest.
///
/// Cost: a success is three loads and a compare-and-swap a window, once it is full and nothing has failed lately; otherwise a
/// feedback is up to three compare-and-swaps a window. No division, no floating point. 32 bytes a server, 96 a channel.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreaker {
    long: Window,
    short: Window,
    /// The longest latency that is counted, in microseconds.
    longest: u32,
    isolation: IsolationOptions,
}

/// What a [`CircuitBreaker`] knows of a server.
#[derive(Debug, Default)]
pub struct CircuitState {
    gate: Gate,
    long: WindowState,
    short: WindowState,
}

impl CircuitState {
    /// Forgets what was counted. Whether the server is isolated stays as it is.
    pub(super) fn forget(&self) {
        self.long.forget();
        self.short.forget();
    }

    pub(super) const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The word in which [`AnyBreaker`](super::AnyBreaker) counts failures in a row.
    pub(super) const fn consecutive(&self) -> &AtomicU32 {
        &self.long.counts
    }
}

impl CircuitBreaker {
    /// A breaker for the servers of a channel.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: CircuitOptions) -> Result<Self, HealthError> {
        options.validate()?;
        let (long, short) = (Window::new(options.long), Window::new(options.short));
        Ok(Self { long, short, longest: long.longest().min(short.longest()), isolation: options.isolation })
    }

    /// Whether both count in the same windows.
    pub(super) fn counts_as(&self, other: &Self) -> bool {
        (self.long, self.short) == (other.long, other.short)
    }
}

impl Breaker for CircuitBreaker {
    type State = CircuitState;

    fn isolation(&self) -> &IsolationOptions {
        &self.isolation
    }

    fn gate<'s>(&self, state: &'s CircuitState) -> Option<&'s Gate> {
        Some(state.gate())
    }

    fn count(&self, state: &CircuitState, failed: bool, latency: Micros) -> bool {
        let latency = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).min(self.longest);
        self.long.count(&state.long, failed, latency) && self.short.count(&state.short, failed, latency)
    }

    fn reset(&self, state: &CircuitState) {
        self.long.reset(&state.long);
        self.short.reset(&state.short);
    }
}

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use super::super::{IsolationOptions, WindowOptions};
    use crate::field::table::tables;

    tables! {
        short: "circuit_breaker.circuit.short", WindowOptions;
        long: "circuit_breaker.circuit.long", WindowOptions;
        isolation: "circuit_breaker.circuit.isolation", IsolationOptions;
    }
}

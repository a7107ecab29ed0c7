//! The circuit breaker of brpc: [`CircuitBreaker`] ([H2](crate::rules#H2)).

use super::window::{Window, WindowState};
use super::{Breaker, Gate, IsolationOptions};
use crate::atomic::AtomicU32;
use crate::time::Micros;

pub use super::window::{ErrorPercent, WindowOptions, WindowOptionsError, WindowSize};

/// The options of a [`CircuitBreaker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CircuitOptions {
    /// The short window. It quickly detects a high rate of failures. Default 1500 calls and 10 %.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::short"))]
    pub short: WindowOptions,
    /// The long window. It detects a lower rate of failures that lasts longer. Default 3000 calls and 5 %.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::long"))]
    pub long: WindowOptions,
    /// How long the breaker isolates a server, and how it probes the server.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::isolation"))]
    pub isolation: IsolationOptions,
}

impl CircuitOptions {
    /// The defaults of brpc.
    pub const DEFAULT: Self = Self {
        short: WindowOptions::of::<1_500, 10>(),
        long: WindowOptions::of::<3_000, 5>(),
        isolation: IsolationOptions::DEFAULT,
    };
}

impl Default for CircuitOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A breaker that isolates a server whose failures cost too much time, as brpc's `CircuitBreaker` does.
///
/// There are two windows. Each of them holds a moving mean of the latency of successes, and a decaying sum of the costs
/// of failures. A failure adds its latency to the sum, but at most twice the mean. A success multiplies the sum by
/// 0.02^(1 / size). A window is unhealthy when the sum is above 1.02 × mean × size × percent. Until a window has seen
/// `size` calls, it counts failures instead: it is unhealthy when one more call fails after size × percent calls have
/// failed. The short window is checked only if the long one is healthy. When a server returns, the costs are deleted,
/// and a window that was not full begins again.
///
/// There are three differences from brpc. First, a server is probed after its isolation, while brpc trusts a server as
/// soon as it connects. This is *better*: a server that accepts connections and fails calls is isolated again after one
/// call, instead of after some hundred calls. Second, the feedback of attempts that began before the probing does not
/// change the state. Third, latencies are capped so that the sum fits into 32 bits. The cap is 28 s with the default
/// windows, and 4 s with the largest windows.
///
/// Cost: if a window is full and no call has failed lately, a success is three loads and a compare-and-swap for each
/// window. Otherwise a call's end is up to three compare-and-swaps for each window. There is no division and no
/// floating point. Memory: 32 bytes for each server, 80 bytes for each channel.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreaker {
    long: Window,
    short: Window,
    /// The longest latency that is counted, in microseconds.
    longest: u32,
    isolation: IsolationOptions,
}

/// The state that [`CircuitBreaker`] keeps for a server.
#[derive(Debug, Default)]
pub struct CircuitState {
    gate: Gate,
    long: WindowState,
    short: WindowState,
}

impl CircuitState {
    /// Deletes the counts of both windows. This does not change whether the server is isolated.
    pub(super) fn forget(&self) {
        self.long.forget();
        self.short.forget();
    }

    pub(super) const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns the word in which [`AnyBreaker`](super::AnyBreaker) counts failures in a row. The word is a part of the
    /// long window, which is not used then.
    pub(super) const fn consecutive(&self) -> &AtomicU32 {
        &self.long.counts
    }
}

impl CircuitBreaker {
    /// Makes a breaker for the servers of a channel.
    #[must_use]
    pub fn new(options: CircuitOptions) -> Self {
        let (long, short) = (Window::new(options.long), Window::new(options.short));
        Self { long, short, longest: long.longest().min(short.longest()), isolation: options.isolation }
    }

    /// Returns whether this breaker and `other` have equal windows, so that the counts of one are valid for the other.
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

/// Reads the fields of the options from files.
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

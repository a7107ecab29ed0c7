//! A breaker that counts failures in a row: [`ConsecutiveFailures`] ([H2](crate::rules#H2)).

use super::{Breaker, Gate, IsolationOptions};
use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::bounded::Bounded;
use crate::time::Micros;

/// The options of [`ConsecutiveFailures`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FailureOptions {
    /// How many failures in a row isolate a server. Default 5, as in Finagle and Envoy.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::failures"))]
    pub failures: Bounded<1, 4_294_967_295>,
    /// How long the breaker isolates a server, and how it probes the server.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::isolation"))]
    pub isolation: IsolationOptions,
}

impl FailureOptions {
    /// The default options.
    pub const DEFAULT: Self = Self { failures: Bounded::of::<5>(), isolation: IsolationOptions::DEFAULT };
}

impl Default for FailureOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A breaker that isolates a server after a number of failures in a row. It quickly detects a dead server. It never
/// detects a server that fails only every second call.
///
/// Cost: a success is one load, and a failure is one compare-and-swap. Memory: 12 bytes for each server.
#[derive(Clone, Copy, Debug)]
pub struct ConsecutiveFailures {
    options: FailureOptions,
}

/// The state that [`ConsecutiveFailures`] keeps for a server.
#[derive(Debug, Default)]
pub struct FailureState {
    gate: Gate,
    failures: AtomicU32,
}

impl ConsecutiveFailures {
    /// Makes a breaker for the servers of a channel.
    #[must_use]
    pub const fn new(options: FailureOptions) -> Self {
        Self { options }
    }

    pub(super) fn count_in(&self, failures: &AtomicU32, failed: bool) -> bool {
        if !failed {
            Self::reset_in(failures);
            return true;
        }
        let before = failures.fetch_update(Relaxed, Relaxed, |failures| failures.checked_add(1));
        before.is_ok_and(|failures| failures + 1 < self.options.failures.get())
    }

    pub(super) fn reset_in(failures: &AtomicU32) {
        // The count is usually 0 already. This check saves the write.
        if failures.load(Relaxed) != 0 {
            failures.store(0, Relaxed);
        }
    }
}

impl Breaker for ConsecutiveFailures {
    type State = FailureState;

    fn isolation(&self) -> &IsolationOptions {
        &self.options.isolation
    }

    fn gate<'s>(&self, state: &'s FailureState) -> Option<&'s Gate> {
        Some(&state.gate)
    }

    fn count(&self, state: &FailureState, failed: bool, _: Micros) -> bool {
        self.count_in(&state.failures, failed)
    }

    fn reset(&self, state: &FailureState) {
        Self::reset_in(&state.failures);
    }
}

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{Bounded, IsolationOptions};
    use crate::field::named::fields;
    use crate::field::table::tables;

    fields! {
        failures: required, "circuit_breaker.consecutive_failures.failures", Bounded<1, 4_294_967_295>;
    }
    tables! {
        isolation: "circuit_breaker.consecutive_failures.isolation", IsolationOptions;
    }
}

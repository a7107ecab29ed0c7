//! A breaker that counts failures in a row: [`ConsecutiveFailures`] ([H2](crate::rules#H2)).

use super::{Breaker, Gate, HealthError, IsolationOptions};
use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::time::Micros;

/// The options of [`ConsecutiveFailures`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FailureOptions {
    /// How many in a row isolate a server, at least 1. Default 5, Finagle's and Envoy's.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::failures"))]
    pub failures: u32,
    /// For how long it isolates.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::isolation"))]
    pub isolation: IsolationOptions,
}

impl FailureOptions {
    /// The defaults.
    pub const DEFAULT: Self = Self { failures: 5, isolation: IsolationOptions::DEFAULT };

    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        if let Err(error) = HealthError::number("failures", self.failures, 1, u32::MAX, "[1, 4294967295]") {
            return Err(error);
        }
        self.isolation.validate()
    }
}

impl Default for FailureOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Isolates a server after a number of failures in a row, whatever they cost. It soon detects a server that is dead. It
/// never detects one that fails every other call.
///
/// Cost: a success is a load, a failure a compare-and-swap. 12 bytes a server.
#[derive(Clone, Copy, Debug)]
pub struct ConsecutiveFailures {
    options: FailureOptions,
}

/// What [`ConsecutiveFailures`] knows of a server.
#[derive(Debug, Default)]
pub struct FailureState {
    gate: Gate,
    failures: AtomicU32,
}

impl ConsecutiveFailures {
    /// A breaker for the servers of a channel.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: FailureOptions) -> Result<Self, HealthError> {
        options.validate().map(|()| Self { options })
    }

    pub(super) fn count_in(&self, failures: &AtomicU32, failed: bool) -> bool {
        if !failed {
            Self::reset_in(failures);
            return true;
        }
        let before = failures.fetch_update(Relaxed, Relaxed, |failures| failures.checked_add(1));
        before.is_ok_and(|failures| failures + 1 < self.options.failures)
    }

    pub(super) fn reset_in(failures: &AtomicU32) {
        // It usually is 0 already, and is then not written.
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

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use super::IsolationOptions;
    use crate::field::named::fields;
    use crate::field::table::tables;

    fields! {
        failures: required, "circuit_breaker.consecutive_failures.failures", u32, "an integer in [1, 4294967295]";
    }
    tables! {
        isolation: "circuit_breaker.consecutive_failures.isolation", IsolationOptions;
    }
}

//! Expectations, and whether all of them hold.

use cortex_m_semihosting::hprintln;

/// Prints each expectation and keeps the verdict.
pub(crate) struct Verdict {
    failures: u32,
}

impl Verdict {
    /// A verdict without expectations.
    pub(crate) const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Prints one expectation, and whether it holds.
    pub(crate) fn expect(&mut self, what: &str, holds: bool) {
        if !holds {
            self.failures = self.failures.saturating_add(1);
        }
        hprintln!("{} {}", if holds { "ok" } else { "FAIL" }, what);
    }

    /// Whether all expectations hold.
    pub(crate) const fn passed(&self) -> bool {
        self.failures == 0
    }
}

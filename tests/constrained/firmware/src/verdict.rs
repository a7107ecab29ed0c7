//! What was expected, line by line, and whether all of it held.

use cortex_m_semihosting::hprintln;

/// Prints each expectation and keeps the verdict.
pub(crate) struct Verdict {
    failures: u32,
}

impl Verdict {
    /// Nothing has failed yet.
    pub(crate) const fn new() -> Self {
        Self { failures: 0 }
    }

    /// One expectation.
    pub(crate) fn expect(&mut self, what: &str, holds: bool) {
        if !holds {
            self.failures = self.failures.saturating_add(1);
        }
        hprintln!("{} {}", if holds { "ok" } else { "FAIL" }, what);
    }

    /// Whether everything held.
    pub(crate) const fn passed(&self) -> bool {
        self.failures == 0
    }
}

//! How many calls of a run may fail: [`Allowed`].

use crate::cell::{Balancer, Cell, Settings};
use crate::fault::Fault;

/// One call in so many may fail in any run.
const ONE_IN: u64 = 200;
/// A server that was found out is tried again after 100 ms, 200 ms and so on, by one call each. Not more of these than so many
/// end in a run.
const PROBES: u64 = 8;

/// How many calls may fail, and why so many if that is more than one in 200.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allowed {
    pub(crate) failed: u64,
    pub(crate) why: Option<&'static str>,
}

impl Allowed {
    /// In a run of so many calls.
    pub(crate) fn of(cell: Cell, calls: u64, settings: Settings) -> Self {
        let most = calls / ONE_IN;
        // Before the first deadline nothing tells that a server is silent, and by then each caller may wait at it.
        let unknown = settings.callers + PROBES;
        match (cell.fault, cell.balancer, cell.backups) {
            (Fault::Swallowing, Balancer::Rr, backups) => Self::excused(calls, backups),
            _ if cell.fault.is_silent() && unknown > most => Self {
                failed: unknown,
                why: Some("each caller waits once at a silent server until its first deadline"),
            },
            _ => Self { failed: most, why: None },
        }
    }

    /// Round-robin sends a third of the calls to a server that answers every other one of them, and so many failures in a
    /// row it does not have. Without backups the sixth that gets no answer fails; with them a tenth of the calls may be
    /// repeated by the default limits, and the rest fails.
    const fn excused(calls: u64, backups: bool) -> Self {
        let (per_mille, why) = if backups {
            (
                80,
                "a sixth of the calls get no answer, the default limits allow backups for a tenth, and failures are not in a row",
            )
        } else {
            (180, "a sixth of the calls get no answer, and failures are not in a row")
        };
        Self { failed: calls * per_mille / 1_000, why: Some(why) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(fault: Fault, balancer: Balancer, backups: bool, calls: u64) -> Allowed {
        let settings = Settings { calls, callers: 16, seed: 1, at_most: Duration::MAX, work: Duration::ZERO };
        Allowed::of(Cell { fault, balancer, backups }, calls, settings)
    }

    #[test]
    fn half_a_percent_of_a_full_run_may_fail_but_for_the_cells_that_are_argued() {
        for fault in Fault::ALL {
            for balancer in Balancer::ALL {
                for backups in [false, true] {
                    let allowed = of(fault, balancer, backups, 10_000);
                    let argued = fault == Fault::Swallowing && balancer == Balancer::Rr;
                    assert_eq!(allowed.why.is_some(), argued, "{fault:?} {balancer:?}");
                    assert!(argued || allowed.failed == 50, "{fault:?} {balancer:?}");
                }
            }
        }
    }

    #[test]
    fn a_short_run_may_lose_a_call_a_caller_to_a_silent_server() {
        assert_eq!(of(Fault::Hung, Balancer::La, true, 1_000).failed, 24);
        assert_eq!(of(Fault::Resetting, Balancer::La, true, 1_000), Allowed { failed: 5, why: None });
    }
}

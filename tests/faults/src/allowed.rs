//! What a run may cost: [`Allowed`].

use crate::cell::{Balancer, Cell, Settings};
use crate::fault::Fault;
use crate::load::Tally;

/// One call in so many may fail in any run.
const ONE_IN: u64 = 200;
/// A server that was found out is tried again after 100 ms, 200 ms and so on, by one call each. Not more of these than so many
/// end in a run.
const PROBES: u64 = 8;
/// A reused connection that breaks says nothing of its server: the request goes once more, outside of attempts (C3). What is
/// above one attempt a call is for backups on a busy machine.
const ATTEMPTS: f64 = 1.05;

/// How many calls may fail and how many attempts a call there may be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Allowed {
    pub(crate) failed: u64,
    /// A call.
    attempts: f64,
    /// All calls must have been made in the time that there is.
    whole: bool,
    /// Why more than one call in 200 may fail.
    pub(crate) why: Option<&'static str>,
}

/// How a run was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Good,
    /// More than one call in 200 failed, and that is argued.
    Argued,
    TooManyFailed,
    TooManyAttempts,
    /// The time was over before all calls had begun.
    TooSlow,
}

impl Verdict {
    pub(crate) const fn is_bad(self) -> bool {
        !matches!(self, Self::Good | Self::Argued)
    }

    /// At the end of a row.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Good => "",
            Self::Argued => "  argued",
            Self::TooManyFailed => "  <- failed",
            Self::TooManyAttempts => "  <- attempts",
            Self::TooSlow => "  <- too slow",
        }
    }
}

impl Allowed {
    /// In a run of so many calls.
    pub(crate) fn of(cell: Cell, calls: u64, settings: Settings) -> Self {
        let most = calls / ONE_IN;
        // Before the first deadline nothing tells that a server is silent, and by then each caller may wait at it.
        let unknown = settings.callers + PROBES;
        let attempts = if cell.fault.breaks_reused_connections() { ATTEMPTS } else { f64::INFINITY };
        let usual = Self { failed: most, attempts, whole: true, why: None };
        if cell.fault == Fault::Hung && settings.attempt_timeout.is_some() {
            return Self { failed: 0, ..usual };
        }
        match (cell.fault, cell.balancer, cell.backups) {
            (Fault::Swallowing, Balancer::Rr, backups) => usual.round_robin_at_a_swallowing_server(calls, backups),
            _ if cell.fault.is_silent() && unknown > most => Self {
                failed: unknown,
                why: Some("each caller waits once at a silent server until its first deadline"),
                ..usual
            },
            _ => usual,
        }
    }

    /// Round-robin sends a third of the calls to a server that answers every other one of them, and so many failures in a
    /// row it does not have. Without backups the sixth that gets no answer fails; with them a tenth of the calls may be
    /// repeated by the default limits, and the rest fails. That many deadlines take longer than a run has.
    const fn round_robin_at_a_swallowing_server(self, calls: u64, backups: bool) -> Self {
        let (per_mille, why) = if backups {
            (
                80,
                "a sixth of the calls get no answer, and the limits allow backups for a tenth; failures are not in a row",
            )
        } else {
            (180, "a sixth of the calls get no answer; failures are not in a row")
        };
        Self { failed: calls * per_mille / 1_000, whole: false, why: Some(why), ..self }
    }

    /// How a run was.
    pub(crate) fn judge(self, tally: &Tally, settings: Settings) -> Verdict {
        if tally.failed() > self.failed {
            Verdict::TooManyFailed
        } else if self.whole && tally.calls() < settings.calls {
            Verdict::TooSlow
        } else if tally.since.a_call() > self.attempts {
            Verdict::TooManyAttempts
        } else if tally.failed() > tally.calls() / ONE_IN {
            Verdict::Argued
        } else {
            Verdict::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Attempts;

    fn settings(calls: u64) -> Settings {
        Settings { calls, callers: 16, seed: 1, at_most: Duration::MAX, work: Duration::ZERO, attempt_timeout: None }
    }

    fn of(fault: Fault, balancer: Balancer, backups: bool, calls: u64) -> Allowed {
        Allowed::of(Cell { fault, balancer, backups }, calls, settings(calls))
    }

    #[test]
    fn half_a_percent_of_a_full_run_may_fail_but_for_the_runs_that_are_argued() {
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
        assert_eq!(of(Fault::Resetting, Balancer::La, true, 1_000).failed, 5);
    }

    /// A run of 1,000 calls, or as many as were made.
    fn judge(allowed: Allowed, made: usize, failed: u64, attempts: u64) -> Verdict {
        let since = Attempts { calls: 1_000, all: attempts, at_bad: 0 };
        let failures = [("reset".to_owned(), failed)].into();
        let tally = Tally { latencies: vec![1; made], failures, since, ..Tally::default() };
        allowed.judge(&tally, settings(1_000))
    }

    #[test]
    fn a_run_is_bad_that_fails_more_makes_more_attempts_or_does_not_end() {
        let resetting = of(Fault::Resetting, Balancer::Rr, true, 1_000);
        assert_eq!(judge(resetting, 1_000, 5, 1_050), Verdict::Good);
        assert_eq!(judge(resetting, 1_000, 6, 1_000), Verdict::TooManyFailed);
        assert_eq!(judge(resetting, 1_000, 0, 1_051), Verdict::TooManyAttempts);
        assert_eq!(judge(resetting, 999, 0, 1_000), Verdict::TooSlow);
        let slow = of(Fault::Slow, Balancer::Rr, true, 1_000);
        assert_eq!(judge(slow, 1_000, 0, 2_000), Verdict::Good, "retries and backups have limits of their own");
    }

    #[test]
    fn what_is_argued_has_a_bound_too() {
        let swallowing = of(Fault::Swallowing, Balancer::Rr, true, 1_000);
        assert_eq!(judge(swallowing, 900, 5, 1_000), Verdict::Argued);
        assert_eq!(judge(swallowing, 1_000, 80, 1_000), Verdict::Argued);
        assert_eq!(judge(swallowing, 1_000, 81, 1_000), Verdict::TooManyFailed);
        assert_eq!(judge(swallowing, 1_000, 5, 1_000), Verdict::Good);
    }
}

//! Checks a server after its connection broke: [`Checker`] ([H1](crate::rules#H1)).

use crate::bounded::BoundedSpan;
use crate::random::Seeds;
use crate::time::{Instant, Micros};

/// The smallest factor of an interval, in 65536ths. The factor is `SHORTEST` (0.8) plus a uniformly distributed part of
/// up to `SPREAD` (0.4).
const SHORTEST: u32 = 52_429;
const SPREAD: u32 = 26_215;

/// The time from a break or a failed check to the next check, in \[10 ms, 1 h\].
pub type CheckInterval = BoundedSpan<10, 3_600_000>;

/// The options of a [`Checker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CheckOptions {
    /// The time from the break, or from the end of a failed check, to the next check. Each interval is multiplied by a
    /// uniformly distributed factor from 0.8 to 1.2. Default 3 s, as in brpc.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::interval"))]
    pub interval: CheckInterval,
    /// The time limit for connecting, and also the time limit for the application's check. It is in \[1 ms, 1 h\].
    /// Default 500 ms, as in brpc.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::timeout"))]
    pub timeout: BoundedSpan<1, 3_600_000>,
    /// Whether the server must also pass the application's own check. Default false.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::application"))]
    pub application: bool,
}

impl CheckOptions {
    /// The defaults of brpc.
    pub const DEFAULT: Self =
        Self { interval: BoundedSpan::of_secs::<3>(), timeout: BoundedSpan::of_millis::<500>(), application: false };
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The number of one step of a check. A step is either connecting, or the application's check. A result that names a
/// step other than the present step is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CheckId(u16);

/// The next thing that the driver of a checker should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CheckAction {
    /// Inform the channel whether the server's connection is broken, by
    /// [`Channel::set_broken`](crate::channel::Channel::set_broken).
    Publish {
        /// Whether the server takes calls.
        usable: bool,
    },
    /// Connect to the server, and report whether the connection was made.
    Connect {
        /// The number of the step. Pass it back with the result.
        check: CheckId,
        /// The time limit of the step. The step fails if there is no result at this instant.
        until: Instant,
    },
    /// Run the application's check, and report whether the server passed.
    Ask {
        /// The number of the step. Pass it back with the result.
        check: CheckId,
        /// The time limit of the step. The step fails if there is no result at this instant.
        until: Instant,
    },
    /// The result of this step is no longer needed.
    Abandon {
        /// The number of the step whose result is not needed.
        check: CheckId,
    },
    /// There is nothing to do for now.
    Wait {
        /// The instant at which the driver should poll again, or earlier if something happens. `None` means: poll again
        /// only if something happens.
        until: Option<Instant>,
    },
    /// The server was removed. The checker asks for nothing more.
    Done,
}

/// An input of a checker, such as the result of a step. The driver passes it to [`Checker::handle`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CheckInput {
    /// A connection of the server broke, or could not be made.
    Broken,
    /// A step has passed.
    Passed {
        /// The number of the step that has passed.
        check: CheckId,
    },
    /// A step has failed.
    Failed {
        /// The number of the step that has failed.
        check: CheckId,
    },
    /// Check at once and do not wait for the end of the interval, because another server has come back
    /// ([H5](crate::rules#H5)). A check that is running continues.
    Now,
    /// The server was removed from the list.
    Removed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CheckState {
    Healthy,
    /// The connection broke, or a check failed, at the instant `at`. The next check follows one interval later.
    Waiting,
    /// The next step is to connect to the server. `begun` says whether the driver was told to connect. If so, the
    /// checker's field `at` is the instant at which the driver was told.
    Connecting {
        begun: bool,
    },
    /// The next step is the application's check. `begun` says whether the driver was told to run the check. If so, the
    /// checker's field `at` is the instant at which the driver was told.
    Asking {
        begun: bool,
    },
    Removed,
}

/// Decides when to check one server ([H1](crate::rules#H1)).
///
/// A server is usable at first. When its connection breaks, the checker reports it as unusable. One interval later, the
/// checker asks for a connection to the server, and then for the application's check if there is one. If both pass, the
/// checker reports the server as usable. Otherwise the next check begins one interval after the failure. Each interval
/// is multiplied by a uniformly distributed factor in 0.8 to 1.2. So if several clients saw the same break, their first
/// checks are spread over 1.2 s (at the default interval of 3 s), and their later checks are spread over a longer time.
///
/// # The contract
///
/// The driver calls [`poll`](Self::poll) until the answer is [`Wait`](CheckAction::Wait). It then waits until the given
/// instant or until something happens. It passes each event to [`handle`](Self::handle), and polls again, as with a
/// [`Call`](crate::call::Call). `now` must not go back. The result of a step counts unless the driver has already
/// polled at or after the time limit of the step. Nothing changes if a result belongs to a step that is over, or if an
/// input repeats an earlier one. A poll does a constant amount of work. Memory: 48 bytes.
///
/// ```
/// use hedge_core::health::{CheckAction, CheckInput, CheckOptions, Checker};
/// use hedge_core::random::Seeds;
/// use hedge_core::time::Instant;
///
/// let mut checker = Checker::new(CheckOptions::DEFAULT, &Seeds::new(1));
/// checker.handle(Instant::ZERO, CheckInput::Broken);
/// assert_eq!(checker.poll(Instant::ZERO), CheckAction::Publish { usable: false });
/// let CheckAction::Wait { until: Some(at) } = checker.poll(Instant::ZERO) else { panic!("there is a check to wait for") };
/// assert!(Instant::from_millis(2_400) <= at && at <= Instant::from_millis(3_600));
/// let CheckAction::Connect { check, .. } = checker.poll(at) else { panic!("it is due") };
/// checker.handle(at, CheckInput::Passed { check });
/// assert_eq!(checker.poll(at), CheckAction::Publish { usable: true });
/// ```
#[derive(Clone, Debug)]
pub struct Checker {
    rng: fastrand::Rng,
    interval: Micros,
    timeout: Micros,
    application: bool,
    /// The last instant at which the connection broke, a check failed or a step began.
    at: Instant,
    /// The random factor of the present interval, in 65536ths.
    factor: u32,
    /// The number of the step that was begun last.
    check: CheckId,
    state: CheckState,
    /// Whether the driver still has to be told to abandon the latest step.
    abandon: bool,
    /// Whether the last report to the channel said that the server is usable.
    published: bool,
}

impl Checker {
    /// Makes the checker of a server. The server is usable at first.
    #[must_use]
    pub fn new(options: CheckOptions, seeds: &Seeds) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seeds.next()),
            interval: options.interval.micros(),
            timeout: options.timeout.micros(),
            application: options.application,
            at: Instant::ZERO,
            factor: SHORTEST,
            check: CheckId(0),
            state: CheckState::Healthy,
            abandon: false,
            published: true,
        }
    }

    /// Returns whether the server is usable according to the checks.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.state == CheckState::Healthy
    }

    /// Changes the interval. If an interval is running, the change applies to the running interval too: its new length
    /// counts from its start. So poll again after this call.
    pub fn set_interval(&mut self, interval: CheckInterval) {
        self.interval = interval.micros();
    }

    /// Informs the checker of an event.
    pub fn handle(&mut self, now: Instant, input: CheckInput) {
        match input {
            CheckInput::Broken if self.state == CheckState::Healthy => self.wait(now),
            CheckInput::Passed { check } if self.runs(check) => {
                self.state = match self.state {
                    CheckState::Connecting { .. } if self.application => CheckState::Asking { begun: false },
                    _ => CheckState::Healthy,
                };
            }
            CheckInput::Failed { check } if self.runs(check) => self.wait(now),
            CheckInput::Now if self.state == CheckState::Waiting => {
                self.state = CheckState::Connecting { begun: false }
            }
            CheckInput::Removed if self.state != CheckState::Removed => {
                self.abandon |= self.runs(self.check);
                self.state = CheckState::Removed;
            }
            _ => {}
        }
    }

    /// Returns the next thing that the driver should do. Call this until it returns `Wait` or `Done`.
    pub fn poll(&mut self, now: Instant) -> CheckAction {
        // The running step has failed, since there was no result in time.
        if self.runs(self.check) && self.step_ends() <= now {
            self.abandon = true;
            self.wait(now);
        }
        if core::mem::take(&mut self.abandon) {
            return CheckAction::Abandon { check: self.check };
        }
        if self.state == CheckState::Removed {
            return CheckAction::Done;
        }
        let usable = self.usable();
        if usable != self.published {
            self.published = usable;
            return CheckAction::Publish { usable };
        }
        if self.state == CheckState::Waiting && self.next_check() <= now {
            self.state = CheckState::Connecting { begun: false };
        }
        match &mut self.state {
            CheckState::Connecting { begun: begun @ false } => {
                *begun = true;
                let (check, until) = self.begin(now);
                CheckAction::Connect { check, until }
            }
            CheckState::Asking { begun: begun @ false } => {
                *begun = true;
                let (check, until) = self.begin(now);
                CheckAction::Ask { check, until }
            }
            CheckState::Waiting => CheckAction::Wait { until: Some(self.next_check()) },
            CheckState::Connecting { .. } | CheckState::Asking { .. } => {
                CheckAction::Wait { until: Some(self.step_ends()) }
            }
            CheckState::Healthy | CheckState::Removed => CheckAction::Wait { until: None },
        }
    }

    fn wait(&mut self, now: Instant) {
        self.state = CheckState::Waiting;
        self.at = now;
        self.factor = SHORTEST + self.rng.u32(..SPREAD);
    }

    fn begin(&mut self, now: Instant) -> (CheckId, Instant) {
        self.check = CheckId(self.check.0.wrapping_add(1));
        self.at = now;
        (self.check, self.step_ends())
    }

    /// Returns whether this step is the latest one and is running.
    fn runs(&self, check: CheckId) -> bool {
        matches!(self.state, CheckState::Connecting { begun: true } | CheckState::Asking { begun: true })
            && check == self.check
    }

    fn next_check(&self) -> Instant {
        // There is no overflow: an hour takes 32 bits of microseconds, and a factor takes 17 bits.
        let scaled = self.interval.as_micros().saturating_mul(self.factor.into()) >> 16;
        self.at + Micros::from_micros(scaled)
    }

    fn step_ends(&self) -> Instant {
        self.at + self.timeout
    }
}

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{BoundedSpan, CheckInterval};
    use crate::field::named::{self, fields};

    fields! {
        interval: required, "health_checks.interval", CheckInterval;
        timeout: required, "health_checks.timeout", BoundedSpan<1, 3_600_000>;
        application: required, "health_checks.application", bool, named::SWITCH;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::time::Duration;
    use std::vec::Vec;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn checker(application: bool, seed: u64) -> Checker {
        Checker::new(CheckOptions { application, ..CheckOptions::DEFAULT }, &Seeds::new(seed))
    }

    /// Reports the server as broken at `now`. Returns the instant at which the first check is due.
    fn broken(checker: &mut Checker, now: Instant) -> Instant {
        checker.handle(now, CheckInput::Broken);
        assert_eq!(checker.poll(now), CheckAction::Publish { usable: false });
        waits(checker, now)
    }

    fn waits(checker: &mut Checker, now: Instant) -> Instant {
        let action = checker.poll(now);
        assert_eq!(checker.poll(now), action, "another poll changes nothing");
        let CheckAction::Wait { until: Some(until) } = action else { panic!("{action:?}") };
        until
    }

    fn connects(checker: &mut Checker, now: Instant) -> CheckId {
        let action = checker.poll(now);
        let CheckAction::Connect { check, until } = action else { panic!("{action:?}") };
        assert_eq!(until, now + CheckOptions::DEFAULT.timeout.get());
        check
    }

    #[test]
    fn h1_a_broken_server_is_checked_every_interval_until_it_passes() {
        let mut checker = checker(false, 1);
        assert_eq!(checker.poll(at(5)), CheckAction::Wait { until: None });
        let mut now = at(10);
        let mut due = broken(&mut checker, now);
        for _ in 0..20 {
            let waited = due.since(now);
            assert!(Duration::from_millis(2_400) <= waited && waited <= Duration::from_millis(3_600), "{waited:?}");
            checker.handle(due, CheckInput::Broken);
            now = due + Duration::from_millis(7);
            let check = connects(&mut checker, due);
            assert_eq!(waits(&mut checker, due), due + CheckOptions::DEFAULT.timeout.get());
            checker.handle(now, CheckInput::Failed { check });
            checker.handle(now, CheckInput::Failed { check });
            due = waits(&mut checker, now);
        }
        let check = connects(&mut checker, due);
        checker.handle(due, CheckInput::Passed { check });
        assert!(checker.usable());
        assert_eq!(checker.poll(due), CheckAction::Publish { usable: true });
        assert_eq!(checker.poll(due), CheckAction::Wait { until: None });
        checker.handle(due, CheckInput::Failed { check });
        assert!(checker.usable(), "it is over");
    }

    #[test]
    fn h1_the_applications_check_must_pass_too() {
        let mut checker = checker(true, 2);
        let due = broken(&mut checker, at(0));
        let first = connects(&mut checker, due);
        checker.handle(due, CheckInput::Passed { check: first });
        let CheckAction::Ask { check, .. } = checker.poll(due) else { panic!("it connected") };
        checker.handle(due, CheckInput::Passed { check: first });
        assert!(!checker.usable(), "told twice that it connected");
        checker.handle(due, CheckInput::Failed { check });
        let due = waits(&mut checker, due);
        let check = connects(&mut checker, due);
        checker.handle(due, CheckInput::Passed { check });
        let CheckAction::Ask { check, until } = checker.poll(due) else { panic!("it connected") };
        assert_eq!(waits(&mut checker, due), until);
        checker.handle(due, CheckInput::Passed { check });
        assert_eq!(checker.poll(due), CheckAction::Publish { usable: true });
    }

    #[test]
    fn h1_a_check_that_hangs_has_failed() {
        let mut checker = checker(false, 3);
        let due = broken(&mut checker, at(0));
        let check = connects(&mut checker, due);
        let end = waits(&mut checker, due);
        assert_eq!(checker.poll(end), CheckAction::Abandon { check });
        let next = waits(&mut checker, end);
        assert!(next > end);
        checker.handle(end, CheckInput::Passed { check });
        assert_eq!(waits(&mut checker, end), next, "nobody waits for it any more");
        let late = connects(&mut checker, next);
        checker.handle(next + Duration::from_secs(9), CheckInput::Passed { check: late });
        assert!(checker.usable(), "handed in before a poll saw its end");
    }

    #[test]
    fn h1_the_interval_changes_while_it_runs() {
        let mut checker = checker(false, 4);
        let due = broken(&mut checker, at(0));
        checker.set_interval(BoundedSpan::of_secs::<30>());
        let later = waits(&mut checker, due);
        assert_eq!(later.as_micros() / 100, due.as_micros() / 10, "the same factor of ten times the interval");
        checker.set_interval(BoundedSpan::of_millis::<100>());
        connects(&mut checker, at(120));
    }

    #[test]
    fn h1_removal_ends_the_checking() {
        let mut healthy = checker(false, 5);
        healthy.handle(at(0), CheckInput::Removed);
        assert_eq!(healthy.poll(at(0)), CheckAction::Done);
        let mut waiting = checker(false, 5);
        broken(&mut waiting, at(0));
        waiting.handle(at(1), CheckInput::Removed);
        assert_eq!(waiting.poll(at(60_000)), CheckAction::Done);
        let mut checking = checker(true, 5);
        let due = broken(&mut checking, at(0));
        let check = connects(&mut checking, due);
        checking.handle(due, CheckInput::Removed);
        assert_eq!(checking.poll(due), CheckAction::Abandon { check });
        for input in [CheckInput::Broken, CheckInput::Passed { check }, CheckInput::Removed] {
            checking.handle(due, input);
            assert_eq!(checking.poll(at(60_000)), CheckAction::Done);
        }
        let mut hung = checker(false, 5);
        let due = broken(&mut hung, at(0));
        let check = connects(&mut hung, due);
        let end = waits(&mut hung, due);
        hung.handle(end, CheckInput::Removed);
        assert_eq!(hung.poll(end), CheckAction::Abandon { check });
        assert_eq!(hung.poll(end), CheckAction::Done, "abandoned once");
    }

    #[test]
    fn h1_a_thousand_clients_do_not_check_in_step() {
        const SEED: u64 = 11;
        let seeds = Seeds::new(SEED);
        let mut due: Vec<u64> = (0..1_000)
            .map(|_| {
                let mut checker = Checker::new(CheckOptions::DEFAULT, &seeds);
                broken(&mut checker, at(0)).as_micros()
            })
            .collect();
        due.sort_unstable();
        assert!(2_400_000 <= due[0] && due[999] <= 3_600_001, "{} to {}", due[0], due[999]);
        let most = (2_400..3_600)
            .step_by(100)
            .map(|ms| due.iter().filter(|us| (ms * 1_000..(ms + 100) * 1_000).contains(*us)).count())
            .max();
        assert!(most < Some(120), "83 in a tenth of a second if even, not {most:?}, seed {SEED}");
    }

    #[test]
    fn h5_a_check_that_is_hurried_is_due_at_once_and_one_that_runs_goes_on() {
        let mut checker = checker(false, 3);
        checker.handle(at(0), CheckInput::Now);
        assert_eq!(checker.poll(at(0)), CheckAction::Wait { until: None }, "there is nothing to check");
        broken(&mut checker, at(0));
        checker.handle(at(7), CheckInput::Now);
        let check = connects(&mut checker, at(7));
        checker.handle(at(8), CheckInput::Now);
        assert!(matches!(checker.poll(at(8)), CheckAction::Wait { .. }));
        checker.handle(at(9), CheckInput::Failed { check });
        assert!(waits(&mut checker, at(9)) >= at(2_409), "an interval after the failure");
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(size_of::<Checker>(), 48);
    }
}

//! Checking a server whose connection broke: [`Checker`] ([H1](crate::rules#H1)).

use super::{HOUR, HealthError};
use crate::random::Seeds;
use crate::time::{Duration, Instant, Micros};

/// An interval's factor, in 65536ths: at least 0.8, and up to 0.4 more.
const SHORTEST: u32 = 52_429;
const SPREAD: u32 = 26_215;

/// The options of a [`Checker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CheckOptions {
    /// The time from the break, or from the end of a failed check, to the next check, in [10 ms, 1 h]. It is multiplied
    /// by a uniform factor in 0.8 to 1.2. Default 3 s, brpc's.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::interval")
    )]
    pub interval: Duration,
    /// The longest time for connecting, and the longest for the application's check, in [1 ms, 1 h]. Default 500 ms,
    /// brpc's.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::timeout")
    )]
    pub timeout: Duration,
    /// Whether the application's own check must pass too. Default false.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::application"))]
    pub application: bool,
}

impl CheckOptions {
    /// brpc's defaults.
    pub const DEFAULT: Self =
        Self { interval: Duration::from_secs(3), timeout: Duration::from_millis(500), application: false };

    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        if let Err(error) = check_interval(self.interval) {
            return Err(error);
        }
        HealthError::span("timeout", self.timeout, Duration::from_millis(1), HOUR, "[1 ms, 1 h]")
    }
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const fn check_interval(interval: Duration) -> Result<(), HealthError> {
    HealthError::span("interval", interval, Duration::from_millis(10), HOUR, "[10 ms, 1 h]")
}

/// One step of a check: connecting, or asking the application. Results of any other step are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CheckId(u16);

/// What the driver has to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CheckAction {
    /// Tell the code that selects servers: [`Channel::set_broken`](crate::channel::Channel::set_broken).
    Publish {
        /// Whether the server takes calls.
        usable: bool,
    },
    /// Connect to the server, and hand in whether it worked.
    Connect {
        /// Which step it is.
        check: CheckId,
        /// The step has failed if there is no result by then.
        until: Instant,
    },
    /// Run the application's check, and hand in whether it passed.
    Ask {
        /// Which step it is.
        check: CheckId,
        /// The step has failed if there is no result by then.
        until: Instant,
    },
    /// The result of this step is no longer needed.
    Abandon {
        /// Which step it is.
        check: CheckId,
    },
    /// There is nothing to do until then, or until something happens.
    Wait {
        /// `None`: until something happens.
        until: Option<Instant>,
    },
    /// The server is gone: the checker will never ask for anything again.
    Done,
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CheckInput {
    /// A connection of the server broke, or could not be made.
    Broken,
    /// A step has passed.
    Passed {
        /// Which.
        check: CheckId,
    },
    /// A step has failed.
    Failed {
        /// Which.
        check: CheckId,
    },
    /// Check at once, without waiting for the end of the interval: another server has come back
    /// ([H5](crate::rules#H5)). A check that is under way goes on.
    Now,
    /// The server was removed from the list.
    Removed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CheckState {
    Healthy,
    /// Broken, since `at`; waits for the next check.
    Waiting,
    /// The connection of a check is due, or under way since `at`.
    Connecting {
        begun: bool,
    },
    /// The application's check is due, or under way since `at`.
    Asking {
        begun: bool,
    },
    Removed,
}

/// The checks of one server ([H1](crate::rules#H1)).
///
/// A server begins as usable. When its connection breaks, it is published as unusable. An interval later, the checker
/// connects to it, and then runs the application's check if there is one. If all passed, the server is published as
/// usable; otherwise the next check begins an interval after the failure. Each interval has its own factor, uniform in
/// 0.8 to 1.2. So clients that saw the same break are spread over 1.2 s at the first check already, and further at
/// each.
///
/// # The contract
///
/// It is that of a [`Call`](crate::call::Call). The driver calls [`poll`](Self::poll) until it answers
/// [`Wait`](CheckAction::Wait). Then it waits until the given instant, or until something happens, which it hands to
/// [`handle`](Self::handle). Then it polls again. `now` never goes back. A result that is handed in before a poll saw
/// the step's end counts. Results of a step that is over, and repeated news, change nothing. A poll does a constant
/// amount of work. 48 bytes.
///
/// ```
/// use hedge_core::health::{CheckAction, CheckInput, CheckOptions, Checker};
/// use hedge_core::random::Seeds;
/// use hedge_core::time::{Duration, Instant};
///
/// let mut checker = Checker::new(CheckOptions::DEFAULT, &Seeds::new(1))?;
/// checker.handle(Instant::ZERO, CheckInput::Broken);
/// assert_eq!(checker.poll(Instant::ZERO), CheckAction::Publish { usable: false });
/// let CheckAction::Wait { until: Some(at) } = checker.poll(Instant::ZERO) else { panic!("there is a check to wait for") };
/// assert!(Instant::from_millis(2_400) <= at && at <= Instant::from_millis(3_600));
/// let CheckAction::Connect { check, .. } = checker.poll(at) else { panic!("it is due") };
/// checker.handle(at, CheckInput::Passed { check });
/// assert_eq!(checker.poll(at), CheckAction::Publish { usable: true });
/// # Ok::<(), hedge_core::health::HealthError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checker {
    rng: fastrand::Rng,
    interval: Micros,
    timeout: Micros,
    application: bool,
    /// When the present state, or its step, began.
    at: Instant,
    /// The interval's factor, in 65536ths.
    factor: u32,
    /// The latest step.
    check: CheckId,
    state: CheckState,
    /// Whether the latest step is to be abandoned.
    abandon: bool,
    /// Whether the server was last published as usable.
    published: bool,
}

impl Checker {
    /// The checker of a server that is usable.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: CheckOptions, seeds: &Seeds) -> Result<Self, HealthError> {
        options.validate()?;
        Ok(Self {
            rng: fastrand::Rng::with_seed(seeds.next()),
            interval: options.interval.into(),
            timeout: options.timeout.into(),
            application: options.application,
            at: Instant::ZERO,
            factor: SHORTEST,
            check: CheckId(0),
            state: CheckState::Healthy,
            abandon: false,
            published: true,
        })
    }

    /// Whether the server takes calls.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.state == CheckState::Healthy
    }

    /// Changes the interval. It applies to the running interval too, from its start; poll again.
    ///
    /// # Errors
    /// The interval is out of its range; nothing has changed.
    pub fn set_interval(&mut self, interval: Duration) -> Result<(), HealthError> {
        check_interval(interval)?;
        self.interval = interval.into();
        Ok(())
    }

    /// Takes in what happened.
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

    /// What the driver has to do now. Call it until it answers `Wait` or `Done`.
    pub fn poll(&mut self, now: Instant) -> CheckAction {
        // A step without a result in time has failed.
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

    /// Whether this step is under way.
    fn runs(&self, check: CheckId) -> bool {
        matches!(self.state, CheckState::Connecting { begun: true } | CheckState::Asking { begun: true })
            && check == self.check
    }

    fn next_check(&self) -> Instant {
        // No overflow: an hour takes 32 bits of microseconds, and a factor 17.
        let scaled = self.interval.as_micros().saturating_mul(self.factor.into()) >> 16;
        self.at + Micros::from_micros(scaled)
    }

    fn step_ends(&self) -> Instant {
        self.at + self.timeout
    }
}

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use super::Duration;
    use crate::field::named::{self, fields};

    fields! {
        interval: required, "health_checks.interval", Duration, named::DURATION;
        timeout: required, "health_checks.timeout", Duration, named::DURATION;
        application: required, "health_checks.application", bool, named::SWITCH;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn checker(application: bool, seed: u64) -> Checker {
        Checker::new(CheckOptions { application, ..CheckOptions::DEFAULT }, &Seeds::new(seed)).unwrap()
    }

    /// Breaks it at `now` and answers when it is to be checked.
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
        assert_eq!(until, now + CheckOptions::DEFAULT.timeout);
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
            assert_eq!(waits(&mut checker, due), due + CheckOptions::DEFAULT.timeout);
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
        checker.set_interval(Duration::from_secs(30)).unwrap();
        let later = waits(&mut checker, due);
        assert_eq!(later.as_micros() / 100, due.as_micros() / 10, "the same factor of ten times the interval");
        checker.set_interval(Duration::from_millis(100)).unwrap();
        connects(&mut checker, at(120));
        let error = checker.set_interval(Duration::from_millis(9)).unwrap_err();
        assert_eq!(error.to_string(), "interval 9 ms: must be in [10 ms, 1 h]");
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
                let mut checker = Checker::new(CheckOptions::DEFAULT, &seeds).unwrap();
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
    fn h1_options_out_of_range_say_which_and_what() {
        let options = CheckOptions { timeout: Duration::ZERO, ..CheckOptions::DEFAULT };
        let error = Checker::new(options, &Seeds::new(1)).unwrap_err();
        assert_eq!(error.to_string(), "timeout 0 us: must be in [1 ms, 1 h]");
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

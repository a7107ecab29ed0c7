//! What keeps an outage from becoming worse: [`RecoveryPolicy`] ([H3](crate::rules#H3)) and [`IsolationLimit`]
//! ([H4](crate::rules#H4)).

use super::{HOUR, HealthError, units, units_of};
use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::time::{Duration, Instant, Micros};

/// The options of a [`RecoveryPolicy`]. There is no default: only the user knows how many servers carry the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecoveryOptions {
    /// How many usable servers can carry all calls, in \[1, 65536\].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::min_working"))]
    pub min_working: u32,
    /// How long the number of usable servers must have been the same before every call is let in, in [1 ms, 1 h].
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::hold")
    )]
    pub hold: Duration,
}

impl RecoveryOptions {
    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        if let Err(error) = HealthError::number("min_working", self.min_working, 1, MOST_SERVERS, "[1, 65536]") {
            return Err(error);
        }
        HealthError::span("hold", self.hold, Duration::from_millis(1), HOUR, "[1 ms, 1 h]")
    }
}

/// As many as a cluster has slots.
const MOST_SERVERS: u32 = 1 << 16;
/// The state's bit that says that a recovery is under way; below it, how many servers were usable.
const RECOVERING: u32 = 1 << 31;

/// Lets calls in step by step while servers come back after all were down ([H3](crate::rules#H3)), as brpc's
/// `DefaultClusterRecoverPolicy` does. Otherwise the first server that returns would get the calls of all, and go down
/// again.
///
/// From the moment when no server is usable, a call is admitted with the probability usable / min_working; while none
/// is usable, no call is. The recovery ends when the number of usable servers is above 0 and has not changed for
/// `hold`: then no more are expected.
///
/// Cost: a load a call; during a recovery two, and a compare-and-swap when the number has changed. 16 bytes.
///
/// ```
/// use hedge_core::health::{RecoveryOptions, RecoveryPolicy};
/// use hedge_core::time::{Duration, Instant};
///
/// let policy = RecoveryPolicy::new(RecoveryOptions { min_working: 4, hold: Duration::from_secs(3) })?;
/// let (now, random) = (Instant::from_millis(5), u32::MAX / 2);
/// assert!(policy.admit(now, 1, random), "nothing was down yet");
/// policy.all_down(now);
/// assert!(!policy.admit(now, 1, random), "a quarter of the calls");
/// assert!(policy.admit(now, 3, random), "three quarters");
/// assert!(policy.admit(now + Duration::from_secs(4), 3, random));
/// # Ok::<(), hedge_core::health::HealthError>(())
/// ```
#[derive(Debug)]
pub struct RecoveryPolicy {
    min_working: u32,
    /// In units.
    hold: u32,
    state: AtomicU32,
    /// Since when the number of usable servers has been what `state` says.
    since: AtomicU32,
}

impl RecoveryPolicy {
    /// A policy that admits everything until all servers are down.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: RecoveryOptions) -> Result<Self, HealthError> {
        options.validate()?;
        let RecoveryOptions { min_working, hold } = options;
        Ok(Self {
            min_working,
            hold: units_of(Micros::from_duration(hold)),
            state: AtomicU32::new(0),
            since: AtomicU32::new(0),
        })
    }

    /// Takes over the state of a policy that this one replaces.
    pub(super) fn goes_on_from(&self, old: &Self) {
        let state = acquire(&old.state);
        self.since.store(old.since.load(Ordering::Relaxed), Ordering::Relaxed);
        self.state.store(state, Ordering::Release);
    }

    /// No server is usable: a recovery begins, or begins again.
    pub fn all_down(&self, now: Instant) {
        self.since.store(units(now), Ordering::Relaxed);
        self.state.store(RECOVERING, Ordering::Release);
    }

    /// Whether a recovery is under way.
    pub fn is_recovering(&self) -> bool {
        self.state.load(Ordering::Relaxed) != 0
    }

    /// Whether a call may start while `usable` servers are usable. `random` are 32 random bits.
    pub fn admit(&self, now: Instant, usable: u32, random: u32) -> bool {
        let state = acquire(&self.state);
        if state == 0 {
            return true;
        }
        let usable = usable.min(MOST_SERVERS);
        if state != RECOVERING | usable {
            // The time is stored first: a thread that sees the new number must not see the time of the old one.
            self.since.store(units(now), Ordering::Relaxed);
            let _ = self.change(state, RECOVERING | usable);
        } else if usable > 0 && self.held(now) && self.change(state, 0) {
            return true;
        }
        // Lemire's multiplication: it maps the bits uniformly to `0..min_working`.
        (u64::from(random) * u64::from(self.min_working)) >> 32 < u64::from(usable)
    }

    /// Whether the number has been the same for long enough. A time in the future comes from another thread's clock,
    /// and does not count.
    fn held(&self, now: Instant) -> bool {
        let since = units(now).wrapping_sub(self.since.load(Ordering::Relaxed));
        self.hold < since && since < u32::MAX / 2
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// How many servers breakers and outlier rules may isolate ([H4](crate::rules#H4)).
///
/// It does not limit broken connections: count only the servers that are not broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IsolationLimit {
    /// The percentage of servers that stay selectable, rounded up to whole servers, in \[1, 100\]. Default 50, Envoy's
    /// panic threshold: the servers that stay carry at most twice their load. If more than half of a cluster fails,
    /// single servers are rarely the cause, and isolating them does not help.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::selectable_percent"))]
    pub selectable_percent: u32,
}

impl IsolationLimit {
    /// Half of the servers.
    pub const DEFAULT: Self = Self { selectable_percent: 50 };

    /// Checks it.
    ///
    /// # Errors
    /// A share out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        HealthError::number("selectable_percent", self.selectable_percent, 1, 100, "[1, 100]")
    }

    /// How many of `whole` servers may be isolated: never all. `whole` are those whose connections are not broken.
    #[must_use]
    pub const fn most(&self, whole: u32) -> u32 {
        let isolatable = 100 - if self.selectable_percent < 100 { self.selectable_percent } else { 100 };
        // No overflow: 65536 times 100 fits a word.
        let whole = if whole < MOST_SERVERS { whole } else { MOST_SERVERS };
        whole * isolatable / 100
    }

    /// Whether one more of `whole` servers may be isolated.
    #[must_use]
    pub const fn may_isolate(&self, whole: u32, isolated: u32) -> bool {
        isolated < self.most(whole)
    }
}

impl Default for IsolationLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use super::Duration;
    use crate::field::named::{self, fields};

    fields! {
        min_working: required, "recovery.min_working", u32, "an integer in [1, 65536]";
        hold: required, "recovery.hold", Duration, named::DURATION;
        selectable_percent: required, "isolation_limit.selectable_percent", u32, "an integer in [1, 100]";
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const SEED: u64 = 5;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn policy() -> RecoveryPolicy {
        RecoveryPolicy::new(RecoveryOptions { min_working: 4, hold: Duration::from_secs(3) }).unwrap()
    }

    /// Calls admitted of 100,000, in per cent.
    fn admitted(policy: &RecoveryPolicy, now: Instant, usable: u32) -> u32 {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let count = (0..100_000).filter(|_| policy.admit(now, usable, rng.u32(..))).count();
        u32::try_from(count).unwrap().div_ceil(100).saturating_add(4) / 10
    }

    #[test]
    fn h3_calls_are_admitted_in_proportion_to_the_servers_that_are_back() {
        let policy = policy();
        assert_eq!(admitted(&policy, at(0), 1), 100, "not all have been down");
        policy.all_down(at(10));
        for (usable, percent) in [(0, 0), (1, 25), (2, 50), (3, 75), (4, 100), (9, 100), (1, 25)] {
            assert!(admitted(&policy, at(20), usable).abs_diff(percent) <= 1, "{usable} usable, seed {SEED}");
        }
    }

    #[test]
    fn h3_it_ends_when_the_number_has_held() {
        let policy = policy();
        policy.all_down(at(0));
        assert!(!policy.admit(at(100_000), 0, 0), "an outage may last");
        assert!(policy.admit(at(100_000), 1, 0) && !policy.admit(at(100_000), 1, u32::MAX));
        assert!(!policy.admit(at(102_000), 2, u32::MAX), "one more: the hold begins again");
        assert!(!policy.admit(at(104_990), 2, u32::MAX));
        assert!(policy.admit(at(105_010), 2, u32::MAX));
        assert!(!policy.is_recovering());
        assert!(policy.admit(at(105_010), 1, u32::MAX), "until all are down again");
        policy.all_down(at(106_000));
        assert!(!policy.admit(at(106_000), 1, u32::MAX));
        assert!(!policy.admit(at(105_000), 1, u32::MAX), "another thread's clock");
    }

    #[test]
    fn h4_a_share_stays_selectable_and_never_none() {
        for (percent, whole, most) in
            [(50, 0, 0), (50, 1, 0), (50, 2, 1), (50, 3, 1), (50, 8, 4), (1, 1, 0), (1, 100, 99), (100, 9, 0)]
        {
            let limit = IsolationLimit { selectable_percent: percent };
            assert_eq!(limit.most(whole), most, "{percent} % of {whole}");
            assert_eq!((limit.may_isolate(whole, most), most > 0), (false, limit.may_isolate(whole, 0)));
        }
        for (percent, whole) in (1..=100).flat_map(|percent| (1..200).map(move |whole| (percent, whole))) {
            let kept = whole - IsolationLimit { selectable_percent: percent }.most(whole);
            assert_eq!(kept, (whole * percent).div_ceil(100));
        }
        assert_eq!(IsolationLimit::DEFAULT.most(u32::MAX), 32_768);
    }

    #[test]
    fn h3_h4_options_out_of_range_say_which_and_what() {
        let options = |min_working, hold| RecoveryOptions { min_working, hold };
        for (options, text) in [
            (options(0, Duration::from_secs(1)), "min_working 0: must be in [1, 65536]"),
            (options(1, Duration::ZERO), "hold 0 us: must be in [1 ms, 1 h]"),
        ] {
            assert_eq!(RecoveryPolicy::new(options).unwrap_err().to_string(), text);
        }
        let error = IsolationLimit { selectable_percent: 0 }.validate().unwrap_err();
        assert_eq!(error.to_string(), "selectable_percent 0: must be in [1, 100]");
        assert_eq!(size_of::<RecoveryPolicy>(), 16, "as the docs state");
    }
}

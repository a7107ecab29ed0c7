//! Two rules that keep an outage from becoming worse: [`RecoveryPolicy`] ([H3](crate::rules#H3)) and [`IsolationLimit`]
//! ([H4](crate::rules#H4)).

use super::{units, units_of};
use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::bounded::{Bounded, BoundedSpan};
use crate::time::Instant;

/// The options of a [`RecoveryPolicy`]. There is no default, because only the user knows how many servers can carry the
/// load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecoveryOptions {
    /// The number of usable servers that can carry all calls, in \[1, 65536\].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::min_working"))]
    pub min_working: Bounded<1, 65_536>,
    /// The time for which the number of usable servers must stay the same before all calls are let in, in \[1 ms, 1
    /// h\].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::hold"))]
    pub hold: BoundedSpan<1, 3_600_000>,
}

/// The number of slots of the largest cluster.
const MOST_SERVERS: u32 = 1 << 16;
/// The bit of `state` that says that a recovery is running. The lower bits hold the number of usable servers.
const RECOVERING: u32 = 1 << 31;

/// A policy that lets calls in step by step while servers come back after all servers were down
/// ([H3](crate::rules#H3)), as brpc's `DefaultClusterRecoverPolicy` does. Without this policy, the first server that
/// comes back would get all calls, and would fail again.
///
/// The recovery begins when no server is usable. During a recovery, a call is admitted with the probability usable /
/// `min_working`. While no server is usable, no call is admitted. The recovery ends when the number of usable servers
/// is above 0 and has not changed for the time `hold`: then no more servers are expected to come back.
///
/// Cost: one load for each call. During a recovery, a call costs at most two loads. If the number of usable servers has
/// changed, it also costs one store and one compare-and-swap. The end of the recovery costs one compare-and-swap.
/// Memory: 16 bytes.
///
/// ```
/// use hedge_core::bounded::{Bounded, BoundedSpan};
/// use hedge_core::health::{RecoveryOptions, RecoveryPolicy};
/// use hedge_core::time::{Duration, Instant};
///
/// let options = RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_secs::<3>() };
/// let policy = RecoveryPolicy::new(options);
/// let (now, random) = (Instant::from_millis(5), u32::MAX / 2);
/// assert!(policy.admit(now, 1, random), "nothing was down yet");
/// policy.all_down(now);
/// assert!(!policy.admit(now, 1, random), "a quarter of the calls");
/// assert!(policy.admit(now, 3, random), "three quarters");
/// assert!(policy.admit(now + Duration::from_secs(4), 3, random));
/// ```
#[derive(Debug)]
pub struct RecoveryPolicy {
    min_working: u32,
    /// The `hold` option, in [`units`].
    hold: u32,
    state: AtomicU32,
    /// When the present number of usable servers was first seen, in [`units`].
    since: AtomicU32,
}

impl RecoveryPolicy {
    /// Makes a policy that admits all calls until all servers are down.
    #[must_use]
    pub const fn new(options: RecoveryOptions) -> Self {
        let RecoveryOptions { min_working, hold } = options;
        Self {
            min_working: min_working.get(),
            hold: units_of(hold.micros()),
            state: AtomicU32::new(0),
            since: AtomicU32::new(0),
        }
    }

    /// Copies the state of the policy `old`, which this policy replaces.
    pub(super) fn goes_on_from(&self, old: &Self) {
        let state = acquire(&old.state);
        self.since.store(old.since.load(Ordering::Relaxed), Ordering::Relaxed);
        self.state.store(state, Ordering::Release);
    }

    /// Records that no server is usable, and begins a recovery. If a recovery is already running, it begins again.
    pub fn all_down(&self, now: Instant) {
        self.since.store(units(now), Ordering::Relaxed);
        self.state.store(RECOVERING, Ordering::Release);
    }

    /// Returns whether a recovery is running.
    pub fn is_recovering(&self) -> bool {
        self.state.load(Ordering::Relaxed) != 0
    }

    /// Returns whether a call may start. `usable` is the present number of usable servers, and `random` is 32 random
    /// bits.
    pub fn admit(&self, now: Instant, usable: u32, random: u32) -> bool {
        let state = acquire(&self.state);
        if state == 0 {
            return true;
        }
        let usable = usable.min(MOST_SERVERS);
        if state != RECOVERING | usable {
            // The time is stored first. Otherwise another thread could see the new number together with the old time.
            self.since.store(units(now), Ordering::Relaxed);
            let _ = self.change(state, RECOVERING | usable);
        } else if usable > 0 && self.held(now) && self.change(state, 0) {
            return true;
        }
        // This is Lemire's method: the product maps the random bits uniformly to `0..min_working`.
        (u64::from(random) * u64::from(self.min_working)) >> 32 < u64::from(usable)
    }

    /// Returns whether the number of usable servers has been the same for longer than `hold`. A stored time in the
    /// future comes from another thread's clock reading, and does not count.
    fn held(&self, now: Instant) -> bool {
        let since = units(now).wrapping_sub(self.since.load(Ordering::Relaxed));
        self.hold < since && since < u32::MAX / 2
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The limit on how many servers breakers may isolate ([H4](crate::rules#H4)).
///
/// The limit does not apply to broken connections: only the servers that are not broken are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IsolationLimit {
    /// The percentage of servers that stay selectable, rounded up to whole servers. Default 50, the same as Envoy's
    /// panic threshold. With this value, the selectable servers carry at most twice their usual load. If more than half
    /// of a cluster fails, single servers are rarely the cause, and isolating servers does not help.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::selectable_percent"))]
    pub selectable_percent: Bounded<1, 100>,
}

impl IsolationLimit {
    /// The default limit: half of the servers stay selectable.
    pub const DEFAULT: Self = Self { selectable_percent: Bounded::of::<50>() };

    /// Returns how many of `whole` servers may be isolated. The result is always less than `whole`, or 0. `whole` is
    /// the number of servers whose connections are not broken.
    #[must_use]
    pub const fn most(&self, whole: u32) -> u32 {
        let isolatable = 100 - self.selectable_percent.get();
        // There is no overflow: 65536 times 100 fits into a word.
        let whole = if whole < MOST_SERVERS { whole } else { MOST_SERVERS };
        whole * isolatable / 100
    }

    /// Returns whether one more server may be isolated, if `isolated` of `whole` servers are isolated already.
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

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{Bounded, BoundedSpan};
    use crate::field::named::fields;

    fields! {
        min_working: required, "recovery.min_working", Bounded<1, 65_536>;
        hold: required, "recovery.hold", BoundedSpan<1, 3_600_000>;
        selectable_percent: required, "isolation_limit.selectable_percent", Bounded<1, 100>;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    const SEED: u64 = 5;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn policy() -> RecoveryPolicy {
        RecoveryPolicy::new(RecoveryOptions { min_working: Bounded::of::<4>(), hold: BoundedSpan::of_secs::<3>() })
    }

    /// Returns how many of 100,000 calls are admitted, in per cent.
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
            let limit = IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() };
            assert_eq!(limit.most(whole), most, "{percent} % of {whole}");
            assert_eq!((limit.may_isolate(whole, most), most > 0), (false, limit.may_isolate(whole, 0)));
        }
        for (percent, whole) in (1..=100).flat_map(|percent| (1..200).map(move |whole| (percent, whole))) {
            let kept = whole - IsolationLimit { selectable_percent: Bounded::new(percent).unwrap() }.most(whole);
            assert_eq!(kept, (whole * percent).div_ceil(100));
        }
        assert_eq!(IsolationLimit::DEFAULT.most(u32::MAX), 32_768);
    }

    #[test]
    fn a_policy_is_as_small_as_the_docs_state() {
        assert_eq!(size_of::<RecoveryPolicy>(), 16);
    }
}

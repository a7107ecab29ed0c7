//! The circuit breaker state machine of one server, closed, open or half-open, which all breakers share: [`Gate`].

use super::{BreakerChange, HOUR, HealthError, Outcome, UNIT_BITS, units, units_of};
use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::time::{Duration, Instant, Micros};

/// The level of a gate that was never open.
const NEVER_OPEN: u32 = 31;
/// How far the clocks of two threads may differ, in units: 67 s.
const SLACK: u32 = 1 << 16;

/// For how long a breaker isolates a server, and how it lets it return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IsolationOptions {
    /// The first isolation, in [10 ms, 1 h]. Default 100 ms, brpc's.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::min")
    )]
    pub min: Duration,
    /// The longest isolation, in [min, 1 h]. An isolation doubles when a probe fails, and when the server is isolated
    /// again within this time after its return. Default 30 s, brpc's.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::time::text::span::serialize", deserialize_with = "file::max")
    )]
    pub max: Duration,
    /// How many attempts may probe a server at a time, in \[1, 100\]. The first that ends decides. Default 1.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::probes"))]
    pub probes: u32,
}

impl IsolationOptions {
    /// brpc's, with one probe.
    pub const DEFAULT: Self = Self { min: Duration::from_millis(100), max: Duration::from_secs(30), probes: 1 };

    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), HealthError> {
        let Self { min, max, probes } = *self;
        if let Err(error) = HealthError::span("isolation.min", min, Duration::from_millis(10), HOUR, "[10 ms, 1 h]") {
            return Err(error);
        }
        if let Err(error) = HealthError::span("isolation.max", max, min, HOUR, "[min, 1 h]") {
            return Err(error);
        }
        HealthError::number("isolation.probes", probes, 1, 100, "[1, 100]")
    }

    /// The isolation after `level` doublings.
    fn lasts(&self, level: u32) -> Micros {
        // No overflow: an hour takes 32 bits of microseconds, and the shift is at most 30.
        let (min, max) = (Micros::from_duration(self.min), Micros::from_duration(self.max));
        Micros::from_micros(min.as_micros() << level.min(NEVER_OPEN - 1)).min(max)
    }

    const fn doubled(level: u32) -> u32 {
        if level + 1 < NEVER_OPEN { level + 1 } else { level }
    }
}

impl Default for IsolationOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a server is isolated by a breaker: 8 bytes in its [`Breaker::State`](super::Breaker::State).
///
/// A change of state writes two words. The thread that makes it first claims the first word by compare-and-swap, with a
/// state that says so (`Asking` or `Moving`). Then it stores the time, and then the new state. Other threads never wait
/// for it: the states in between have a meaning of their own. Times are kept in units of 1.024 ms, so an isolation may
/// be longer than stated by less than that. A server that got no call for 51 days may look isolated once more, for
/// about a minute.
#[derive(Debug)]
pub struct Gate {
    /// A [`GateWord`].
    word: AtomicU32,
    /// Open: the end of the isolation. Half-open: when the probing began. Closed: when the server returned.
    when: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GateState {
    Closed,
    /// Closed, while one thread asks whether the gate may open.
    Asking,
    Open,
    HalfOpen,
    /// On the way from open or half-open to another state; counts as isolated.
    Moving,
}

/// Bits 0 to 2: the state. 3 to 7: how often the isolation has doubled. 8 to 15: probes under way. 16 to 31: a count of
/// the changes of state. It avoids the ABA problem: a compare-and-swap that finds the same word knows that nothing has
/// changed.
#[derive(Clone, Copy)]
struct GateWord(u32);

impl GateWord {
    const fn new(state: GateState, level: u32, probes: u32) -> Self {
        Self(state as u32 | level << 3 | probes << 8)
    }

    const fn state(self) -> GateState {
        match self.0 & 7 {
            0 => GateState::Closed,
            1 => GateState::Asking,
            2 => GateState::Open,
            3 => GateState::HalfOpen,
            _ => GateState::Moving,
        }
    }

    const fn level(self) -> u32 {
        self.0 >> 3 & 31
    }

    const fn probes(self) -> u32 {
        self.0 >> 8 & 0xFF
    }

    /// The word of the next state; the change is counted.
    const fn to(self, state: GateState, level: u32, probes: u32) -> Self {
        Self(Self::new(state, level, probes).0 | (self.0 >> 16).wrapping_add(1) << 16)
    }

    /// The same state with other probes.
    const fn with_probes(self, probes: u32) -> Self {
        Self(self.0 & !0xFF00 | probes << 8)
    }
}

impl Gate {
    /// A server that is not isolated.
    #[must_use]
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(GateWord::new(GateState::Closed, NEVER_OPEN, 0).0), when: AtomicU32::new(0) }
    }

    pub(super) fn is_isolated(&self) -> bool {
        !matches!(self.load().state(), GateState::Closed | GateState::Asking)
    }

    pub(super) fn usable(&self, options: &IsolationOptions, now: Instant) -> bool {
        let word = self.load();
        match word.state() {
            GateState::Closed | GateState::Asking => true,
            GateState::Open => self.remaining(word, options, now) == 0,
            GateState::HalfOpen => word.probes() < options.probes || self.probe_is_lost(options, now),
            GateState::Moving => false,
        }
    }

    pub(super) fn isolated_until(&self, options: &IsolationOptions, now: Instant) -> Option<Instant> {
        let word = self.load();
        let remaining = match word.state() {
            GateState::Open => self.remaining(word, options, now),
            _ => 0,
        };
        let end = ((now.as_micros() >> UNIT_BITS) + u64::from(remaining)) << UNIT_BITS;
        (remaining > 0).then(|| Instant::from_micros(end))
    }

    pub(super) fn started(&self, options: &IsolationOptions, now: Instant, insist: bool) -> bool {
        loop {
            let word = self.load();
            let probes = match word.state() {
                GateState::Closed | GateState::Asking => return true,
                // Another thread is changing the state; until then the server counts as isolated.
                GateState::Moving => return insist,
                GateState::Open if self.remaining(word, options, now) > 0 => return insist,
                GateState::Open => 0,
                GateState::HalfOpen if self.probe_is_lost(options, now) => 0,
                GateState::HalfOpen => word.probes(),
            };
            // The first probe makes the gate half-open, and its start is the start of the probing.
            if probes == 0 {
                let Some(word) = self.claim(word, GateState::Moving) else { continue };
                self.publish(word, GateState::HalfOpen, word.level(), 1, units(now));
                return true;
            }
            if probes >= options.probes && !insist {
                return false;
            }
            // The count of probes is full at 255; further ones are let through uncounted.
            if probes == 0xFF || self.exchange(word, word.with_probes(probes + 1)) {
                return true;
            }
        }
    }

    /// Takes in the end of an attempt. `count` counts it while the gate is closed, and says whether the server is still
    /// healthy. `may` says whether the server may be isolated. `reset` forgets what was counted.
    pub(super) fn finished(
        &self,
        options: &IsolationOptions,
        now: Instant,
        outcome: Outcome,
        count: impl FnOnce(bool, Micros) -> bool,
        may: impl FnOnce() -> bool,
        reset: impl FnOnce(),
    ) -> Option<BreakerChange> {
        loop {
            let word = self.load();
            match (word.state(), outcome) {
                // Sent before the isolation, or in spite of it: it decides nothing.
                (GateState::Open | GateState::Moving, _) => return None,
                (GateState::Closed | GateState::Asking, Outcome::Uncounted { .. }) => return None,
                (GateState::Closed | GateState::Asking, Outcome::Success { latency }) => {
                    count(false, latency);
                    return None;
                }
                (GateState::Closed | GateState::Asking, Outcome::Failure { latency }) => {
                    return if count(true, latency) { None } else { self.open(options, now, may) };
                }
                (GateState::HalfOpen, _) if self.began_before_probing(now, outcome.elapsed()) => return None,
                (GateState::HalfOpen, Outcome::Uncounted { .. }) => {
                    // The probe leaves its place to the next attempt.
                    if self.exchange(word, word.with_probes(word.probes().saturating_sub(1))) {
                        return None;
                    }
                }
                (GateState::HalfOpen, Outcome::Success { .. }) => {
                    let Some(word) = self.claim(word, GateState::Moving) else { continue };
                    reset();
                    self.publish(word, GateState::Closed, word.level(), 0, units(now));
                    return Some(BreakerChange::Returned);
                }
                (GateState::HalfOpen, Outcome::Failure { .. }) => {
                    let Some(word) = self.claim(word, GateState::Moving) else { continue };
                    // A failed probe isolates for twice as long.
                    return Some(self.isolate(word, options, now, IsolationOptions::doubled(word.level())));
                }
            }
        }
    }

    pub(super) fn lift(&self, now: Instant, reset: impl FnOnce()) -> bool {
        loop {
            let word = self.load();
            if !matches!(word.state(), GateState::Open | GateState::HalfOpen) {
                return false;
            }
            if let Some(word) = self.claim(word, GateState::Moving) {
                reset();
                self.publish(word, GateState::Closed, word.level(), 0, units(now));
                return true;
            }
        }
    }

    /// Opens a closed gate if that is allowed. If several threads find the server unhealthy at once, only one of them
    /// asks.
    fn open(&self, options: &IsolationOptions, now: Instant, may: impl FnOnce() -> bool) -> Option<BreakerChange> {
        let word = self.load();
        if word.state() != GateState::Closed {
            return None;
        }
        let word = self.claim(word, GateState::Asking)?;
        let returned = self.when.load(Ordering::Relaxed);
        if !may() {
            self.publish(word, GateState::Closed, word.level(), 0, returned);
            return None;
        }
        // `when` of a closed gate is the server's last return.
        let soon = units(now).wrapping_sub(returned) < units_of(options.max.into());
        let level = match word.level() {
            NEVER_OPEN => 0,
            level if soon => IsolationOptions::doubled(level),
            _ => 0,
        };
        Some(self.isolate(word, options, now, level))
    }

    fn isolate(&self, word: GateWord, options: &IsolationOptions, now: Instant, level: u32) -> BreakerChange {
        let isolation = options.lasts(level);
        // Rounded up, so that no isolation is shorter than stated.
        let end = Instant::from_micros((now + isolation).as_micros().saturating_add((1 << UNIT_BITS) - 1));
        self.publish(word, GateState::Open, level, 0, units(end));
        BreakerChange::Isolated { isolation: isolation.to_duration() }
    }

    /// How many units of time are left of an isolation. After the end of the isolation, the subtraction wraps around to
    /// far more units than an isolation lasts. The result is then 0.
    fn remaining(&self, word: GateWord, options: &IsolationOptions, now: Instant) -> u32 {
        let remaining = self.when.load(Ordering::Relaxed).wrapping_sub(units(now));
        if remaining <= units_of(options.lasts(word.level())) + SLACK { remaining } else { 0 }
    }

    /// Whether the probing began longer ago than the longest isolation lasts. Its probes are then lost and no longer
    /// hold their places.
    fn probe_is_lost(&self, options: &IsolationOptions, now: Instant) -> bool {
        let since = units(now).wrapping_sub(self.when.load(Ordering::Relaxed));
        units_of(options.max.into()) < since && since < u32::MAX / 2
    }

    /// Whether an attempt that ends now began before the probing began. Such an attempt only shows how the server was
    /// before. An attempt that seems to have begun up to one unit too early still counts as a probe, since a driver may
    /// round times. No other attempt can have begun in that unit: the server was isolated then.
    fn began_before_probing(&self, now: Instant, elapsed: Micros) -> bool {
        let began = units(Instant::from_micros(now.as_micros().saturating_sub(elapsed.as_micros())));
        let before = self.when.load(Ordering::Relaxed).wrapping_sub(began);
        1 < before && before < u32::MAX / 2
    }

    fn load(&self) -> GateWord {
        GateWord(acquire(&self.word))
    }

    fn exchange(&self, from: GateWord, to: GateWord) -> bool {
        self.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Claims a change for this thread; `None` if another thread was faster.
    fn claim(&self, word: GateWord, state: GateState) -> Option<GateWord> {
        let claimed = word.to(state, word.level(), word.probes());
        self.exchange(word, claimed).then_some(claimed)
    }

    /// Ends a change that this thread has claimed: it stores the time first, then the state that publishes it.
    fn publish(&self, word: GateWord, state: GateState, level: u32, probes: u32, when: u32) {
        self.when.store(when, Ordering::Relaxed);
        self.word.store(word.to(state, level, probes).0, Ordering::Release);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// How the fields are read from files.
#[cfg(feature = "serde")]
mod file {
    use super::Duration;
    use crate::field::named::{self, fields};

    fields! {
        min: required, "isolation.min", Duration, named::DURATION;
        max: required, "isolation.max", Duration, named::DURATION;
        probes: required, "isolation.probes", u32, "an integer in [1, 100]";
    }
}

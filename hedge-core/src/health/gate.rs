//! The circuit breaker state machine of one server, closed, open or half-open, which all breakers share: [`Gate`].

use super::{Change, HOUR, HealthError, Outcome, UNIT_BITS, units, units_of};
use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::time::{Duration, Instant};

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
    pub min: Duration,
    /// The longest isolation, in [min, 1 h]. An isolation doubles when a probe fails, and when the server is isolated
    /// again within this time after its return. Default 30 s, brpc's.
    pub max: Duration,
    /// How many attempts may probe a server at a time, in \[1, 100\]. The first that ends decides. Default 1.
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
    fn lasts(&self, level: u32) -> Duration {
        // No overflow: an hour takes 32 bits of microseconds, and the shift is at most 30.
        Duration::from_micros(self.min.as_micros() << level.min(NEVER_OPEN - 1)).min(self.max)
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
/// A change of phase writes two words. The thread that makes it first claims the first word by compare-and-swap, with a
/// phase that says so (`Asking` or `Moving`). Then it stores the time, and then the new phase. Other threads never wait
/// for it: the phases in between have a meaning of their own. Times are kept in units of 1.024 ms, so an isolation may
/// be longer than stated by less than that. A server that got no call for 51 days may look isolated once more, for
/// about a minute.
#[derive(Debug)]
pub struct Gate {
    /// A [`Word`].
    word: AtomicU32,
    /// Open: the end of the isolation. Half-open: when the probing began. Closed: when the server returned.
    when: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Closed, while one thread asks whether the gate may open.
    Asking,
    Open,
    HalfOpen,
    /// On the way from open or half-open to another phase; counts as isolated.
    Moving,
}

/// Bits 0 to 2: the phase. 3 to 7: how often the isolation has doubled. 8 to 15: probes under way. 16 to 31: a count of
/// the changes of phase. It avoids the ABA problem: a compare-and-swap that finds the same word knows that nothing has
/// changed.
#[derive(Clone, Copy)]
struct Word(u32);

impl Word {
    const fn new(phase: Phase, level: u32, probes: u32) -> Self {
        Self(phase as u32 | level << 3 | probes << 8)
    }

    const fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::Closed,
            1 => Phase::Asking,
            2 => Phase::Open,
            3 => Phase::HalfOpen,
            _ => Phase::Moving,
        }
    }

    const fn level(self) -> u32 {
        self.0 >> 3 & 31
    }

    const fn probes(self) -> u32 {
        self.0 >> 8 & 0xFF
    }

    /// The word of the next phase; the change is counted.
    const fn to(self, phase: Phase, level: u32, probes: u32) -> Self {
        Self(Self::new(phase, level, probes).0 | (self.0 >> 16).wrapping_add(1) << 16)
    }

    /// The same phase with other probes.
    const fn with_probes(self, probes: u32) -> Self {
        Self(self.0 & !0xFF00 | probes << 8)
    }
}

impl Gate {
    /// A server that is not isolated.
    #[must_use]
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(Word::new(Phase::Closed, NEVER_OPEN, 0).0), when: AtomicU32::new(0) }
    }

    pub(super) fn is_isolated(&self) -> bool {
        !matches!(self.load().phase(), Phase::Closed | Phase::Asking)
    }

    pub(super) fn usable(&self, options: &IsolationOptions, now: Instant) -> bool {
        let word = self.load();
        match word.phase() {
            Phase::Closed | Phase::Asking => true,
            Phase::Open => self.remaining(word, options, now) == 0,
            Phase::HalfOpen => word.probes() < options.probes || self.probe_is_lost(options, now),
            Phase::Moving => false,
        }
    }

    pub(super) fn isolated_until(&self, options: &IsolationOptions, now: Instant) -> Option<Instant> {
        let word = self.load();
        let remaining = match word.phase() {
            Phase::Open => self.remaining(word, options, now),
            _ => 0,
        };
        let end = ((now.as_micros() >> UNIT_BITS) + u64::from(remaining)) << UNIT_BITS;
        (remaining > 0).then(|| Instant::from_micros(end))
    }

    pub(super) fn started(&self, options: &IsolationOptions, now: Instant, insist: bool) -> bool {
        loop {
            let word = self.load();
            let probes = match word.phase() {
                Phase::Closed | Phase::Asking => return true,
                // Another thread is changing the phase; until then the server counts as isolated.
                Phase::Moving => return insist,
                Phase::Open if self.remaining(word, options, now) > 0 => return insist,
                Phase::Open => 0,
                Phase::HalfOpen if self.probe_is_lost(options, now) => 0,
                Phase::HalfOpen => word.probes(),
            };
            // The first probe makes the gate half-open, and its start is the start of the probing.
            if probes == 0 {
                let Some(word) = self.mark(word, Phase::Moving) else { continue };
                self.settle(word, Phase::HalfOpen, word.level(), 1, units(now));
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
        count: impl FnOnce(bool, Duration) -> bool,
        may: impl FnOnce() -> bool,
        reset: impl FnOnce(),
    ) -> Option<Change> {
        loop {
            let word = self.load();
            match (word.phase(), outcome) {
                // Sent before the isolation, or in spite of it: it decides nothing.
                (Phase::Open | Phase::Moving, _) => return None,
                (Phase::Closed | Phase::Asking, Outcome::Uncounted { .. }) => return None,
                (Phase::Closed | Phase::Asking, Outcome::Success { latency }) => {
                    count(false, latency);
                    return None;
                }
                (Phase::Closed | Phase::Asking, Outcome::Failure { latency }) => {
                    return if count(true, latency) { None } else { self.open(options, now, may) };
                }
                (Phase::HalfOpen, _) if self.began_before_probing(now, outcome.took()) => return None,
                (Phase::HalfOpen, Outcome::Uncounted { .. }) => {
                    // The probe leaves its place to the next attempt.
                    if self.exchange(word, word.with_probes(word.probes().saturating_sub(1))) {
                        return None;
                    }
                }
                (Phase::HalfOpen, Outcome::Success { .. }) => {
                    let Some(word) = self.mark(word, Phase::Moving) else { continue };
                    reset();
                    self.settle(word, Phase::Closed, word.level(), 0, units(now));
                    return Some(Change::Returned);
                }
                (Phase::HalfOpen, Outcome::Failure { .. }) => {
                    let Some(word) = self.mark(word, Phase::Moving) else { continue };
                    // A failed probe isolates for twice as long.
                    return Some(self.isolate(word, options, now, IsolationOptions::doubled(word.level())));
                }
            }
        }
    }

    pub(super) fn lift(&self, now: Instant, reset: impl FnOnce()) -> bool {
        loop {
            let word = self.load();
            if !matches!(word.phase(), Phase::Open | Phase::HalfOpen) {
                return false;
            }
            if let Some(word) = self.mark(word, Phase::Moving) {
                reset();
                self.settle(word, Phase::Closed, word.level(), 0, units(now));
                return true;
            }
        }
    }

    /// Opens a closed gate if that is allowed. If several threads find the server unhealthy at once, only one of them
    /// asks.
    fn open(&self, options: &IsolationOptions, now: Instant, may: impl FnOnce() -> bool) -> Option<Change> {
        let word = self.load();
        if word.phase() != Phase::Closed {
            return None;
        }
        let word = self.mark(word, Phase::Asking)?;
        let returned = self.when.load(Ordering::Relaxed);
        if !may() {
            self.settle(word, Phase::Closed, word.level(), 0, returned);
            return None;
        }
        // `when` of a closed gate is the server's last return.
        let soon = units(now).wrapping_sub(returned) < units_of(options.max);
        let level = match word.level() {
            NEVER_OPEN => 0,
            level if soon => IsolationOptions::doubled(level),
            _ => 0,
        };
        Some(self.isolate(word, options, now, level))
    }

    fn isolate(&self, word: Word, options: &IsolationOptions, now: Instant, level: u32) -> Change {
        let isolation = options.lasts(level);
        // Rounded up, so that no isolation is shorter than stated.
        let end = Instant::from_micros((now + isolation).as_micros().saturating_add((1 << UNIT_BITS) - 1));
        self.settle(word, Phase::Open, level, 0, units(end));
        Change::Isolated { isolation }
    }

    /// How many units are left of an isolation. After its end the difference wraps around, to far more than an
    /// isolation lasts: then none are left.
    fn remaining(&self, word: Word, options: &IsolationOptions, now: Instant) -> u32 {
        let remaining = self.when.load(Ordering::Relaxed).wrapping_sub(units(now));
        if remaining <= units_of(options.lasts(word.level())) + SLACK { remaining } else { 0 }
    }

    /// Whether the probing began longer ago than the longest isolation lasts. Its probes are then lost and no longer
    /// hold their places.
    fn probe_is_lost(&self, options: &IsolationOptions, now: Instant) -> bool {
        let since = units(now).wrapping_sub(self.when.load(Ordering::Relaxed));
        units_of(options.max) < since && since < u32::MAX / 2
    }

    /// Whether an attempt that ends now began before the probing did: it tells how the server was before. A unit of
    /// tolerance forgives a driver that rounds. It lies within the isolation, when nothing starts.
    fn began_before_probing(&self, now: Instant, took: Duration) -> bool {
        let began = units(Instant::from_micros(now.as_micros().saturating_sub(took.as_micros())));
        let before = self.when.load(Ordering::Relaxed).wrapping_sub(began);
        1 < before && before < u32::MAX / 2
    }

    fn load(&self) -> Word {
        Word(acquire(&self.word))
    }

    fn exchange(&self, from: Word, to: Word) -> bool {
        self.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Claims a change for this thread; `None` if another thread was faster.
    fn mark(&self, word: Word, phase: Phase) -> Option<Word> {
        let marked = word.to(phase, word.level(), word.probes());
        self.exchange(word, marked).then_some(marked)
    }

    /// Ends a change that this thread has claimed: it stores the time first, then the phase that publishes it.
    fn settle(&self, word: Word, phase: Phase, level: u32, probes: u32, when: u32) {
        self.when.store(when, Ordering::Relaxed);
        self.word.store(word.to(phase, level, probes).0, Ordering::Release);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

//! A server's isolation: closed, open, half-open. What every breaker shares.

use super::{Change, HOUR, HealthError, Outcome, UNIT_BITS, units, units_of};
use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::time::{Duration, Instant};

/// The level of a gate that was never open.
const NEVER_OPEN: u32 = 31;
/// How far the clocks of two threads may lie apart, in units: 67 s.
const SLACK: u32 = 1 << 16;

/// For how long a breaker isolates a server, and how it lets it return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IsolationOptions {
    /// The first isolation, in [10 ms, 1 h]. Default 100 ms, brpc's.
    pub min: Duration,
    /// No isolation is longer, in [min, 1 h]. It doubles when a probe fails, and when the server is isolated again less than
    /// this after it returned. Default 30 s, brpc's.
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

    /// The isolation after so many doublings.
    fn lasts(&self, level: u32) -> Duration {
        // At most an hour, 32 bits, by 30 more.
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
/// A change takes two words, so whoever makes it marks the first meanwhile; nobody waits for that. Times are kept to 1.024
/// ms: an isolation is longer than stated by less than that. A server that got no call for 51 days may look isolated once
/// more, for about a minute.
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
    /// Closed for everybody but the one who asks whether it may open.
    Asking,
    Open,
    HalfOpen,
    /// From open or half-open to somewhere: counts as isolated.
    Moving,
}

/// Bits 0 to 2: the phase. 3 to 7: how often the isolation has doubled. 8 to 15: probes under way. The rest counts the
/// changes of phase, so that a word that is the same still means the same.
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

    /// The next phase.
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
                Phase::Moving => return insist,
                Phase::Open if self.remaining(word, options, now) > 0 => return insist,
                Phase::Open => 0,
                Phase::HalfOpen if self.probe_is_lost(options, now) => 0,
                Phase::HalfOpen => word.probes(),
            };
            if probes == 0 {
                let Some(word) = self.mark(word, Phase::Moving) else { continue };
                self.settle(word, Phase::HalfOpen, word.level(), 1, units(now));
                return true;
            }
            if probes >= options.probes && !insist {
                return false;
            }
            if probes == 0xFF || self.exchange(word, word.with_probes(probes + 1)) {
                return true;
            }
        }
    }

    /// Where an attempt's end belongs, and what follows: `count` says whether a closed gate's server is still healthy, `may`
    /// whether it may be isolated, `reset` forgets what was counted.
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

    /// Opens a closed gate if that is allowed; only one of many who find the server unhealthy asks.
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
        let end = Instant::from_micros((now + isolation).as_micros().saturating_add((1 << UNIT_BITS) - 1));
        self.settle(word, Phase::Open, level, 0, units(end));
        Change::Isolated { isolation }
    }

    /// How much is left of an isolation. What is far more than it lasts is long over, and the clock's word has gone round.
    fn remaining(&self, word: Word, options: &IsolationOptions, now: Instant) -> u32 {
        let remaining = self.when.load(Ordering::Relaxed).wrapping_sub(units(now));
        if remaining <= units_of(options.lasts(word.level())) + SLACK { remaining } else { 0 }
    }

    /// A probe that nothing was heard of for the longest isolation no longer holds its place.
    fn probe_is_lost(&self, options: &IsolationOptions, now: Instant) -> bool {
        let since = units(now).wrapping_sub(self.when.load(Ordering::Relaxed));
        units_of(options.max) < since && since < u32::MAX / 2
    }

    /// Whether an attempt that ends now began before the probing did: it tells of the server as it was. The unit between
    /// is within the isolation, when nothing starts; it forgives a driver that rounds.
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

    /// Makes a change one's own; `None` if another was faster.
    fn mark(&self, word: Word, phase: Phase) -> Option<Word> {
        let marked = word.to(phase, word.level(), word.probes());
        self.exchange(word, marked).then_some(marked)
    }

    /// Ends a change that is one's own.
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

//! The state machine of a circuit breaker for one server: [`Gate`]. All breakers use this state machine. Its states are
//! closed, open and half-open.

use super::{BreakerChange, Outcome, UNIT_BITS, units, units_of};
use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::bounded::{Bounded, SpanRange};
use crate::time::{Instant, Micros};

/// The value of `level` in a gate that has never been open.
const NEVER_OPEN: u32 = 31;
/// The largest difference between the clocks of two threads, in [`units`]: 67 s.
const SLACK: u32 = 1 << 16;

/// The lengths of the first isolation and of the longest isolation, in \[10 ms, 1 h\].
pub type IsolationTimes = SpanRange<10, 3_600_000>;

/// How long a breaker isolates a server, and how the server can come back.
///
/// In a file, `times` is two fields: `min` and `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "file::Fields", into = "file::Fields")
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IsolationOptions {
    /// The length of the first isolation and of the longest one, in \[10 ms, 1 h\]. The length doubles when a probe
    /// fails. It also doubles if the server is isolated again within the length of the longest isolation after its
    /// return. Default 100 ms and 30 s, as in brpc.
    pub times: IsolationTimes,
    /// How many attempts may probe a server at the same time. The first probe that ends with a result decides. Default
    /// 1.
    pub probes: Bounded<1, 100>,
}

impl IsolationOptions {
    /// The defaults of brpc, with one probe at a time.
    pub const DEFAULT: Self = Self { times: SpanRange::of_millis::<100, 30_000>(), probes: Bounded::of::<1>() };

    /// Returns how long an isolation lasts after `level` doublings.
    fn lasts(&self, level: u32) -> Micros {
        // There is no overflow: an hour takes 32 bits of microseconds, and the shift is at most 30.
        let (min, max) = (self.times.min().micros(), self.times.max().micros());
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

/// The state that says whether a breaker isolates a server. It takes 8 bytes in the server's
/// [`Breaker::State`](super::Breaker::State).
///
/// The state is two words, and a change writes both words. A thread first claims the change: a compare-and-swap sets
/// the first word to `Asking` or `Moving`. Then the thread stores the time, and then the new state. Other threads do
/// not wait for the change, since `Asking` counts as closed and `Moving` counts as isolated. Times are stored in units
/// of 1.024 ms, so an isolation may last up to 1.024 ms longer than stated. Times wrap after 51 days. So a server that
/// got no call for 51 days may look isolated again, for the length of its last isolation and 67 s more.
#[derive(Debug)]
pub struct Gate {
    /// The first word: a [`GateWord`].
    word: AtomicU32,
    /// The second word: a time in [`units`]. In the state open, it is the end of the isolation. In the state half-open,
    /// it is the beginning of the probing. In the state closed, it is the server's last return.
    when: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GateState {
    Closed,
    /// One thread asks whether the server may be isolated. This state counts as closed.
    Asking,
    Open,
    HalfOpen,
    /// One thread changes an open or half-open gate to another state. This state counts as isolated.
    Moving,
}

/// The first word of a gate. Bits 0 to 2 are the state. Bits 3 to 7 are the number of doublings of the isolation. Bits
/// 8 to 15 count the probes in flight. Bits 16 to 31 count the changes of state. This last count solves the ABA
/// problem: if a compare-and-swap finds the expected word, the state has not changed in the meantime.
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

    /// Returns the word of another state. Its count of changes is greater by one.
    const fn to(self, state: GateState, level: u32, probes: u32) -> Self {
        Self(Self::new(state, level, probes).0 | (self.0 >> 16).wrapping_add(1) << 16)
    }

    /// Returns the word of the same state with another number of probes.
    const fn with_probes(self, probes: u32) -> Self {
        Self(self.0 & !0xFF00 | probes << 8)
    }
}

impl Gate {
    /// Makes the gate of a server that is not isolated.
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
            GateState::HalfOpen => word.probes() < options.probes.get() || self.probe_is_lost(options, now),
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
                // Another thread is changing the state. Until that thread has finished, the server counts as isolated.
                GateState::Moving => return insist,
                GateState::Open if self.remaining(word, options, now) > 0 => return insist,
                GateState::Open => 0,
                GateState::HalfOpen if self.probe_is_lost(options, now) => 0,
                GateState::HalfOpen => word.probes(),
            };
            // The first probe makes the gate half-open, and the probing begins with it.
            if probes == 0 {
                let Some(word) = self.claim(word, GateState::Moving) else { continue };
                self.publish(word, GateState::HalfOpen, word.level(), 1, units(now));
                return true;
            }
            if probes >= options.probes.get() && !insist {
                return false;
            }
            // The count of probes stops at 255. Further probes are let through but not counted.
            if probes == 0xFF || self.exchange(word, word.with_probes(probes + 1)) {
                return true;
            }
        }
    }

    /// Records the end of an attempt. While the gate is closed, `count` counts the attempt and returns whether the
    /// server is still healthy. `may` returns whether the server may be isolated. `reset` deletes the counted failures.
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
                // This attempt does not change the state: it was sent before the isolation began, or it was sent
                // although the server was isolated.
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
                    // A probe without a result does not change the state. The next attempt becomes a probe in its
                    // place.
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
                    // A failed probe isolates the server for twice as long as before.
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

    /// Opens a closed gate if `may` allows it. Returns the change, or `None` if the gate was not opened. If several
    /// threads find at the same time that the server is unhealthy, only one of them calls `may`.
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
        let soon = units(now).wrapping_sub(returned) < units_of(options.times.max().micros());
        let level = match word.level() {
            NEVER_OPEN => 0,
            level if soon => IsolationOptions::doubled(level),
            _ => 0,
        };
        Some(self.isolate(word, options, now, level))
    }

    fn isolate(&self, word: GateWord, options: &IsolationOptions, now: Instant, level: u32) -> BreakerChange {
        let isolation = options.lasts(level);
        // The end is rounded up to whole units, so that no isolation is shorter than stated.
        let end = Instant::from_micros((now + isolation).as_micros().saturating_add((1 << UNIT_BITS) - 1));
        self.publish(word, GateState::Open, level, 0, units(end));
        BreakerChange::Isolated { isolation: isolation.to_duration() }
    }

    /// Returns how many [`units`] of an isolation are left. Returns 0 after the end of the isolation. After the end,
    /// the subtraction wraps. The difference is then much longer than any isolation, which shows that the end has
    /// passed.
    fn remaining(&self, word: GateWord, options: &IsolationOptions, now: Instant) -> u32 {
        let remaining = self.when.load(Ordering::Relaxed).wrapping_sub(units(now));
        if remaining <= units_of(options.lasts(word.level())) + SLACK { remaining } else { 0 }
    }

    /// Returns whether the probing has lasted longer than the longest isolation. If so, the probes count as lost, and
    /// new probes may start.
    fn probe_is_lost(&self, options: &IsolationOptions, now: Instant) -> bool {
        let since = units(now).wrapping_sub(self.when.load(Ordering::Relaxed));
        units_of(options.times.max().micros()) < since && since < u32::MAX / 2
    }

    /// Returns whether an attempt that ends now began before the probing. Such an attempt says nothing about the
    /// server's present state. Drivers may round times, so there is a tolerance of one unit. This tolerance is safe:
    /// the server was still isolated in that unit, so no earlier attempt is mistaken for a probe.
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

    /// Claims a change of state for this thread. Returns the claimed word. Returns `None` if another thread has changed
    /// the word first.
    fn claim(&self, word: GateWord, state: GateState) -> Option<GateWord> {
        let claimed = word.to(state, word.level(), word.probes());
        self.exchange(word, claimed).then_some(claimed)
    }

    /// Completes a change that this thread has claimed. The time is stored before the state. So a thread that sees the
    /// new state also sees the new time.
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

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{Bounded, IsolationOptions, SpanRange};
    use crate::bounded::{BoundedSpan, OutOfRange};
    use crate::field::named::{Named, fields};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename = "IsolationOptions", default, deny_unknown_fields)]
    pub(super) struct Fields {
        #[serde(deserialize_with = "min")]
        min: BoundedSpan<10, 3_600_000>,
        #[serde(deserialize_with = "max")]
        max: BoundedSpan<10, 3_600_000>,
        #[serde(deserialize_with = "probes")]
        probes: Bounded<1, 100>,
    }

    impl Default for Fields {
        fn default() -> Self {
            IsolationOptions::DEFAULT.into()
        }
    }

    impl From<IsolationOptions> for Fields {
        fn from(options: IsolationOptions) -> Self {
            let IsolationOptions { times, probes } = options;
            Self { min: times.min(), max: times.max(), probes }
        }
    }

    impl TryFrom<Fields> for IsolationOptions {
        type Error = Named<OutOfRange>;

        fn try_from(fields: Fields) -> Result<Self, Self::Error> {
            let Fields { min, max, probes } = fields;
            let times = SpanRange::between(min, max).map_err(|error| Named { field: "isolation.", error })?;
            Ok(Self { times, probes })
        }
    }

    fields! {
        min: required, "isolation.min", BoundedSpan<10, 3_600_000>;
        max: required, "isolation.max", BoundedSpan<10, 3_600_000>;
        probes: required, "isolation.probes", Bounded<1, 100>;
    }
}

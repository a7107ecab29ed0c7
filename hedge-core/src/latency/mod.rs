//! How long attempts took lately, in constant memory: [`LatencyRecorder`].
//!
//! Latencies are counted in 240 buckets, 8 an octave, from 1 us to 2^32 us (71 minutes; what is longer counts as that).
//! A quantile is the middle of the bucket that it lies in: at most 6 % off, 4.9 % from 64 us on. What was abandoned is
//! counted apart, as a lower bound (L13), and quantiles are estimated from both by the product limit (Kaplan, Meier
//! 1958): they are those of the latencies as if nothing had been abandoned, so that hedging does not change what it is
//! measured by.
//!
//! # The window
//!
//! The window is kept in two halves that take turns: one is recorded into, the other is as it was left, and after half
//! a window the older is cleared. So what is asked is answered from the last half to whole window, what is older than
//! the window is gone without a trace, and counts are whole numbers. (Halving all counts every so often would need one
//! half only, and an eighth of what was before a change would still be there three half-lives later: too much beside
//! the 5 % or 2 % that a tail is made of.) Time is counted in slices of a power of two of microseconds, 32 to 64 a
//! window, so that nothing is divided; the window is as long as was asked for, give or take a 32nd. An instant earlier
//! than one already seen counts as the latest seen, and a pause of any length, or a step forwards, is a window that
//! passed.
//!
//! # Cost
//!
//! 1976 bytes. Recording is a look at the slice, one atomic addition, and one more read-modify-write when the latency
//! is the longest yet. Once a slice one recorder is elected by a compare-and-swap to do the upkeep: it forgets what is
//! old and finds the kept quantile, in a walk through the buckets. Nobody waits for it: who comes meanwhile records as
//! always. Reading the kept quantile is one load.
//!
//! A bucket of one half holds 2^18 answers and 2^14 abandoned attempts. When one is half full, all of its half are
//! halved: what is recorded after that weighs twice as much, and the count stays right. If that takes so long that it
//! is full, what does not fit is not counted; nothing ever wraps.

mod estimate;
mod grid;
mod half;
mod quantile;
mod snapshot;

#[cfg(test)]
mod tests;

use core::fmt;

pub use quantile::{Quantile, QuantileError};
pub use snapshot::{Hedged, Snapshot};

pub(crate) use half::Sample;

use crate::atomic::{AtomicU32, Ordering, acquire, fence};
use crate::time::{Duration, Instant};
use estimate::{Cell, bucket_at};
use grid::BUCKETS;
use half::Half;

/// The shortest window.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest window.
const LONGEST: Duration = Duration::from_secs(3_600);

/// No bucket.
const NONE: u32 = u32::MAX;

/// How often a reader looks again because the upkeep was underway, before it takes what it sees.
const READS: usize = 3;

/// The recent latencies of attempts, shared by threads through `&self`: see the [module](self).
///
/// ```
/// use hedge_core::latency::{LatencyRecorder, Quantile};
/// use hedge_core::time::{Duration, Instant};
///
/// let latencies = LatencyRecorder::new(Duration::from_secs(10), Quantile::P95)?;
/// for millis in 1..=100 {
///     latencies.record(Instant::from_millis(10 * millis), Duration::from_millis(millis));
/// }
/// let snapshot = latencies.snapshot(Instant::from_millis(1_000));
/// assert_eq!((snapshot.count(), snapshot.max()), (100, Duration::from_millis(100)));
/// assert_eq!(snapshot.quantile(Quantile::P50).map(|p50| p50.as_millis()), Some(48)); // 50 ms, within 6 %
/// # Ok::<(), hedge_core::latency::WindowError>(())
/// ```
pub struct LatencyRecorder {
    halves: [Half; 2],
    /// Odd while somebody is at the upkeep; each upkeep moves it on by two.
    turn: AtomicU32,
    /// The half that is recorded into is its lowest bit.
    current: AtomicU32,
    /// The latest slice that was seen, in two words: its lower half and its upper half.
    seen: [AtomicU32; 2],
    /// How many slices the current half has been recorded into, and how many the other was.
    ages: [AtomicU32; 2],
    /// The kept quantile's bucket, or [`NONE`].
    kept: AtomicU32,
    quantile: Quantile,
    /// A slice is 2^`shift` microseconds.
    shift: u8,
    /// Slices in half a window: 16 to 32.
    half: u8,
}

impl LatencyRecorder {
    /// 10 s, brpc's: a hundred samples at ten attempts a second, and a change is forgotten while it still matters.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(10);

    /// A recorder over `window`, from 1 s to 3600 s, that keeps `quantile` at hand.
    ///
    /// # Errors
    /// Any other window.
    pub const fn new(window: Duration, quantile: Quantile) -> Result<Self, WindowError> {
        match Self::check(window) {
            Ok(()) => Ok(Self::over(window.as_micros(), quantile)),
            Err(error) => Err(error),
        }
    }

    /// Whether there can be such a window.
    pub(crate) const fn check(window: Duration) -> Result<(), WindowError> {
        let micros = window.as_micros();
        if micros < SHORTEST.as_micros() || micros > LONGEST.as_micros() { Err(WindowError { window }) } else { Ok(()) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the shift is below 64, and half a window 16 to 32 slices")]
    const fn over(window_us: u64, quantile: Quantile) -> Self {
        // Half a window as a number of five bits, rounded.
        let half_us = window_us / 2;
        let shift = 59 - half_us.leading_zeros();
        let half = (half_us + (1 << shift >> 1)) >> shift;
        Self {
            halves: [Half::NEW, Half::NEW],
            turn: AtomicU32::new(0),
            current: AtomicU32::new(0),
            seen: [AtomicU32::new(0), AtomicU32::new(0)],
            ages: [AtomicU32::new(0), AtomicU32::new(0)],
            kept: AtomicU32::new(NONE),
            quantile,
            shift: shift as u8,
            half: half as u8,
        }
    }

    /// How long the window really is.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros((2 * self.half as u64) << self.shift)
    }

    /// How much time passes between two looks for the kept quantile: a 32nd to a 64th of the window.
    #[must_use]
    pub const fn slice(&self) -> Duration {
        Duration::from_micros(1 << self.shift)
    }

    /// Records an attempt that was answered.
    pub fn record(&self, now: Instant, latency: Duration) {
        self.note(now, latency, Sample::Answered);
    }

    /// Records an attempt that nobody waited for any longer when it had taken `age`: its latency is more than that.
    pub fn record_censored(&self, now: Instant, age: Duration) {
        self.note(now, age, Sample::Abandoned);
    }

    /// The kept quantile as it was when somebody last looked, at the first recording of a slice: one load. `None` if
    /// there were no samples.
    #[must_use]
    pub fn kept(&self) -> Option<Duration> {
        let bucket = self.kept.load(Ordering::Relaxed);
        usize::try_from(bucket).ok().filter(|bucket| *bucket < BUCKETS).map(grid::middle)
    }

    /// A quantile in the window that ends at `now`, as [`Snapshot::quantile`]: two walks through the buckets.
    #[must_use]
    pub fn quantile(&self, now: Instant, quantile: Quantile) -> Option<Duration> {
        self.consistent(|| bucket_at(self.alive(now).cells(), quantile)).map(grid::middle)
    }

    /// All of the window that ends at `now`, in 2 KB of plain numbers. Changes nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.consistent(|| self.alive(now).snapshot(self.shift))
    }

    /// Whether all that was recorded has left the window at `now`: one load. After a leap to the very slice, 2^32 or
    /// more slices on (2 years at the shortest window), it does not notice.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        let window = u32::from(self.half) * 2;
        let slice = self.slice_of(now);
        lower(slice).wrapping_sub(self.seen[0].load(Ordering::Relaxed)) >= window
            && slice.saturating_sub(self.seen()) >= window.into()
    }

    /// Records a sample. Whoever was elected for the upkeep is told what it found.
    pub(crate) fn note(&self, now: Instant, span: Duration, sample: Sample) -> Option<Found> {
        let slice = self.slice_of(now);
        let found = if lower(slice) == self.seen[0].load(Ordering::Relaxed) { None } else { self.look_after(slice) };
        let half = self.half_at(self.current.load(Ordering::Relaxed));
        if half.add(span, sample) {
            self.relieve(half);
        }
        found
    }

    // ---- upkeep ----

    /// Moves on to a later slice: forgets what is old, and finds the kept quantile.
    #[cold]
    #[inline(never)]
    fn look_after(&self, slice: u64) -> Option<Found> {
        if slice <= self.seen() {
            return None;
        }
        self.upkeep(|| {
            let passed = slice.saturating_sub(self.seen());
            if passed == 0 {
                return None;
            }
            self.pass(passed);
            let [seen_lower, seen_upper] = &self.seen;
            seen_lower.store(lower(slice), Ordering::Relaxed);
            seen_upper.store(lower(slice >> 32), Ordering::Relaxed);
            let alive = Alive { halves: self.halves.each_ref().map(Some), ..Alive::default() };
            let bucket = bucket_at(alive.cells(), self.quantile);
            self.kept.store(bucket.and_then(|bucket| u32::try_from(bucket).ok()).unwrap_or(NONE), Ordering::Relaxed);
            Some(Found { bucket, answers: alive.answers() })
        })?
    }

    /// Lets slices pass.
    fn pass(&self, slices: u64) {
        let half = u32::from(self.half);
        let [age, other] = &self.ages;
        let Some(total) = u32::try_from(slices).ok().and_then(|slices| slices.checked_add(age.load(Ordering::Relaxed)))
        else {
            return self.forget();
        };
        if total < half {
            age.store(total, Ordering::Relaxed);
        } else if total < 2 * half {
            let current = self.current.load(Ordering::Relaxed).wrapping_add(1);
            self.half_at(current).clear();
            self.current.store(current, Ordering::Relaxed);
            age.store(total - half, Ordering::Relaxed);
            other.store(half, Ordering::Relaxed);
        } else {
            self.forget();
        }
    }

    fn forget(&self) {
        self.halves.iter().for_each(Half::clear);
        self.ages.iter().for_each(|age| age.store(0, Ordering::Relaxed));
    }

    /// Halves a half that a bucket of has become half full.
    #[cold]
    #[inline(never)]
    fn relieve(&self, half: &Half) {
        self.upkeep(|| {
            if half.is_crowded() {
                half.relieve();
            }
        });
    }

    /// Does what only one may do at a time; `None` if another is at it.
    fn upkeep<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let turn = self.turn.load(Ordering::Relaxed) & !1;
        self.turn.compare_exchange(turn, turn | 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Whoever sees any of it sees that it is underway.
        fence(Ordering::Release);
        let done = work();
        self.turn.store(turn.wrapping_add(2), Ordering::Release);
        Some(done)
    }

    // ---- reading ----

    /// Reads again if the upkeep was underway, but does not wait for it to end: it may be whom this interrupts.
    fn consistent<T>(&self, read: impl Fn() -> T) -> T {
        for _ in 1..READS {
            let turn = acquire(&self.turn);
            let seen = read();
            fence(Ordering::Acquire);
            if turn & 1 == 0 && self.turn.load(Ordering::Relaxed) == turn {
                return seen;
            }
        }
        read()
    }

    /// What is in the window that ends at `now`.
    fn alive(&self, now: Instant) -> Alive<'_> {
        let half = u64::from(self.half);
        let [age, other] = self.ages.each_ref().map(|age| u64::from(age.load(Ordering::Relaxed)));
        let age = age.saturating_add(self.slice_of(now).saturating_sub(self.seen()));
        let current = self.current.load(Ordering::Relaxed);
        let of_slice = now.as_micros() & (self.slice().as_micros() - 1);
        if age < half {
            Alive { halves: [current, current ^ 1].map(|half| Some(self.half_at(half))), slices: age + other, of_slice }
        } else if age < 2 * half {
            Alive { halves: [Some(self.half_at(current)), None], slices: age, of_slice }
        } else {
            Alive::default()
        }
    }

    // ---- small questions ----

    fn half_at(&self, turn: u32) -> &Half {
        let [even, odd] = &self.halves;
        if turn & 1 == 0 { even } else { odd }
    }

    fn seen(&self) -> u64 {
        let [lower, upper] = self.seen.each_ref().map(|word| u64::from(word.load(Ordering::Relaxed)));
        upper << 32 | lower
    }

    const fn slice_of(&self, now: Instant) -> u64 {
        now.as_micros() >> self.shift
    }
}

impl Default for LatencyRecorder {
    /// Over 10 s, with the 95th percentile at hand.
    fn default() -> Self {
        Self::over(Self::DEFAULT_WINDOW.as_micros(), Quantile::P95)
    }
}

impl fmt::Debug for LatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyRecorder")
            .field("window", &self.window())
            .field("quantile", &self.quantile)
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is the lower half that is asked for")]
const fn lower(slice: u64) -> u32 {
    slice as u32
}

/// What the upkeep found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The kept quantile's.
    bucket: Option<usize>,
    /// How many answers the window holds; what was abandoned is not among them.
    pub(crate) answers: u64,
}

impl Found {
    /// The end of the kept quantile's bucket: no latency up to the quantile is longer, and it is at most 9.7 % longer
    /// than the quantile. `None` without samples.
    pub(crate) fn end(self) -> Option<Duration> {
        self.bucket.map(grid::end)
    }
}

/// What of a recorder lies in the window, and how much time that is.
#[derive(Clone, Copy, Default)]
struct Alive<'a> {
    halves: [Option<&'a Half>; 2],
    slices: u64,
    /// Microseconds of the slice that is not over yet.
    of_slice: u64,
}

impl<'a> Alive<'a> {
    fn halves(self) -> impl Iterator<Item = &'a Half> + Clone {
        self.halves.into_iter().flatten()
    }

    fn cells(self) -> impl Iterator<Item = Cell> + Clone {
        (0..BUCKETS).map(move |bucket| self.halves().fold(Cell::default(), |cell, half| cell.plus(half.cell(bucket))))
    }

    fn answers(self) -> u64 {
        let relieved: u64 = self.halves().map(|half| half.relieved()[0]).sum();
        relieved + self.cells().map(|cell| u64::from(cell.answered)).sum::<u64>()
    }

    fn snapshot(self, shift: u8) -> Snapshot {
        let mut snapshot = Snapshot::new();
        snapshot.fill(self.cells(), Duration::from_micros((self.slices << shift) + self.of_slice));
        for half in self.halves() {
            snapshot.count_in(half.relieved(), half.max());
        }
        snapshot
    }
}

/// A window that is not from 1 s to 3600 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowError {
    /// What was asked for.
    pub window: Duration,
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window {}: must be in [{SHORTEST}, {LONGEST}]", self.window)
    }
}

impl core::error::Error for WindowError {}

//! How long attempts took lately, in constant memory: [`LatencyRecorder`].
//!
//! Latencies are counted in 240 buckets, 8 per octave, from 1 us to 2^32 us (71 minutes; longer ones count as that). A
//! quantile is the middle of the bucket that it lies in: at most 6 % off, and at most 4.9 % from 64 us on. Abandoned
//! attempts are counted apart, as lower bounds of a latency ([L13](crate::rules#L13)). Quantiles are estimated from both by
//! the product limit (Kaplan and Meier, 1958): they are the quantiles as if nothing had been abandoned, so that hedging
//! does not distort its own measure.
//!
//! # The window
//!
//! The window is kept in two halves that take turns: samples go into one, the other stays as it is, and after half a window
//! the older one is cleared and takes over. So an answer covers the last half to whole window, samples older than the
//! window are gone completely, and counts are whole numbers. (Exponential decay, which halves all counts from time to time,
//! would need one half only. But three half-lives after a change an eighth of the old samples would remain, which is too
//! much against the 5 % or 2 % that make up a tail.) Time is counted in slices of a power of two of microseconds, 32 to 64
//! per window, so that nothing is divided. The window is as long as was asked for, give or take a 32nd.
//!
//! A pause of any length, or a forward step of the clock, counts as time that has passed. An instant that is earlier than
//! the latest seen, but by less than the window, counts as the latest seen: threads report their readings in any order, and
//! a clock that was set back by so little stands still until it has caught up. An instant that is earlier by the window or
//! more means that the clock was set back: what was recorded is forgotten, and time goes on from there. So one wrong
//! reading discards the window. If it was less than a window ahead, later samples are booked at that reading until the
//! clock catches up.
//!
//! # Cost
//!
//! 1976 bytes. Recording is a look at the slice and one atomic addition. It takes one more read-modify-write when the
//! latency is the longest yet, or when there is no room to count every sample. Once per slice a compare-and-swap elects one
//! recorder for the upkeep: it forgets what is old and finds the kept quantile, by walking through the buckets. No other
//! thread waits for it; they record as always meanwhile. Reading the kept quantile is one load.
//!
//! # Many samples
//!
//! A bucket of one half holds 2^18 answers and 2^14 abandoned attempts. When a bucket is half full, all counts of its half
//! are halved, and each sample that is left stands for two. Of the samples that are recorded into that half afterwards, one
//! of every two is drawn at random (from a hash) and counted in its bucket; after the next halving it is one of every four,
//! and so on. So all samples weigh the same, across both halves and in merged snapshots too, and the number of samples
//! stays exact. At least 65,536 answers or 4,096 abandoned attempts are left in the fullest bucket. A share of the
//! distribution is usually off by less than a hundredth. A tail that holds only a few of the samples left is as uncertain
//! as any tail of so few samples. If halving takes so long that a bucket becomes full, further samples are in no bucket,
//! though still counted; nothing ever wraps.

mod estimate;
mod grid;
pub(crate) mod half;
mod halves_state;
mod quantile;
pub(crate) mod seq_lock;
mod snapshot;

#[cfg(test)]
mod tests;

use core::fmt;

pub use quantile::{Quantile, QuantileError};
pub use snapshot::{Hedged, Snapshot, Within};

pub(crate) use half::Sample;

use crate::atomic::{AtomicU32, Ordering, acquire};
use crate::time::{Duration, Instant, Micros};
use estimate::{Cell, bucket_at};
use grid::BUCKETS;
use half::Half;
use halves_state::{HalvesState, lower};
use seq_lock::SeqLock;

/// The shortest window.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest window.
const LONGEST: Duration = Duration::from_secs(3_600);

/// No bucket.
const NONE: u32 = u32::MAX;

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
    /// Taken by the thread that does the upkeep.
    upkeep: SeqLock,
    /// A [`HalvesState`].
    halves_state: AtomicU32,
    /// The latest slice that was seen, in two words: its lower half and its upper half.
    seen: [AtomicU32; 2],
    /// The kept quantile's bucket, or [`NONE`].
    kept: AtomicU32,
    quantile: Quantile,
    /// A slice is 2^`shift` microseconds.
    shift: u8,
    /// Slices in half a window: 16 to 32.
    half: u8,
}

impl LatencyRecorder {
    /// 10 s, as in brpc. That is a hundred samples at ten attempts a second, and short enough to follow a change in time.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(10);

    /// A recorder over `window`, from 1 s to 3600 s, that keeps `quantile` at hand (see [`Self::kept`]).
    ///
    /// # Errors
    /// [`WindowError`] for any other window.
    pub const fn new(window: Duration, quantile: Quantile) -> Result<Self, WindowError> {
        match Self::check(window) {
            Ok(()) => Ok(Self::over(Micros::from_duration(window).as_micros(), quantile)),
            Err(error) => Err(error),
        }
    }

    /// Checks that a window is from 1 s to 3600 s.
    pub(crate) const fn check(window: Duration) -> Result<(), WindowError> {
        let micros = Micros::from_duration(window).as_micros();
        let (shortest, longest) =
            (Micros::from_duration(SHORTEST).as_micros(), Micros::from_duration(LONGEST).as_micros());
        if micros < shortest || micros > longest { Err(WindowError { window }) } else { Ok(()) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the shift is below 64, and half a window 16 to 32 slices")]
    const fn over(window_us: u64, quantile: Quantile) -> Self {
        // Half a window as a number of five bits, rounded.
        let half_us = window_us / 2;
        let shift = 59 - half_us.leading_zeros();
        let half = (half_us + (1 << shift >> 1)) >> shift;
        Self {
            halves: [Half::NEW, Half::NEW],
            upkeep: SeqLock::new(),
            halves_state: AtomicU32::new(HalvesState::FIRST.word()),
            seen: [AtomicU32::new(0), AtomicU32::new(0)],
            kept: AtomicU32::new(NONE),
            quantile,
            shift: shift as u8,
            half: half as u8,
        }
    }

    /// How long the window really is: what was asked for, rounded to whole slices.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_slices() << self.shift)
    }

    /// How much time passes between two updates of the kept quantile: a 32nd to a 64th of the window.
    #[must_use]
    pub const fn slice(&self) -> Duration {
        Duration::from_micros(1 << self.shift)
    }

    /// Records an attempt that was answered.
    pub fn record(&self, now: Instant, latency: Duration) {
        self.note(now, latency.into(), Sample::Answered);
    }

    /// Records an attempt that was abandoned when it had taken `age`: its latency is more than that.
    pub fn record_censored(&self, now: Instant, age: Duration) {
        self.note(now, age.into(), Sample::Abandoned);
    }

    /// The kept quantile as of its last update, which is made by the first recording in each slice. One load. `None` if
    /// there were no samples.
    #[must_use]
    pub fn kept(&self) -> Option<Duration> {
        let bucket = self.kept.load(Ordering::Relaxed);
        usize::try_from(bucket).ok().filter(|bucket| *bucket < BUCKETS).map(|bucket| grid::middle(bucket).to_duration())
    }

    /// A quantile in the window that ends at `now`, as [`Snapshot::quantile`]: two walks through the buckets.
    #[must_use]
    pub fn quantile(&self, now: Instant, quantile: Quantile) -> Option<Duration> {
        let bucket = self.upkeep.read(|| bucket_at(self.alive(now).cells(), quantile))?;
        Some(grid::middle(bucket).to_duration())
    }

    /// A copy of the window that ends at `now`: 2 KB of plain numbers. Changes nothing. A copy that is taken during the
    /// upkeep may show what was before it.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.upkeep.read(|| self.alive(now).snapshot(self.shift))
    }

    /// Whether everything recorded has left the window at `now`, or the clock was set back by at least a window. Usually
    /// one load, of the lower 32 bits of the slice. So it does not notice a leap by a whole multiple of 2^32 slices, which
    /// is 2 years at the shortest window.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        let slice = self.slice_of(now);
        let passed = lower(slice).wrapping_sub(self.seen[0].load(Ordering::Relaxed));
        u64::from(passed) >= self.window_slices() && self.is_elsewhere(slice, self.seen())
    }

    /// Records a sample. If this recording does the upkeep, returns what the upkeep found.
    pub(crate) fn note(&self, now: Instant, span: Micros, sample: Sample) -> Option<Found> {
        let slice = self.slice_of(now);
        let found = if lower(slice) == self.seen[0].load(Ordering::Relaxed) { None } else { self.look_after(slice) };
        // The acquire load pairs with the release store of the upkeep: a thread that sees a state sees its half cleared.
        let [half, _] = self.halves_at(HalvesState::of_word(acquire(&self.halves_state)));
        if half.add(span, sample) {
            self.halve_counts(half);
        }
        found
    }

    // ---- upkeep ----

    /// The upkeep: moves on to another slice, forgets what is old, and finds the kept quantile.
    #[cold]
    #[inline(never)]
    fn look_after(&self, slice: u64) -> Option<Found> {
        let is_past = |seen| slice <= seen && !self.is_elsewhere(slice, seen);
        if is_past(self.seen()) {
            return None;
        }
        self.upkeep.try_write(|| {
            let seen = self.seen();
            if is_past(seen) {
                return None;
            }
            let state = self.pass(seen, slice);
            let [seen_lower, seen_upper] = &self.seen;
            seen_lower.store(lower(slice), Ordering::Relaxed);
            seen_upper.store(lower(slice >> 32), Ordering::Relaxed);
            let [current, other] = self.halves_at(state);
            let alive = Alive { halves: [Some(current), state.is_joined().then_some(other)], ..Alive::default() };
            let bucket = bucket_at(alive.cells(), self.quantile);
            self.kept.store(bucket.and_then(|bucket| u32::try_from(bucket).ok()).unwrap_or(NONE), Ordering::Relaxed);
            Some(Found { bucket, answers: alive.answers() })
        })?
    }

    /// Swaps the halves if it is time. One store publishes the swap, so that no reader takes the new half, which is empty,
    /// for the whole window.
    fn pass(&self, seen: u64, slice: u64) -> HalvesState {
        let half = u64::from(self.half);
        let state = HalvesState::of_word(self.halves_state.load(Ordering::Relaxed));
        let age = if self.is_elsewhere(slice, seen) { u64::MAX } else { state.age(slice) };
        if age < half {
            return state;
        }
        let next = match age.checked_sub(2 * half) {
            None => state.next(slice.saturating_sub(age - half), true),
            Some(_) => state.next(slice, false),
        };
        let [cleared, _] = self.halves_at(next);
        cleared.clear();
        self.halves_state.store(next.word(), Ordering::Release);
        next
    }

    /// Halves the counts of a half in which a bucket has become half full.
    #[cold]
    #[inline(never)]
    fn halve_counts(&self, half: &Half) {
        self.upkeep.try_write(|| {
            if half.is_half_full() {
                half.halve_counts();
            }
        });
    }

    // ---- reading ----

    /// The halves that lie in the window that ends at `now`.
    pub(crate) fn alive(&self, now: Instant) -> Alive<'_> {
        let half = u64::from(self.half);
        let (state, seen, slice) = (HalvesState::of_word(acquire(&self.halves_state)), self.seen(), self.slice_of(now));
        if self.is_elsewhere(slice, seen) {
            return Alive::default();
        }
        let [current, other] = self.halves_at(state);
        let of_slice = now.as_micros() & ((1 << self.shift) - 1);
        match state.age(slice.max(seen)) {
            age if age < half && state.is_joined() => {
                Alive { halves: [Some(current), Some(other)], slices: age + half, of_slice }
            }
            age if age < 2 * half => Alive { halves: [Some(current), None], slices: age, of_slice },
            _ => Alive::default(),
        }
    }

    // ---- small questions ----

    /// The current half and the other one.
    const fn halves_at(&self, state: HalvesState) -> [&Half; 2] {
        let [first, second] = &self.halves;
        if state.is_second() { [second, first] } else { [first, second] }
    }

    /// Whether a slice is a window or more away from the latest seen, before it or after it. Then nothing of the window is
    /// left.
    fn is_elsewhere(&self, slice: u64, seen: u64) -> bool {
        slice.abs_diff(seen) >= self.window_slices()
    }

    const fn window_slices(&self) -> u64 {
        2 * self.half as u64
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
        Self::over(Micros::from_duration(Self::DEFAULT_WINDOW).as_micros(), Quantile::P95)
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

/// What the upkeep found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The bucket of the kept quantile.
    bucket: Option<usize>,
    /// How many answers the window holds, without abandoned attempts.
    pub(crate) answers: u64,
}

impl Found {
    /// The end of the kept quantile's bucket: no latency up to the quantile is longer, and it is at most 9.7 % longer
    /// than the quantile. `None` without samples.
    pub(crate) fn end(self) -> Option<Micros> {
        self.bucket.map(grid::end)
    }
}

/// The part of a recorder that lies in the window, and how much time it covers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Alive<'a> {
    halves: [Option<&'a Half>; 2],
    slices: u64,
    /// Microseconds since the current slice began.
    of_slice: u64,
}

impl<'a> Alive<'a> {
    pub(crate) fn halves(self) -> impl Iterator<Item = &'a Half> + Clone {
        self.halves.into_iter().flatten()
    }

    fn cells(self) -> impl Iterator<Item = Cell> + Clone {
        (0..BUCKETS).map(move |bucket| self.halves().fold(Cell::default(), |cell, half| cell.plus(half.cell(bucket))))
    }

    fn answers(self) -> u64 {
        self.halves().map(|half| half.counts()[0]).sum()
    }

    fn snapshot(self, shift: u8) -> Snapshot {
        let mut snapshot = Snapshot::new();
        snapshot.add(self.cells());
        for half in self.halves() {
            snapshot.count_in(half.counts(), half.max());
            // At least a slice: a rate over less than that would say little.
            snapshot.cover(Micros::from_micros(((self.slices << shift) + self.of_slice).max(1 << shift)));
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
        write!(
            f,
            "window {}: must be in [{}, {}]",
            Micros::from(self.window),
            Micros::from(SHORTEST),
            Micros::from(LONGEST)
        )
    }
}

impl core::error::Error for WindowError {}

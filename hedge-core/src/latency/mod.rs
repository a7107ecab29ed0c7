//! The recent latencies of attempts, in constant memory: [`LatencyRecorder`].
//!
//! Latencies are counted in 240 buckets, 8 for each doubling, from 1 us to 2^32 us (71 minutes; longer latencies count
//! in the last bucket). A quantile is reported as the middle of the bucket that contains it. The error is at most 6 %,
//! and at most 4.9 % from 64 us on. Abandoned attempts are counted separately, as lower bounds of a latency
//! ([L13](crate::rules#L13)). Quantiles are estimated from both kinds by the product limit (Kaplan and Meier, 1958).
//! The product limit estimates the quantiles as if no attempt had been abandoned. So hedging does not distort the
//! measurement of latencies.
//!
//! # The window
//!
//! The window consists of two halves that take turns. Samples go into one half while the other half stays unchanged.
//! After half a window, the older half is cleared and receives the samples. So a result covers at least the last half
//! window and at most the last window. Samples older than the window are gone completely, and counts are whole numbers.
//! (The alternative is exponential decay, which halves all counts from time to time and needs only one set of counts.
//! But three half-lives after a change, an eighth of the old samples would remain. This is too much for measuring a
//! tail of 5 % or 2 %.) Time is counted in slices. The length of a slice is a power of two of microseconds, and a
//! window has 32 to 64 slices, so nothing is divided. The real length of the window differs from the requested length
//! by at most 1/32.
//!
//! A pause of any length, or a forward step of the clock, counts as time that has passed. An instant may be earlier
//! than the latest instant seen. If the difference is less than the window, the instant counts as the latest instant:
//! threads report their readings in any order, and a clock that was set back by so little counts as standing still
//! until it has caught up. If the difference is the window or more, the clock was set back. Then all samples are
//! deleted, and time continues from the new reading. So one wrong reading discards the window. If that reading was less
//! than a window ahead, later samples are booked at that reading until the clock catches up.
//!
//! # Cost
//!
//! A recorder takes 1976 bytes. Recording a sample compares the slice and does one atomic addition. It needs one more
//! read-modify-write if the latency is the longest yet, or if only a part of the samples is counted. Once per slice, a
//! compare-and-swap elects one recording that does the upkeep. The upkeep deletes old samples. It also goes through the
//! buckets and computes the quantile that [`LatencyRecorder::kept`] returns (the kept quantile). Other threads do not
//! wait for the upkeep, and record as usual during it. Reading the kept quantile is one load.
//!
//! # Many samples
//!
//! In each half, a bucket can count 2^18 answers and 2^14 abandoned attempts. When a bucket is half full, all counts of
//! its half are halved, and each remaining sample stands for two samples. After that, one of every two new samples of
//! this half is drawn at random (by a hash) and counted in its bucket. After the next halving it is one of every four,
//! and so on. So all samples have the same weight, in both halves and also in merged snapshots, and the number of
//! samples stays exact. At least 65,536 answers or 4,096 abandoned attempts are left in the fullest bucket. A share of
//! the distribution is usually off by less than a hundredth. If only a few of the remaining samples are in a tail,
//! quantiles in the tail are as uncertain as with any small number of samples. If halving takes so long that a bucket
//! becomes full, further samples of this bucket count only in the total. No count ever wraps.

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
use crate::bounded::BoundedSpan;
use crate::time::{Duration, Instant, Micros};
use estimate::{Cell, bucket_at};
use grid::BUCKETS;
use half::Half;
use halves_state::{HalvesState, lower};
use seq_lock::SeqLock;

/// The length of the window: how long a latency counts as recent, in \[1 s, 1 h\].
pub type LatencyWindow = BoundedSpan<1_000, 3_600_000>;

/// The value of `kept` if there is no kept quantile.
const NONE: u32 = u32::MAX;

/// Records the recent latencies of attempts, and estimates quantiles of them; see the [module](self). Threads share a
/// recorder through `&self`.
///
/// ```
/// use hedge_core::latency::{LatencyRecorder, Quantile};
/// use hedge_core::time::{Duration, Instant};
///
/// let latencies = LatencyRecorder::new(LatencyRecorder::DEFAULT_WINDOW, Quantile::P95);
/// for millis in 1..=100 {
///     latencies.record(Instant::from_millis(10 * millis), Duration::from_millis(millis));
/// }
/// let snapshot = latencies.snapshot(Instant::from_millis(1_000));
/// assert_eq!((snapshot.count(), snapshot.max()), (100, Duration::from_millis(100)));
/// assert_eq!(snapshot.quantile(Quantile::P50).map(|p50| p50.as_millis()), Some(48)); // 50 ms, within 6 %
/// ```
pub struct LatencyRecorder {
    halves: [Half; 2],
    /// The lock for the upkeep. The thread that does the upkeep holds this lock.
    upkeep: SeqLock,
    /// The state of the two halves: a [`HalvesState`].
    halves_state: AtomicU32,
    /// The latest slice that was seen, in two words: its lower 32 bits and its upper 32 bits.
    seen: [AtomicU32; 2],
    /// The bucket of the kept quantile, or [`NONE`].
    kept: AtomicU32,
    quantile: Quantile,
    /// A slice is 2^`shift` microseconds.
    shift: u8,
    /// The number of slices in half a window: 16 to 32.
    half: u8,
}

impl LatencyRecorder {
    /// The default length of the window: 10 s, as in brpc. At ten attempts a second, such a window holds a hundred
    /// samples. It is also short enough to show soon that latencies have changed.
    pub const DEFAULT_WINDOW: LatencyWindow = BoundedSpan::of_secs::<10>();

    /// Makes an empty recorder with a window of the length `window`. The recorder keeps an estimate of `quantile`,
    /// which [`Self::kept`] returns.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the shift is below 64, and half a window 16 to 32 slices")]
    pub const fn new(window: LatencyWindow, quantile: Quantile) -> Self {
        // The shift leaves the upper five bits of half a window. So half a window is 16 to 31 slices, or 32 after
        // rounding.
        let half_us = window.micros().as_micros() / 2;
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

    /// Returns the real length of the window: the requested length, rounded to whole slices.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_slices() << self.shift)
    }

    /// Returns the length of a slice, which is 1/64 to 1/32 of the window. The kept quantile is updated at most once
    /// per slice.
    #[must_use]
    pub const fn slice(&self) -> Duration {
        Duration::from_micros(1 << self.shift)
    }

    /// Records the latency of an attempt that was answered.
    pub fn record(&self, now: Instant, latency: Duration) {
        self.note(now, latency.into(), Sample::Answered);
    }

    /// Records an attempt that was abandoned at the age `age`. The attempt's latency is unknown, but would have been
    /// longer than `age`.
    pub fn record_censored(&self, now: Instant, age: Duration) {
        self.note(now, age.into(), Sample::Abandoned);
    }

    /// Returns the kept quantile. Returns `None` if there were no samples at its last update. The first recording in
    /// each [slice](Self::slice) updates the kept quantile. Cost: one load.
    #[must_use]
    pub fn kept(&self) -> Option<Duration> {
        let bucket = self.kept.load(Ordering::Relaxed);
        usize::try_from(bucket).ok().filter(|bucket| *bucket < BUCKETS).map(|bucket| grid::middle(bucket).to_duration())
    }

    /// Returns a quantile of the window that ends at `now`, like [`Snapshot::quantile`]. Cost: this goes through the
    /// buckets twice.
    #[must_use]
    pub fn quantile(&self, now: Instant, quantile: Quantile) -> Option<Duration> {
        let bucket = self.upkeep.read(|| bucket_at(self.alive(now).cells(), quantile))?;
        Some(grid::middle(bucket).to_duration())
    }

    /// Returns a copy of the window that ends at `now`: 2 KB of plain numbers. The recorder is not changed. A copy that
    /// is made during the upkeep may show the state before the upkeep.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.upkeep.read(|| self.alive(now).snapshot(self.shift))
    }

    /// Returns whether the window is empty at `now`. It is empty if everything recorded has left the window, or if the
    /// clock was set back by at least a window. Cost: usually one load of the lower 32 bits of the slice. So a step of
    /// the clock by an exact multiple of 2^32 slices is not noticed. At the shortest window, 2^32 slices are 2 years.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        let slice = self.slice_of(now);
        let passed = lower(slice).wrapping_sub(self.seen[0].load(Ordering::Relaxed));
        u64::from(passed) >= self.window_slices() && self.is_elsewhere(slice, self.seen())
    }

    /// Records a sample. If this recording does the upkeep, returns the result of the upkeep. Otherwise returns `None`.
    pub(crate) fn note(&self, now: Instant, span: Micros, sample: Sample) -> Option<Found> {
        let slice = self.slice_of(now);
        let found = if lower(slice) == self.seen[0].load(Ordering::Relaxed) { None } else { self.look_after(slice) };
        // This acquire load pairs with the release store of the upkeep: a thread that sees a new state also sees that
        // its half was cleared.
        let [half, _] = self.halves_at(HalvesState::of_word(acquire(&self.halves_state)));
        if half.add(span, sample) {
            self.halve_counts(half);
        }
        found
    }

    // ---- upkeep ----

    /// Does the upkeep: moves on to another slice, deletes old samples, and finds the kept quantile. Returns `None` if
    /// no upkeep was needed, or if another thread does it.
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

    /// Swaps the halves if the current half is at least half a window old. Returns the present state of the halves. The
    /// swap is published by one store. With two stores, a reader could read only the new half, which is empty, and miss
    /// the samples of the other half.
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

    /// Halves the counts of a half if one of its buckets is half full.
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

    /// Returns the halves that overlap the window that ends at `now`.
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

    // ---- helpers ----

    /// Returns the current half and the other half, in this order.
    const fn halves_at(&self, state: HalvesState) -> [&Half; 2] {
        let [first, second] = &self.halves;
        if state.is_second() { [second, first] } else { [first, second] }
    }

    /// Returns whether a slice is at least one window before or after the latest slice that was seen. If so, no sample
    /// of the window is left.
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
    /// Makes a recorder of the last 10 s that keeps the 95th percentile.
    fn default() -> Self {
        Self::new(Self::DEFAULT_WINDOW, Quantile::P95)
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

/// The result of an upkeep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The bucket of the kept quantile.
    bucket: Option<usize>,
    /// How many answers the window holds, without abandoned attempts.
    pub(crate) answers: u64,
}

impl Found {
    /// Returns the end of the kept quantile's bucket. Returns `None` if there were no samples. No latency up to the
    /// quantile is longer than this end. From 64 us on, the end is at most 9.7 % longer than the quantile.
    pub(crate) fn end(self) -> Option<Micros> {
        self.bucket.map(grid::end)
    }
}

/// The halves of a recorder that overlap the window, and how much time they cover.
#[derive(Clone, Copy, Default)]
pub(crate) struct Alive<'a> {
    halves: [Option<&'a Half>; 2],
    slices: u64,
    /// How many microseconds of the current slice have passed.
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
            // At least one slice counts as covered, since a rate over a shorter time would be unreliable.
            snapshot.cover(Micros::from_micros(((self.slices << shift) + self.of_slice).max(1 << shift)));
        }
        snapshot
    }
}

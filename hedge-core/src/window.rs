//! Counting over a sliding window: [`SlidingCount`].
//!
//! Time is cut into buckets, and a count answers for the last window in one of two ways: [`SlidingCount::covering`] may
//! count what is a little older, never less than the window holds; [`SlidingCount::inside`] may leave out the window's
//! oldest part, and counts nothing that is older. Whoever limits something counts what is used by the first and what is
//! earned by the second, so that the edges of buckets are never to its user's advantage.
//!
//! # Cost
//!
//! 8 bytes a bucket, 128 at the default of 16. To add is one compare-and-swap, to count one load a bucket; nothing runs in
//! the background, and a bucket that has aged is taken over by whoever next adds to its place. There is no division: a
//! bucket is a power of two of microseconds wide.

use core::array;
use core::fmt;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Duration, Instant};

/// The shortest window, in seconds.
const SHORTEST_S: u64 = 1;
/// The longest window, in seconds.
const LONGEST_S: u64 = 3_600;

/// How many of something there were in the last window, in `N` buckets: a power of two from 4 to 256.
///
/// Shared by threads through `&self`. Counts are exact: whatever is added is in one bucket, once, until its bucket has left
/// the window, however long nothing was added or asked. A bucket holds up to 2^32 - 1 and stays there.
///
/// The clock may step. Forwards, by anything below 2^31 rounds of the buckets (142 years at the shortest window and the
/// default `N`), is a pause. Backwards is no time at all: until the clock is back where it was, what is asked is answered
/// for the latest bucket that was added to, and what is added may count as older than it is.
///
/// ```
/// use hedge_core::time::{Duration, Instant};
/// use hedge_core::window::SlidingCount;
///
/// let calls: SlidingCount = SlidingCount::new(Duration::from_secs(10))?;
/// calls.add(Instant::from_millis(0), 3);
/// calls.add(Instant::from_millis(9_000), 1);
/// assert_eq!(calls.covering(Instant::from_millis(9_500)), 4);
/// assert_eq!(calls.inside(Instant::from_millis(12_000)), 1);
/// # Ok::<(), hedge_core::window::WindowError>(())
/// ```
pub struct SlidingCount<const N: usize = 16> {
    /// By bucket, modulo `N`: which round of the buckets it is of above, its count below.
    slots: [AtomicU64; N],
    window: Duration,
    /// A bucket is 2^`shift` microseconds wide.
    shift: u32,
}

impl<const N: usize> SlidingCount<N> {
    /// A count over windows of `window`, which is from 1 s to 3600 s.
    ///
    /// # Errors
    /// Any other window.
    pub fn new(window: Duration) -> Result<Self, WindowError> {
        if !(Duration::from_secs(SHORTEST_S)..=Duration::from_secs(LONGEST_S)).contains(&window) {
            return Err(WindowError { window });
        }
        Ok(Self::over(window))
    }

    /// The same over a window that is known to be within those bounds.
    pub(crate) fn over(window: Duration) -> Self {
        const { assert!(N.is_power_of_two() && 4 <= N && N <= 256, "4 to 256 buckets, a power of two") };
        // All buckets but the one that is being filled span the window at least.
        let mut shift = 0;
        while ((N as u64 - 1) << shift) < window.as_micros() {
            shift += 1;
        }
        Self { slots: array::from_fn(|_| AtomicU64::new(0)), window, shift }
    }

    /// How long the window is.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// How wide a bucket is: what a count may be off by at the window's edge. From 1/`N` of the window to twice that.
    #[must_use]
    pub const fn bucket(&self) -> Duration {
        Duration::from_micros(1 << self.shift)
    }

    /// Counts `n` at `now`.
    pub fn add(&self, now: Instant, n: u32) {
        let at = self.place(now);
        let _ = self.slot(at).map(|slot| {
            slot.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                let held = Place { round: round_of(word), index: at.index };
                // Of an earlier round: nobody counts it any more. Of a later one: the clock went back.
                let (round, count) =
                    if at.ahead_of::<N>(held) > 0 { (at.round, 0) } else { (held.round, count_of(word)) };
                Some(word_of(round, count.saturating_add(n)))
            })
        });
    }

    /// Takes back `n` that were counted at `now`, unless their bucket is of another round by now.
    pub fn take_back(&self, now: Instant, n: u32) {
        let at = self.place(now);
        let _ = self.slot(at).map(|slot| {
            slot.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                (round_of(word) == at.round).then(|| word_of(at.round, count_of(word).saturating_sub(n)))
            })
        });
    }

    /// How many in the window that ends at `now`, and perhaps in up to a bucket before it.
    #[must_use]
    pub fn covering(&self, now: Instant) -> u64 {
        self.sum(now, (self.before(now) + self.bucket().as_micros() - 1) >> self.shift)
    }

    /// How many in the window that ends at `now`, but perhaps not in up to a bucket at its beginning.
    #[must_use]
    pub fn inside(&self, now: Instant) -> u64 {
        self.sum(now, self.before(now) >> self.shift)
    }

    /// How many microseconds of the window lie before the bucket of `now`.
    const fn before(&self, now: Instant) -> u64 {
        self.window.as_micros() - 1 - (now.as_micros() & (self.bucket().as_micros() - 1))
    }

    /// What was counted in the bucket of `now` and in the `before` ones before it: one pass, backwards in time. In the places
    /// beyond the bucket's are those of the round before.
    fn sum(&self, now: Instant, before: u64) -> u64 {
        let now = self.place(now);
        let (this_round, beyond) =
            self.slots.split_at_checked(now.index as usize + 1).unwrap_or((self.slots.as_slice(), &[]));
        let (mut sum, mut age) = (0, 0);
        for (slots, round) in [(this_round, now.round), (beyond, now.round.wrapping_sub(1))] {
            let none = word_of(round, 0);
            for slot in slots.iter().rev() {
                // The count, if it is of this round; of another one it is beyond any count, and negative if that is earlier.
                let count = slot.load(Ordering::SeqCst).wrapping_sub(none);
                if count >> 32 == 0 {
                    sum += if age <= before { count } else { 0 };
                } else if count.cast_signed() > 0 && count_of(count) > 0 {
                    return self.sum_of_latest(now, before);
                }
                age += 1;
            }
        }
        sum
    }

    /// The same where the clock may have gone back: then the latest bucket that was added to is now.
    #[cold]
    #[inline(never)]
    fn sum_of_latest(&self, now: Place, before: u64) -> u64 {
        let words: [u64; N] =
            array::from_fn(|index| self.slots.get(index).map_or(0, |slot| slot.load(Ordering::SeqCst)));
        let ages = || {
            (0..).zip(words).filter(|(_, word)| count_of(*word) > 0).map(|(index, word)| {
                (now.ahead_of::<N>(Place { round: round_of(word), index }), u64::from(count_of(word)))
            })
        };
        let newest = ages().map(|(age, _)| age).fold(0, i64::min);
        ages().filter(|(age, _)| (age - newest).unsigned_abs() <= before).map(|(_, count)| count).sum()
    }

    /// The bucket of an instant.
    #[expect(clippy::cast_possible_truncation, reason = "rounds are compared modulo 2^32, and an index is below N")]
    const fn place(&self, now: Instant) -> Place {
        let bucket = now.as_micros() >> self.shift;
        Place { round: (bucket >> N.trailing_zeros()) as u32, index: (bucket & (N as u64 - 1)) as u32 }
    }

    fn slot(&self, at: Place) -> Option<&AtomicU64> {
        usize::try_from(at.index).ok().and_then(|index| self.slots.get(index))
    }
}

impl<const N: usize> fmt::Debug for SlidingCount<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlidingCount")
            .field("window", &self.window)
            .field("bucket", &self.bucket())
            .finish_non_exhaustive()
    }
}

/// Which bucket: its place in the round, and which round.
#[derive(Clone, Copy)]
struct Place {
    round: u32,
    index: u32,
}

impl Place {
    /// How many buckets lie between `other` and this one; negative if `other` is the later.
    fn ahead_of<const N: usize>(self, other: Self) -> i64 {
        let rounds = i64::from(self.round.wrapping_sub(other.round).cast_signed());
        (rounds << N.trailing_zeros()) + i64::from(self.index) - i64::from(other.index)
    }
}

const fn word_of(round: u32, count: u32) -> u64 {
    (round as u64) << 32 | count as u64
}

const fn round_of(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn count_of(word: u64) -> u32 {
    (word & 0xFFFF_FFFF) as u32
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
        write!(f, "window {}: must be from {SHORTEST_S} s to {LONGEST_S} s", self.window)
    }
}

impl core::error::Error for WindowError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn second() -> SlidingCount<8> {
        SlidingCount::new(Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn b3_a_window_is_from_a_second_to_an_hour() {
        for (secs, fine) in [(0, false), (1, true), (10, true), (3_600, true), (3_601, false)] {
            assert_eq!(SlidingCount::<16>::new(Duration::from_secs(secs)).is_ok(), fine, "{secs} s");
        }
        let error = SlidingCount::<16>::new(Duration::from_millis(999)).unwrap_err();
        assert_eq!(error.to_string(), "window 999 ms: must be from 1 s to 3600 s");
    }

    #[test]
    fn b3_edges_are_rounded_against_the_caller() {
        let count = second();
        let bucket = count.bucket();
        assert!(bucket.as_micros() * 7 >= 1_000_000 && bucket.as_micros() * 7 < 2_000_000, "{bucket}");
        for start in 0..bucket.as_micros() / 1_000 {
            let count = second();
            let at = Instant::from_millis(10_000 + start);
            count.add(at, 1);
            let covering = (0..3_000).take_while(|ms| count.covering(at + Duration::from_millis(*ms)) == 1).count();
            let inside = (0..3_000).take_while(|ms| count.inside(at + Duration::from_millis(*ms)) == 1).count();
            assert!((1_000..1_000 + 263).contains(&covering), "never less than the window: {covering} ms");
            assert!((1_000 - 263..=1_000).contains(&inside), "never more than the window: {inside} ms");
        }
    }

    #[test]
    fn b3_an_idle_past_is_forgotten_however_long() {
        for gap in [1_270_000, 2_000_000, 1 << 21, 1 << 30, 1 << 51] {
            let count = second();
            count.add(Instant::ZERO, 7);
            let later = Instant::from_micros(gap);
            assert_eq!((count.covering(later), count.inside(later)), (0, 0), "after {gap} us");
            count.add(later, 2);
            assert_eq!((count.covering(later), count.inside(later)), (2, 2), "after {gap} us");
        }
    }

    #[test]
    fn b3_a_clock_that_goes_back_stands_still() {
        let count = second();
        count.add(Instant::from_millis(60_000), 5);
        let back = Instant::from_millis(1_000);
        assert_eq!((count.covering(back), count.inside(back)), (5, 5));
        count.add(back, 1);
        assert!(count.covering(back) >= 5);
        assert_eq!(count.covering(Instant::from_millis(62_000)), 0);
    }

    #[test]
    fn b6_what_is_taken_back_does_not_count() {
        let count = second();
        let now = Instant::from_millis(5);
        count.add(now, 2);
        count.take_back(now, 1);
        assert_eq!(count.covering(now), 1);
        count.take_back(now, 9);
        assert_eq!(count.covering(now), 0);
        let later = Instant::from_millis(5_000);
        count.add(later, 1);
        count.take_back(now, 1);
        assert_eq!(count.covering(later), 1, "of another round");
    }

    #[test]
    fn b3_a_bucket_saturates() {
        let count = second();
        count.add(Instant::ZERO, u32::MAX);
        count.add(Instant::ZERO, 2);
        assert_eq!(count.covering(Instant::ZERO), u64::from(u32::MAX));
    }
}

//! Counting over a sliding window: [`SlidingCount`].
//!
//! Time is cut into buckets, and a count answers for the last window in one of two ways: [`SlidingCount::covering`] may
//! count what is a little older, never less than the window holds; [`SlidingCount::inside`] may leave out the window's
//! oldest part, and counts nothing that is older. Whoever limits something counts what is used by the first and what is
//! earned by the second, so that the edges of buckets are never to its user's advantage.
//!
//! # Cost
//!
//! 8 bytes a bucket and 40 for the whole, 168 at the default of 16. To add is one read-modify-write, two for who is the first
//! in a bucket; to count is two loads, and some more for who is the first to count in a bucket. Nothing runs in the
//! background. There is no division: a bucket is a power of two of microseconds wide.

use core::array;
use core::fmt;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Duration, Instant};

/// The shortest window, in seconds.
const SHORTEST_S: u64 = 1;
/// The longest window, in seconds.
const LONGEST_S: u64 = 3_600;
/// Whether threads may meet here. On a microcontroller, where none do, the ways that are quicker then would only be bytes.
const THREADS: bool = cfg!(not(target_os = "none"));

/// How many of something there were in the last window, in `N` buckets: a power of two from 4 to 256.
///
/// Shared by threads through `&self`. Counts are exact: whatever is added counts from when it is added until its bucket has
/// left the window, however long nothing was added or asked, if there are no more than 1000 / `N` a microsecond in a window.
///
/// The clock may step. Forwards, by up to 285 years, is a pause. Backwards is no time at all: until the clock is back where it
/// was, its latest bucket is now.
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
#[derive(Debug)]
pub struct SlidingCount<const N: usize = 16> {
    /// The latest bucket that was added to, and the total. 0 before the first.
    latest: AtomicU64,
    /// By bucket, modulo `N`: which one, and the total when it began. A bucket that was not added to has none; one that was
    /// has it before it is the latest.
    began: [AtomicU64; N],
    /// Of a bucket, the total where the window begins that ends in it, for [`Self::covering`] and for [`Self::inside`]: looked
    /// up once a bucket, so that a count is two loads.
    covering: AtomicU64,
    inside: AtomicU64,
    /// All that was added before the latest bucket began, if that is asked for.
    earlier: AtomicU64,
    window_us: u32,
    /// A bucket is 2^`shift` microseconds wide.
    shift: u16,
    keeps_all: bool,
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
        // No bucket that belongs there.
        let none = |index| Packing::of(shift).word(Mark { bucket: index as u64 + 1, total: 0 });
        let began = array::from_fn(|index| AtomicU64::new(none(index)));
        // An hour is less than 2^32 us.
        let window_us = u32::try_from(window.as_micros()).unwrap_or(u32::MAX);
        // A bucket that comes in 570 years.
        let unknown = || AtomicU64::new(u64::MAX);
        let (latest, earlier) = (AtomicU64::new(0), AtomicU64::new(0));
        // Below 64.
        let bits = u16::try_from(shift).unwrap_or(0);
        Self {
            latest,
            began,
            covering: unknown(),
            inside: unknown(),
            earlier,
            window_us,
            shift: bits,
            keeps_all: false,
        }
    }

    /// The same, and it knows how many there ever were: one read-modify-write more for who is the first in a bucket.
    pub(crate) fn keeping_all(self) -> Self {
        Self { keeps_all: true, ..self }
    }

    /// How long the window is.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_us as u64)
    }

    /// How wide a bucket is: what a count may be off by at the window's edge. From 1/`N` of the window to twice that.
    #[must_use]
    pub const fn bucket(&self) -> Duration {
        Duration::from_micros(1 << self.shift)
    }

    /// Counts `n` at `now`.
    pub fn add(&self, now: Instant, n: u32) {
        let at = self.bucket_of(now);
        let mut word = self.latest.load(Ordering::SeqCst);
        while self.is_latest(at, word) {
            match self.put(at, word, n) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
        // Never refused.
        let _ = self.begin_if(now, n, &|_| true);
    }

    /// Counts `n` at `now` if what the window [covers](Self::covering) without them allows it; nothing is added by others
    /// between the question and the counting. False, with nothing changed, if not.
    pub fn add_if(&self, now: Instant, n: u32, allows: impl Fn(u64) -> bool) -> bool {
        let at = self.bucket_of(now);
        let mut word = self.latest.load(Ordering::SeqCst);
        if let Some(count) = self.known_count(at, word, &self.covering, self.covered()) {
            if !allows(count) {
                return false;
            }
            // The usual case. Where the window begins is a total behind: few steps between a load and its exchange.
            let packing = self.packing();
            let began = packing.total(word).wrapping_sub(count);
            while self.is_latest(at, word) && packing.total(word) < packing.total(u64::MAX - u64::from(n)) {
                match self.latest.compare_exchange(word, word + u64::from(n), Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => return true,
                    Err(changed) => word = changed,
                }
                if !allows(packing.total(word.wrapping_sub(began))) {
                    return false;
                }
            }
        }
        self.begin_if(now, n, &allows)
    }

    /// Counts one at `now` if what the window covers without it allows it, as [`Self::add_if`], but by an addition, so that of
    /// many who meet here none has to try again: one that turns out to be too much has been counted for nothing.
    pub(crate) fn claim(&self, now: Instant, allows: impl Fn(u64) -> bool) -> Claim {
        let at = self.bucket_of(now);
        let packing = self.packing();
        let word = self.latest.load(Ordering::SeqCst);
        if THREADS && let Some(count) = self.known_count(at, word, &self.covering, self.covered()) {
            if !allows(count) {
                return Claim::Refused;
            }
            // Farther from where the total wraps than threads can be here, so that none's addition reaches the bucket's number.
            if self.is_latest(at, word) && packing.total(word) < packing.total(u64::MAX) - 0xFFFF {
                let began = packing.total(word).wrapping_sub(count);
                let found = self.latest.fetch_add(1, Ordering::SeqCst);
                let fits = || self.is_latest(at, found) && allows(packing.total(found.wrapping_sub(began)));
                return if found == word || fits() { Claim::Granted } else { Claim::TooMuch };
            }
        }
        if self.begin_if(now, 1, &allows) { Claim::Granted } else { Claim::Refused }
    }

    /// The same where a bucket has yet to begin, or where the window does is not known.
    #[cold]
    fn begin_if(&self, now: Instant, n: u32, allows: &dyn Fn(u64) -> bool) -> bool {
        let mut word = self.latest.load(Ordering::SeqCst);
        loop {
            let bucket = self.bucket_at(now, word);
            // Where the window begins stays where it is while this is the bucket: looked up once, however many are adding.
            let base = self.base(word, bucket, &self.covering, self.covered());
            while self.bucket_at(now, word) == bucket {
                if !allows(base.map_or(u64::MAX, |base| self.packing().total(word.wrapping_sub(base)))) {
                    return false;
                }
                let in_latest = self.in_latest(word);
                let begins = !self.is_latest(bucket, word);
                if begins && !self.begin(bucket, word) {
                    word = self.latest.load(Ordering::SeqCst);
                    continue;
                }
                match self.put(bucket, word, n) {
                    Ok(_) => {
                        if begins && self.keeps_all {
                            self.earlier.fetch_add(in_latest, Ordering::Relaxed);
                        }
                        return true;
                    }
                    Err(changed) => word = changed,
                }
            }
        }
    }

    /// How many ever, of a count that keeps all. While a bucket begins, those of the one before may be missing.
    pub(crate) fn ever(&self) -> u64 {
        self.earlier.load(Ordering::SeqCst) + self.in_latest(self.latest.load(Ordering::SeqCst))
    }

    /// What was counted in the latest bucket, up to `word`.
    fn in_latest(&self, word: u64) -> u64 {
        let packing = self.packing();
        let latest = packing.mark(word);
        let began = self.slot(latest.bucket).map(|slot| packing.mark(slot.load(Ordering::SeqCst)));
        let began = began.filter(|began| word != 0 && began.bucket == latest.bucket);
        began.map_or(0, |began| packing.total(latest.total.wrapping_sub(began.total)))
    }

    /// How many in the window that ends at `now`, and perhaps in up to a bucket before it: as many whole buckets as it may
    /// reach into.
    #[must_use]
    pub fn covering(&self, now: Instant) -> u64 {
        self.count(now, &self.covering, self.covered()).unwrap_or(u64::MAX)
    }

    /// How many in the window that ends at `now`, but perhaps not in up to two buckets at its beginning: as many whole buckets
    /// as are in it at all times.
    #[must_use]
    pub fn inside(&self, now: Instant) -> u64 {
        self.count(now, &self.inside, (u64::from(self.window_us) >> self.shift) - 1).unwrap_or(0)
    }

    /// How many buckets before its own a window reaches into at most.
    const fn covered(&self) -> u64 {
        (self.window_us as u64 + self.bucket().as_micros() - 1) >> self.shift
    }

    fn count(&self, now: Instant, known: &AtomicU64, before: u64) -> Option<u64> {
        let word = self.latest.load(Ordering::SeqCst);
        let quickly = || self.known_count(self.bucket_of(now), word, known, before);
        if THREADS { quickly() } else { None }.or_else(|| self.count_anew(now, word, known, before))
    }

    /// What was counted up to `word` in the window of the bucket `at`, if that takes no search.
    #[cfg_attr(target_os = "none", inline(never))]
    fn known_count(&self, at: u64, word: u64, known: &AtomicU64, before: u64) -> Option<u64> {
        let packing = self.packing();
        let age = packing.bucket(at.wrapping_sub(packing.mark(word).bucket));
        if age > before {
            // Nothing in the window; or the clock went back.
            return (word == 0 || age <= packing.bucket(u64::MAX) / 2).then_some(0);
        }
        let there = known.load(Ordering::SeqCst);
        (packing.mark(there).bucket == at).then(|| packing.total(word.wrapping_sub(there)))
    }

    #[cold]
    fn count_anew(&self, now: Instant, word: u64, known: &AtomicU64, before: u64) -> Option<u64> {
        let base = self.base(word, self.bucket_at(now, word), known, before)?;
        Some(self.packing().total(word.wrapping_sub(base)))
    }

    /// The total at the beginning of the first of `bucket` and the `before` ones before it, as of `word`; `None` if that has
    /// been overwritten, a whole round of buckets later.
    fn base(&self, word: u64, bucket: u64, known: &AtomicU64, before: u64) -> Option<u64> {
        let packing = self.packing();
        let there = packing.mark(known.load(Ordering::SeqCst));
        if there.bucket == bucket {
            return Some(there.total);
        }
        let latest = packing.mark(word);
        let first = packing.bucket(bucket.wrapping_sub(before));
        if word == 0 || packing.is_before(latest.bucket, first) {
            return Some(latest.total);
        }
        let total = self.begun_from(first, before)?;
        // No bucket up to the one that was found will begin any more.
        known.store(packing.word(Mark { bucket, total }), Ordering::Relaxed);
        Some(total)
    }

    /// The total at the beginning of a bucket or of the next that was added to, as of others there is no mark.
    #[cold]
    fn begun_from(&self, first: u64, before: u64) -> Option<u64> {
        let packing = self.packing();
        (0..=before).map(|later| packing.bucket(first.wrapping_add(later))).find_map(|bucket| {
            let began = packing.mark(self.slot(bucket)?.load(Ordering::SeqCst));
            (began.bucket == bucket).then_some(began.total)
        })
    }

    /// Adds to the latest bucket, or makes one the latest whose beginning is marked.
    fn put(&self, bucket: u64, word: u64, n: u32) -> Result<u64, u64> {
        let total = self.packing().mark(word).total + u64::from(n);
        let added = self.packing().word(Mark { bucket, total });
        self.latest.compare_exchange(word, added, Ordering::SeqCst, Ordering::SeqCst)
    }

    /// Whether a bucket has begun and no later one.
    const fn is_latest(&self, bucket: u64, word: u64) -> bool {
        word != 0 && self.packing().mark(word).bucket == bucket
    }

    /// Marks where a bucket begins that is about to become the latest: at the total of `word`. False if `word` is not the
    /// latest any more.
    ///
    /// Several may be about to begin it while others still add to the one before. As totals only grow, the largest that one
    /// of them has seen is where it begins, and who comes with a smaller one looks again.
    #[cold]
    fn begin(&self, bucket: u64, word: u64) -> bool {
        let Some(slot) = self.slot(bucket) else { return true };
        let packing = self.packing();
        let total = packing.mark(word).total;
        let mark = packing.word(Mark { bucket, total });
        let mut there = slot.load(Ordering::SeqCst);
        loop {
            if there == mark {
                return true;
            }
            let found = packing.mark(there);
            let is_newer = found.bucket == bucket && packing.is_less(total, found.total);
            let is_later =
                self.slot_of(found.bucket) == self.slot_of(bucket) && packing.is_before(bucket, found.bucket);
            if is_newer || is_later {
                return false;
            }
            match slot.compare_exchange(there, mark, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return true,
                Err(changed) => there = changed,
            }
        }
    }

    /// The bucket of `now`, or the latest if that is later: the clock went back.
    const fn bucket_at(&self, now: Instant, word: u64) -> u64 {
        let (at, latest) = (self.bucket_of(now), self.packing().mark(word).bucket);
        if word == 0 || self.packing().is_before(latest, at) { at } else { latest }
    }

    /// The number of the bucket of `now`.
    pub(crate) const fn bucket_of(&self, now: Instant) -> u64 {
        self.packing().bucket(now.as_micros() >> self.shift)
    }

    const fn packing(&self) -> Packing {
        Packing::of(self.shift as u32)
    }

    const fn slot_of(&self, bucket: u64) -> u64 {
        bucket & (N as u64 - 1)
    }

    fn slot(&self, bucket: u64) -> Option<&AtomicU64> {
        usize::try_from(self.slot_of(bucket)).ok().and_then(|index| self.began.get(index))
    }
}

/// What came of [`SlidingCount::claim`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It was allowed, and counts.
    Granted,
    /// It was not, and does not count.
    Refused,
    /// It was not, as others came first, and counts all the same.
    TooMuch,
}

/// A bucket, and the total at some moment; both wrap.
#[derive(Clone, Copy)]
struct Mark {
    bucket: u64,
    total: u64,
}

/// How a [`Mark`] is packed in a word: buckets for 2^54 us above, which is half of it ahead and half behind, and the total in
/// what is left.
#[derive(Clone, Copy)]
struct Packing {
    total_bits: u32,
}

// Shifts of 64 bits: on a microcontroller their bytes count, in as many places as ask.
impl Packing {
    const fn of(shift: u32) -> Self {
        Self { total_bits: 10 + shift }
    }

    #[cfg_attr(target_os = "none", inline(never))]
    const fn mark(self, word: u64) -> Mark {
        Mark { bucket: word >> self.total_bits, total: self.total(word) }
    }

    #[cfg_attr(target_os = "none", inline(never))]
    const fn word(self, mark: Mark) -> u64 {
        self.bucket(mark.bucket) << self.total_bits | self.total(mark.total)
    }

    #[cfg_attr(target_os = "none", inline(never))]
    const fn total(self, total: u64) -> u64 {
        total & ((1 << self.total_bits) - 1)
    }

    #[cfg_attr(target_os = "none", inline(never))]
    const fn bucket(self, bucket: u64) -> u64 {
        bucket & (u64::MAX >> self.total_bits)
    }

    /// Whether a bucket comes before another.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn is_before(self, bucket: u64, other: u64) -> bool {
        let ahead = self.bucket(other.wrapping_sub(bucket));
        ahead != 0 && ahead <= u64::MAX >> (self.total_bits + 1)
    }

    /// Whether a total is less than another.
    const fn is_less(self, total: u64, other: u64) -> bool {
        self.total(total.wrapping_sub(other)) >> (self.total_bits - 1) != 0
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
            assert!((1_000..1_000 + 2 * 263).contains(&covering), "never less than the window: {covering} ms");
            assert!((1_000 - 2 * 263..=1_000).contains(&inside), "never more than the window: {inside} ms");
        }
    }

    #[test]
    fn b3_an_idle_past_is_forgotten_however_long() {
        for gap in [1_320_000, 2_000_000, 1 << 21, 1 << 30, 1 << 52] {
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
    fn b3_totals_wrap_and_counts_do_not_notice() {
        let count = second();
        for ms in 0..90_000 {
            count.add(Instant::from_millis(ms), 80_000);
        }
        let now = Instant::from_millis(89_999);
        assert!((1_000..1_263).contains(&(count.covering(now) / 80_000)), "{}", count.covering(now));
    }

    #[test]
    fn b3_what_is_added_on_a_condition_is_asked_with_what_there_is() {
        let count = second();
        let now = Instant::from_millis(100);
        assert!((0..3).all(|there| count.add_if(now, 1, |covered| covered == there)));
        assert!(!count.add_if(now, 1, |covered| covered < 3));
        let later = Instant::from_millis(5_000);
        assert!(count.add_if(later, 1, |covered| covered == 0));
        assert_eq!((count.covering(later), count.inside(later)), (1, 1));
    }
}

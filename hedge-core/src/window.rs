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
/// More than threads can add one by one at the same moment. More than it at once is added only if it fits.
const SMALL: u32 = 0xFFFF;
/// A reading of the clock that is a round of the buckets and this much behind, some 8 s, tells of a step back.
const LATE_US: u64 = 1 << 23;
/// Whether threads may meet here. On a microcontroller, where none do, the ways that are quicker then would only be bytes.
const THREADS: bool = cfg!(not(target_os = "none"));

/// How many of something there were in the last window, in `N` buckets: a power of two from 4 to 256.
///
/// Shared by threads through `&self`. Counts are exact: whatever is added counts from when it is added until its bucket has
/// left the window, however long nothing was added or asked, if there are no more than 1000 / `N` a microsecond in a window;
/// with more they wrap. What is added at once fills a window up to half of that, and no further, if it is 65536 or more.
///
/// # Steps of the clock
///
/// Forwards is a pause. Backwards, by up to `N` buckets and 8.4 s, is no time at all: until the clock is back where it was, its
/// latest bucket is now. Backwards by more is a pause too: what was counted is forgotten, and time goes on from there. (Time is
/// told apart within 2^54 us: a step of 570 years looks like none.)
///
/// Threads read the clock in one order and come here in another, which looks like steps back. Nothing is lost by that if no
/// reading is older than `N` buckets and 8.4 s when it gets here: more than the window, and 9.3 s at least. A thread that is
/// later than that makes a window forget, and may so let through what a limit allows in one more window.
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
    /// All that was ever added up to some moment of the latest bucket or the one before, if that is asked for.
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
        // As if begun a round before the first.
        let none = |index| Packing::of(shift).word(Mark { bucket: (index as u64).wrapping_sub(N as u64), total: 0 });
        let began = array::from_fn(|index| AtomicU64::new(none(index)));
        // An hour is less than 2^32 us.
        let window_us = u32::try_from(window.as_micros()).unwrap_or(u32::MAX);
        let unknown = || AtomicU64::new(UNKNOWN);
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
        let n = if n <= SMALL { n } else { self.fitting(now, n) };
        let at = self.bucket_of(now);
        let mut word = load(&self.latest);
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
        let n = if n <= SMALL { n } else { self.fitting(now, n) };
        let at = self.bucket_of(now);
        let mut word = load(&self.latest);
        if let Some(count) = self.known_count(at, word, &self.covering, self.covered()) {
            if !allows(count) {
                return false;
            }
            // The usual case. Where the window begins is a total behind: few steps between a load and its exchange.
            let packing = self.packing();
            let began = packing.total(word).wrapping_sub(count);
            while self.is_latest(at, word) && self.is_far_from_wrapping(word, n) {
                match exchange(&self.latest, word, word + u64::from(n)) {
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
        let word = load(&self.latest);
        if THREADS && let Some(count) = self.known_count(at, word, &self.covering, self.covered()) {
            if !allows(count) {
                return Claim::Refused;
            }
            if self.is_latest(at, word) && self.is_far_from_wrapping(word, SMALL) {
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
        let mut word = load(&self.latest);
        loop {
            let bucket = self.bucket_at(now, word);
            // Where the window begins stays where it is while this is the bucket: looked up once, however many are adding.
            let base = self.base(word, bucket, &self.covering, self.covered());
            while self.bucket_at(now, word) == bucket {
                let count = base.map_or(u64::MAX, |base| self.packing().total(word.wrapping_sub(base)));
                if !allows(count) {
                    return false;
                }
                // Where nothing is added no bucket begins: of two that begin, the later begins at a larger total.
                if n == 0 {
                    return true;
                }
                let begins = !self.is_latest(bucket, word);
                let Some(bucket) = (if begins { self.begin(bucket, word) } else { Some(bucket) }) else {
                    word = load(&self.latest);
                    continue;
                };
                match self.put(bucket, word, n) {
                    Ok(_) => {
                        if begins && self.keeps_all {
                            // Who fails here is overtaken by one who knows as much.
                            let earlier = load(&self.earlier);
                            let ever = self.ever_since(earlier);
                            let _ = exchange(&self.earlier, earlier, ever);
                        }
                        return true;
                    }
                    Err(changed) => word = changed,
                }
            }
        }
    }

    /// How much of `n` fits in the window: all, unless it is so much that totals could not be told apart.
    #[cold]
    fn fitting(&self, now: Instant, n: u32) -> u32 {
        let room = (self.packing().total(u64::MAX) >> 1).saturating_sub(self.covering(now));
        n.min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    /// How many ever, of a count that keeps all.
    pub(crate) fn ever(&self) -> u64 {
        self.ever_since(load(&self.earlier))
    }

    /// The same by what there were at some moment: a total is what was ever added, but wraps.
    fn ever_since(&self, earlier: u64) -> u64 {
        earlier.wrapping_add(self.packing().total(load(&self.latest).wrapping_sub(earlier)))
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
        let word = load(&self.latest);
        let quickly = || self.known_count(self.bucket_of(now), word, known, before);
        if THREADS { quickly() } else { None }.or_else(|| self.count_anew(now, word, known, before))
    }

    /// What was counted up to `word` in the window of the bucket `at`, if that takes no search.
    #[cfg_attr(target_os = "none", inline(never))]
    fn known_count(&self, at: u64, word: u64, known: &AtomicU64, before: u64) -> Option<u64> {
        let packing = self.packing();
        let age = packing.bucket(at.wrapping_sub(packing.mark(word).bucket));
        if age > before {
            // Nothing in the window; or the clock went back, a little or a lot.
            return (word == 0 || age <= packing.bucket(u64::MAX) / 2).then_some(0);
        }
        let there = load(known);
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
        let latest = packing.mark(word);
        if word == 0 || packing.bucket(bucket.wrapping_sub(latest.bucket)) > before {
            return Some(latest.total);
        }
        let there = packing.mark(load(known));
        if there.bucket == bucket {
            return Some(there.total);
        }
        let first = packing.bucket(bucket.wrapping_sub(before));
        let total = self.begun_from(first, before)?;
        // No bucket up to the one that was found will begin any more.
        store(known, packing.word(Mark { bucket, total }));
        Some(total)
    }

    /// The total at the beginning of a bucket or of the next that was added to, as of others there is no mark.
    #[cold]
    fn begun_from(&self, first: u64, before: u64) -> Option<u64> {
        let packing = self.packing();
        (0..=before).map(|later| packing.bucket(first.wrapping_add(later))).find_map(|bucket| {
            let began = packing.mark(load(self.slot(bucket)?));
            (began.bucket == bucket).then_some(began.total)
        })
    }

    /// Adds to the latest bucket, or makes one the latest whose beginning is marked.
    fn put(&self, bucket: u64, word: u64, n: u32) -> Result<u64, u64> {
        let total = self.packing().mark(word).total + u64::from(n);
        let added = self.packing().word(Mark { bucket, total });
        exchange(&self.latest, word, added)
    }

    /// Whether a bucket has begun and no later one.
    const fn is_latest(&self, bucket: u64, word: u64) -> bool {
        word != 0 && self.packing().mark(word).bucket == bucket
    }

    /// Whether so many fit beside a total in a word: if not, its bucket's number would be reached.
    const fn is_far_from_wrapping(&self, word: u64, n: u32) -> bool {
        let packing = self.packing();
        packing.total(word) < packing.total(u64::MAX) - n as u64
    }

    /// Marks where a bucket begins that is about to become the latest: at the total of `word`. The bucket to make the latest;
    /// `None` if `word` is not the latest any more.
    ///
    /// Several may be about to begin it, or the one a round later, while others still add to the one before. Totals only grow,
    /// so a mark with another total than the latest's is nobody's any more: its maker's exchange will fail. One of the same
    /// total and a later bucket is left, and that bucket begun: the clock is further there, and its maker may be asleep.
    #[cold]
    fn begin(&self, bucket: u64, word: u64) -> Option<u64> {
        let packing = self.packing();
        let total = packing.total(word);
        let mark = packing.word(Mark { bucket, total });
        let mut begun = bucket;
        let Some(slot) = self.slot(bucket) else { return Some(bucket) };
        let mut there = load(slot);
        while there != mark {
            let found = packing.mark(there);
            if self.is_late(bucket, found.bucket) {
                if load(&self.latest) != word {
                    return None;
                }
                if found.total == total {
                    begun = found.bucket;
                    break;
                }
            }
            match exchange(slot, there, mark) {
                Ok(_) => break,
                Err(changed) => there = changed,
            }
        }
        self.forget_skipped(begun, word);
        Some(begun)
    }

    /// Of the buckets between the latest and one that is about to begin, and of no more than a round, forgets what is from
    /// before the clock went back.
    fn forget_skipped(&self, bucket: u64, word: u64) {
        let packing = self.packing();
        let latest = packing.mark(word);
        let between = |earlier: u64| packing.bucket(bucket.wrapping_sub(earlier).wrapping_sub(1));
        let skipped = between(latest.bucket).min(N as u64 - 1);
        if skipped == 0 {
            return;
        }
        for slot in &self.began {
            let there = load(slot);
            let found = packing.mark(there);
            // One with the latest's total is somebody's who is about to begin it, and so is any if `word` is not the latest.
            if between(found.bucket) < skipped && found.total != latest.total && load(&self.latest) == word {
                // As if begun a round before.
                let _ = exchange(slot, there, there.wrapping_sub((N as u64) << packing.total_bits));
            }
        }
        store(&self.covering, UNKNOWN);
        store(&self.inside, UNKNOWN);
    }

    /// The bucket of `now`, or the latest if that is a little later: the clock went back.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn bucket_at(&self, now: Instant, word: u64) -> u64 {
        let (at, latest) = (self.bucket_of(now), self.packing().mark(word).bucket);
        if word != 0 && self.is_late(at, latest) { latest } else { at }
    }

    /// Whether a bucket is another, or so little before it that the clock stands still until it is there again. Every other
    /// comes after it.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn is_late(&self, bucket: u64, latest: u64) -> bool {
        self.packing().bucket(latest.wrapping_sub(bucket)) <= self.late()
    }

    /// How many buckets behind the latest are late.
    const fn late(&self) -> u64 {
        N as u64 + (LATE_US >> self.shift)
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

/// What is in a word: on a microcontroller interrupts are masked for it, in as many places as ask.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::SeqCst)
}

#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
fn store(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

/// Changes a word if it is `old`; else what it is.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
fn exchange(word: &AtomicU64, old: u64, new: u64) -> Result<u64, u64> {
    word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
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

/// Where a window begins, before that is looked up: in a bucket that comes in 570 years.
const UNKNOWN: u64 = u64::MAX;

/// How a [`Mark`] is packed in a word: buckets for 2^54 us above, and the total in what is left.
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
    fn b3_a_claim_does_not_carry_into_the_bucket() {
        // Of a total of 28 bits, all but `left`.
        for left in 0..=6 {
            let (count, fresh) = (second(), second());
            for (second, n) in [(0, (1 << 27) - 1), (3, (1 << 27) - 5), (6, 6 - left)] {
                count.add(Instant::from_millis(second * 1_000), n);
            }
            let bucket = |after: u64| Instant::from_millis(9_000) + Duration::from_micros(after << count.shift);
            for at in [0, 0, 0, 0, 0, 1, 1, 2].map(bucket) {
                assert_eq!(count.claim(at, |covered| covered == fresh.covering(at)), Claim::Granted);
                fresh.add(at, 1);
            }
            for at in (2..10).map(bucket) {
                assert_eq!(count.covering(at), fresh.covering(at), "{left} left, at {at:?}");
                assert_eq!(count.inside(at), fresh.inside(at), "{left} left, at {at:?}");
            }
        }
    }

    #[test]
    fn b3_of_all_that_ever_were_nothing_is_lost_however_the_clock_steps() {
        let count = second().keeping_all();
        let mut ever = 0;
        for (round, n) in (0_u64..200).zip([1, 70_000, 1 << 26, 3].into_iter().cycle()) {
            assert_eq!(count.ever(), ever);
            count.add(Instant::from_millis((round * 7_919) % 61 * 1_100), n);
            ever += u64::from(n);
        }
        assert!(count.ever() == ever && ever > 1 << 31);
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!((size_of::<SlidingCount>(), size_of::<SlidingCount<8>>()), (168, 104));
    }
}

//! Counting over a sliding window: [`SlidingCount`].
//!
//! Time is divided into buckets. A running total of everything ever added only grows, and each bucket keeps the total at
//! its beginning (prefix sums). So the count of a window is the difference of two totals, and nothing is subtracted as it
//! ages.
//!
//! A window usually begins inside a bucket, so a count is rounded in one of two ways. [`SlidingCount::covering`] includes
//! the whole bucket that the window begins in, so it is never less than the window holds. [`SlidingCount::inside`] leaves
//! that bucket out, so it is never more. A limit counts what is used by the first and what is earned by the second, so that
//! the edges of buckets are never to its user's advantage.
//!
//! # Cost
//!
//! 8 bytes for each bucket and 32 for the rest: 160 at the default of 16 buckets. Adding is one read-modify-write, or three
//! for the first addition in a bucket. Counting is two loads, and some more for the first count from each bucket. If a
//! count is asked both ways in turn, the beginning is looked up each time. Nothing runs in the background. There is no
//! division: time is multiplied by a factor, so that a bucket is a power of two wide.

mod packing;

use core::array;
use core::fmt;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Duration, Instant, Micros};
use packing::{BucketTotal, Edge, Packing, Scale};

pub(crate) use packing::ScaledInstant;

/// The shortest window, in seconds.
const SHORTEST_S: u64 = 1;
/// The longest window, in seconds.
const LONGEST_S: u64 = 3_600;
/// A margin below the point where a total wraps: more than the number of threads that can add one at the same moment. A
/// single addition above it is first reduced to what fits.
const SMALL: u32 = 0xFFFF;
/// A reading of the clock that is behind by more than `N` buckets and this (8.4 s) means that the clock was set back.
const LATE_US: u64 = 1 << 23;
/// Whether several threads may use a count at once. On a microcontroller none do, so the fast paths for that would only
/// cost flash.
const THREADS: bool = cfg!(not(target_os = "none"));

/// How many of something there were in the last window, counted in `N` buckets; `N` is a power of two from 4 to 256.
///
/// Threads share it through `&self`. Counts are exact: an addition counts from its moment until its bucket has left the
/// window, even if nothing was added or asked for a long time. This holds for up to 1000 / `N` additions per microsecond of
/// a window; with more, counts wrap. One addition of 65536 or more fills the window to half of that at most.
///
/// # Steps of the clock
///
/// A forward step acts as an idle period. A step back by up to `N` buckets and 8.4 s is ignored: until the clock has caught
/// up, additions go into the latest bucket. After a longer step back what was counted is forgotten, and time goes on from
/// the new reading. (Bucket numbers repeat after 2^53 to 2^54 us, so a step of exactly that length, 285 years or more, is
/// not noticed.)
///
/// Threads may read the clock in one order and arrive here in another, which looks like small steps back. Nothing is lost
/// as long as no reading is older than `N` buckets and 8.4 s when it arrives; that is more than the window, and at least
/// 9.3 s. A thread that is later makes the window forget what it holds, so that a limit may allow one more window's worth.
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
    /// The latest bucket that was added to, and the total. 0 before the first addition.
    latest: AtomicU64,
    /// By bucket number modulo `N`: the number, and the total when the bucket began. It is written before its bucket
    /// becomes the latest. A bucket without additions has no entry.
    began: [AtomicU64; N],
    /// A cache: the first bucket of the latest count, and the total when it began. It is looked up once per bucket, so that
    /// a count is two loads.
    first: AtomicU64,
    /// How many were ever added, in 64 bits, up to some moment of the latest bucket or the one before.
    earlier: AtomicU64,
    window_us: u32,
    scale: Scale,
}

impl<const N: usize> SlidingCount<N> {
    /// A count over windows of `window`, which is from 1 s to 3600 s.
    ///
    /// # Errors
    /// [`WindowError`] for any other window.
    pub fn new(window: Duration) -> Result<Self, WindowError> {
        if !(Duration::from_secs(SHORTEST_S)..=Duration::from_secs(LONGEST_S)).contains(&window) {
            return Err(WindowError { window });
        }
        Ok(Self::over(window.into()))
    }

    /// The same for a window that is known to be within those bounds.
    pub(crate) fn over(window: Micros) -> Self {
        const { assert!(N.is_power_of_two() && 4 <= N && N <= 256, "4 to 256 buckets, a power of two") };
        // All buckets except the one that is being filled span at least the window.
        let scale = Scale::of(window, N as u64 - 1);
        // As if each had begun one round before the first bucket.
        let none =
            |index| scale.packing().pack(BucketTotal { bucket: (index as u64).wrapping_sub(N as u64), total: 0 });
        let began = array::from_fn(|index| AtomicU64::new(none(index)));
        // An hour is less than 2^32 us.
        let window_us = u32::try_from(window.as_micros()).unwrap_or(u32::MAX);
        let (latest, earlier) = (AtomicU64::new(0), AtomicU64::new(0));
        let first = AtomicU64::new(scale.packing().far_from(0));
        Self { latest, began, first, earlier, window_us, scale }
    }

    /// A count of the same window that goes on from here. What other threads add meanwhile is in it or not.
    pub(crate) fn copy(&self) -> Self {
        // In this order, all that the copy knows of a bucket up to its latest is what it was here. Entries of later buckets
        // are stale for the copy, as those of threads that came late are here.
        let earlier = AtomicU64::new(load(&self.earlier));
        let latest = load(&self.latest);
        let began = self.began.each_ref().map(|word| AtomicU64::new(load(word)));
        let packing = self.packing();
        let first = AtomicU64::new(packing.far_from(packing.unpack(latest).bucket));
        Self { latest: AtomicU64::new(latest), began, first, earlier, window_us: self.window_us, scale: self.scale }
    }

    /// How long the window is.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_us as u64)
    }

    /// How wide a bucket is, rounded up to a whole microsecond. A count may be off by this much time at the window's edge.
    /// It is the window divided by `N` - 1, and at most a thousandth more.
    #[must_use]
    pub const fn bucket(&self) -> Duration {
        self.scale.bucket().to_duration()
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

    /// Counts `n` at `now` if `allows` accepts the number that the window [covers](Self::covering) without them. The
    /// question and the addition are one atomic step. Returns false, with nothing changed, if `allows` does not.
    pub fn add_if(&self, now: Instant, n: u32, allows: impl Fn(u64) -> bool) -> bool {
        let n = if n <= SMALL { n } else { self.fitting(now, n) };
        let at = self.scaled(now);
        let mut word = load(&self.latest);
        if let Some(count) = self.known_count(at, word, Edge::Covering) {
            if !allows(count) {
                return false;
            }
            // The usual case: the total where the window begins is known. So there are few steps between a load and its
            // exchange.
            let began = word.wrapping_sub(count);
            while at.is_now(word) && at.is_far_from_wrapping(word, n) {
                match exchange(&self.latest, word, word + u64::from(n)) {
                    Ok(_) => return true,
                    Err(changed) => word = changed,
                }
                if !allows(at.total(word.wrapping_sub(began))) {
                    return false;
                }
            }
        }
        self.begin_if(now, n, &allows)
    }

    /// Counts one if all that the window covers, this one included and each worth `each`, come to at most what `most`
    /// answers for the number without it.
    ///
    /// It works as [`Self::add_if`] but adds by `fetch_add` instead of compare-and-swap, so that no thread has to try again
    /// when many meet here. The price: one that turns out to be too much stays counted. `None` means that this fast path
    /// does not apply; use [`Self::claim_anew`].
    #[inline]
    pub(crate) fn claim(&self, at: ScaledInstant, each: u32, most: impl FnOnce(u64) -> u64) -> Option<Claim> {
        if !THREADS {
            return None;
        }
        let word = load(&self.latest);
        let count = self.known_count(at, word, Edge::Covering)?;
        let most = most(count);
        let fits = |count: u64| (count + 1) * u64::from(each) <= most;
        if !fits(count) {
            return Some(Claim::Refused);
        }
        if !at.is_now(word) || !at.is_far_from_wrapping(word, SMALL) {
            return None;
        }
        let began = word.wrapping_sub(count);
        let found = self.latest.fetch_add(1, Ordering::SeqCst);
        let still_fits = || at.is_now(found) && fits(at.total(found.wrapping_sub(began)));
        Some(if found == word || still_fits() { Claim::Granted } else { Claim::TooMuch })
    }

    /// The same without the fast path. True if it was counted.
    pub(crate) fn claim_anew(&self, now: Instant, each: u32, most: impl Fn(u64) -> u64) -> bool {
        self.begin_if(now, 1, &|count| (count + 1) * u64::from(each) <= most(count))
    }

    /// [`Self::add_if`] where a new bucket must begin, or where the total at the window's beginning is not known.
    #[cold]
    fn begin_if(&self, now: Instant, n: u32, allows: &dyn Fn(u64) -> bool) -> bool {
        let mut word = load(&self.latest);
        loop {
            let bucket = self.bucket_at(now, word);
            // The window's beginning does not change within a bucket, so it is looked up once, however many threads add.
            let base = self.base(now, word, Edge::Covering);
            while self.bucket_at(now, word) == bucket {
                let count = base.map_or(UNKNOWN, |base| self.packing().total(word.wrapping_sub(base)));
                if !allows(count) {
                    return false;
                }
                // A bucket begins only with an addition, so that of two buckets the later begins at a larger total.
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
                        if begins {
                            // If this fails, another thread has stored as much.
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

    /// How much of `n` fits in the window: all of it, unless the total could wrap within a window.
    #[cold]
    fn fitting(&self, now: Instant, n: u32) -> u32 {
        let room = (self.packing().total(u64::MAX) >> 1).saturating_sub(self.covering(now));
        n.min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    /// How many were ever added; wraps.
    pub(crate) fn ever_at(&self, at: ScaledInstant) -> u64 {
        let earlier = load(&self.earlier);
        earlier.wrapping_add(at.total(load(&self.latest).wrapping_sub(earlier)))
    }

    /// The same from the number at some earlier moment. The total in a word has fewer bits, but its difference since then
    /// is exact.
    fn ever_since(&self, earlier: u64) -> u64 {
        earlier.wrapping_add(self.packing().total(load(&self.latest).wrapping_sub(earlier)))
    }

    /// Whether nothing was added for `windows` windows. False while the clock is behind the latest bucket.
    pub(crate) fn is_unchanged(&self, at: ScaledInstant, windows: u64) -> bool {
        let word = load(&self.latest);
        word == 0 || at.is_before(at.ago(windows), word)
    }

    /// How many there were in the window that ends at `now`, and perhaps in up to a bucket before it: every bucket that the
    /// window may reach into counts whole.
    #[must_use]
    pub fn covering(&self, now: Instant) -> u64 {
        self.covering_at(self.scaled(now))
    }

    /// The same; at most 2^42.
    pub(crate) fn covering_at(&self, at: ScaledInstant) -> u64 {
        self.count(at, Edge::Covering, UNKNOWN)
    }

    /// How many there were in the window that ends at `now`, but perhaps without up to a bucket at its beginning: only
    /// buckets that lie in the window count.
    #[must_use]
    pub fn inside(&self, now: Instant) -> u64 {
        self.inside_at(self.scaled(now))
    }

    /// The same; at most 2^42.
    #[inline]
    pub(crate) fn inside_at(&self, at: ScaledInstant) -> u64 {
        self.count(at, Edge::Inside, 0)
    }

    /// `now` in the units of this count, and of all other counts with the same window and buckets.
    pub(crate) const fn scaled(&self, now: Instant) -> ScaledInstant {
        ScaledInstant::new(now, self.window_us, self.scale)
    }

    #[inline]
    fn count(&self, at: ScaledInstant, edge: Edge, unknown: u64) -> u64 {
        let word = load(&self.latest);
        if THREADS && let Some(count) = self.known_count(at, word, edge) {
            return count;
        }
        self.count_anew(at.now(), word, edge, unknown)
    }

    /// The count of the window that ends at `at`, as of `word`; `None` if it takes a search.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn known_count(&self, at: ScaledInstant, word: u64, edge: Edge) -> Option<u64> {
        let first = at.first(edge);
        if at.is_since(first, word) {
            let there = load(&self.first);
            return at.is_same_bucket(there, first).then(|| at.total(word.wrapping_sub(there)));
        }
        // Zero if nothing was added in the window. Otherwise the clock went back, a little or a lot.
        (word == 0 || at.is_before(first, word)).then_some(0)
    }

    #[cold]
    fn count_anew(&self, now: Instant, word: u64, edge: Edge, unknown: u64) -> u64 {
        self.base(now, word, edge).map_or(unknown, |base| self.packing().total(word.wrapping_sub(base)))
    }

    /// The total at the beginning of the first bucket of a count, as of `word`; `None` if it has been overwritten, which
    /// happens a whole round of buckets later.
    fn base(&self, now: Instant, word: u64, edge: Edge) -> Option<u64> {
        let packing = self.packing();
        let latest = packing.unpack(word);
        // If the clock went back, now may be any moment of the latest bucket. Take the one that gives the caller the least.
        let bucket = self.bucket_at(now, word);
        let at = self.scaled(now);
        let at = if bucket == self.bucket_of(now) { at } else { at.moved(bucket, edge) };
        let first = packing.unpack(at.first(edge)).bucket;
        let before = packing.bucket(bucket.wrapping_sub(first));
        if word == 0 || packing.bucket(bucket.wrapping_sub(latest.bucket)) > before {
            return Some(latest.total);
        }
        let there = packing.unpack(load(&self.first));
        if there.bucket == first {
            return Some(there.total);
        }
        let total = self.begun_from(first, bucket)?;
        // This stays right, since no bucket up to the one that was found will begin any more.
        store(&self.first, packing.pack(BucketTotal { bucket: first, total }));
        Some(total)
    }

    /// The total at the beginning of a bucket, or of the next one that was added to: a bucket without additions has no
    /// entry.
    #[cold]
    fn begun_from(&self, first: u64, last: u64) -> Option<u64> {
        let packing = self.packing();
        let mut bucket = first;
        loop {
            let began = packing.unpack(load(self.slot(bucket)?));
            if began.bucket == bucket {
                return Some(began.total);
            }
            if bucket == last {
                return None;
            }
            bucket = packing.bucket(bucket.wrapping_add(1));
        }
    }

    /// Adds to `bucket`, which is the latest or becomes it. Its entry must be there.
    fn put(&self, bucket: u64, word: u64, n: u32) -> Result<u64, u64> {
        let total = self.packing().unpack(word).total + u64::from(n);
        let added = self.packing().pack(BucketTotal { bucket, total });
        exchange(&self.latest, word, added)
    }

    /// Whether a bucket has begun and no later one has.
    const fn is_latest(&self, bucket: u64, word: u64) -> bool {
        word != 0 && self.packing().unpack(word).bucket == bucket
    }

    /// Records that a bucket begins at the total of `word`, before it becomes the latest. Returns the bucket to make the
    /// latest; `None` if `word` is no longer the latest.
    ///
    /// Several threads may begin this bucket, or the one a round later in the same slot, while others still add to the
    /// bucket before. Totals only grow, so an entry with another total than the latest's is stale: the exchange of the thread
    /// that made it will fail. An entry of the same total and a later bucket is kept, and that later bucket begins instead:
    /// its thread has a later reading of the clock, and may be suspended.
    #[cold]
    fn begin(&self, bucket: u64, word: u64) -> Option<u64> {
        let packing = self.packing();
        let total = packing.total(word);
        let entry = packing.pack(BucketTotal { bucket, total });
        let mut begun = bucket;
        let Some(slot) = self.slot(bucket) else { return Some(bucket) };
        let mut there = load(slot);
        while there != entry {
            let found = packing.unpack(there);
            if self.is_late(bucket, found.bucket) {
                if load(&self.latest) != word {
                    return None;
                }
                if found.total == total {
                    begun = found.bucket;
                    break;
                }
            }
            match exchange(slot, there, entry) {
                Ok(_) => break,
                Err(changed) => there = changed,
            }
        }
        self.forget_skipped(begun, word);
        Some(begun)
    }

    /// Clears stale entries of the buckets between the latest and one that is about to begin, at most a round of them. Such
    /// entries are from before the clock went back.
    fn forget_skipped(&self, bucket: u64, word: u64) {
        let packing = self.packing();
        let latest = packing.unpack(word);
        let between = |earlier: u64| packing.bucket(bucket.wrapping_sub(earlier).wrapping_sub(1));
        let skipped = between(latest.bucket).min(N as u64 - 1);
        if skipped == 0 {
            return;
        }
        for slot in &self.began {
            let there = load(slot);
            let found = packing.unpack(there);
            // An entry with the latest's total may belong to a thread that is about to begin its bucket. So may any entry if
            // `word` is no longer the latest.
            if between(found.bucket) < skipped && found.total != latest.total && load(&self.latest) == word {
                // As if it had begun a round before.
                let _ = exchange(slot, there, there.wrapping_sub(packing.later(N as u64)));
            }
        }
        store(&self.first, packing.far_from(bucket));
    }

    /// The bucket of `now`, or the latest bucket if the clock went back a little.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn bucket_at(&self, now: Instant, word: u64) -> u64 {
        let (at, latest) = (self.bucket_of(now), self.packing().unpack(word).bucket);
        if word != 0 && self.is_late(at, latest) { latest } else { at }
    }

    /// Whether `bucket` is `latest`, or so little before it that the clock counts as standing still. Every other bucket
    /// counts as later.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn is_late(&self, bucket: u64, latest: u64) -> bool {
        self.packing().bucket(latest.wrapping_sub(bucket)) <= self.late()
    }

    /// How many buckets behind the latest count as late.
    const fn late(&self) -> u64 {
        N as u64 + self.scale.bucket_of(LATE_US)
    }

    /// The number of the bucket of `now`.
    pub(crate) const fn bucket_of(&self, now: Instant) -> u64 {
        self.scale.bucket_of(now.as_micros())
    }

    const fn packing(&self) -> Packing {
        self.scale.packing()
    }

    const fn slot_of(&self, bucket: u64) -> u64 {
        bucket & (N as u64 - 1)
    }

    fn slot(&self, bucket: u64) -> Option<&AtomicU64> {
        usize::try_from(self.slot_of(bucket)).ok().and_then(|index| self.began.get(index))
    }
}

/// Loads a word. On a microcontroller that masks interrupts, and each inlined copy would cost flash.
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

/// Changes a word from `old` to `new`. The error is what it is instead of `old`.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
fn exchange(word: &AtomicU64, old: u64, new: u64) -> Result<u64, u64> {
    word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
}

/// The count where it is not known: more than fit in a window.
const UNKNOWN: u64 = 1 << 42;

/// What came of [`SlidingCount::claim`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It was allowed, and counts.
    Granted,
    /// It was not allowed, and does not count.
    Refused,
    /// It was not allowed, since others came first, but it counts all the same.
    TooMuch,
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
        write!(f, "window {}: must be from {SHORTEST_S} s to {LONGEST_S} s", Micros::from(self.window))
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
        // Fills a total of 28 bits, except for `left`.
        for left in 0..=6 {
            let (count, fresh) = (second(), second());
            for (second, n) in [(0, (1 << 27) - 1), (3, (1 << 27) - 5), (6, 6 - left)] {
                count.add(Instant::from_millis(second * 1_000), n);
            }
            let bucket = |after: u64| {
                Instant::from_millis(9_000) + Duration::from_micros(after * Micros::from(count.bucket()).as_micros())
            };
            for at in [0, 0, 0, 0, 0, 1, 1, 2].map(bucket) {
                let most = |covered| if covered == fresh.covering(at) { covered + 1 } else { 0 };
                let claimed = count.claim(count.scaled(at), 1, most);
                assert!(claimed == Some(Claim::Granted) || claimed.is_none() && count.claim_anew(at, 1, most));
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
        let count = second();
        let mut ever = 0;
        for (round, n) in (0_u64..200).zip([1, 70_000, 1 << 26, 3].into_iter().cycle()) {
            assert_eq!(count.ever_at(count.scaled(Instant::ZERO)), ever);
            count.add(Instant::from_millis((round * 7_919) % 61 * 1_100), n);
            ever += u64::from(n);
        }
        assert!(count.ever_at(count.scaled(Instant::ZERO)) == ever && ever > 1 << 31);
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!((size_of::<SlidingCount>(), size_of::<SlidingCount<8>>()), (160, 96));
    }
}

//! Counts over a sliding window: [`SlidingCount`].
//!
//! Time is divided into buckets. A running total counts everything that was ever added. The total only grows, and each
//! bucket stores the total at its beginning (prefix sums). So the count of a window is the difference of two totals,
//! and nothing is subtracted when a bucket becomes old.
//!
//! A window usually begins inside a bucket, so a count is rounded in one of two ways. [`SlidingCount::covering`]
//! includes the whole bucket in which the window begins, so it is never below the true count. [`SlidingCount::inside`]
//! leaves that bucket out, so it is never above the true count. A limit counts used permissions with `covering`, and
//! earned permissions with `inside`. So rounding never makes a limit allow too much.
//!
//! # Cost
//!
//! A count takes 8 bytes for each bucket and 32 bytes for the rest: 160 bytes at the default of 16 buckets. Adding is
//! one read-modify-write. The first addition in a bucket takes three. Counting is two loads, and some more loads for
//! the first count in each bucket. If a caller alternates between `covering` and `inside`, each count searches the
//! beginning of the window again. Nothing runs in the background. There is no division: time is multiplied by a factor,
//! so that the width of a bucket is a power of two.

mod packing;

use core::array;

use crate::atomic::{AtomicU64, Ordering};
use crate::bounded::BoundedSpan;
use crate::time::{Duration, Instant};
use packing::{BucketTotal, Edge, Packing, Scale};

pub(crate) use packing::ScaledInstant;

/// The length of a window, in \[1 s, 1 h\].
pub type CountWindow = BoundedSpan<1_000, 3_600_000>;

/// A margin below the value at which a total wraps. The margin is larger than the number of threads that can add one at
/// the same moment. If a single addition is larger than this margin, it is first reduced to what fits.
const SMALL: u32 = 0xFFFF;
/// If a reading of the clock is before the latest bucket by more than `N` buckets plus this time (8.4 s, in
/// microseconds), the clock counts as set back.
const LATE_US: u64 = 1 << 23;
/// True if several threads may use a [`SlidingCount`] at the same time. On a microcontroller there is only one thread.
/// So the fast paths for several threads are left out there: they would make the program larger, but not faster.
const THREADS: bool = cfg!(not(target_os = "none"));

/// Counts events in the last window of time, in `N` buckets. `N` is a power of two from 4 to 256.
///
/// Threads share a count through `&self`. Counts are exact: an addition counts until its bucket has left the window,
/// even if nothing is added or counted for a long time. This is true for up to 1000 / `N` additions per microsecond of
/// a window. With more additions, counts wrap. If a single addition is 65536 or more, it is cut so that it fills at
/// most half of what the window can count.
///
/// # Steps of the clock
///
/// A forward step acts as an idle period. A step back by up to `N` buckets and 8.4 s is ignored: until the clock has
/// caught up, additions go into the latest bucket. After a longer step back, the count is cleared, and time continues
/// from the new reading. (Bucket numbers repeat after 2^53 to 2^54 us. So a step of exactly that length, 285 years or
/// more, is not noticed.)
///
/// Threads may read the clock in one order and arrive here in another order, which looks like small steps back. Nothing
/// is lost as long as no reading is older than `N` buckets and 8.4 s when it arrives. This time is longer than the
/// window, and at least 9.3 s. If a thread is later than this, the count is cleared. A limit may then allow as many
/// again as it allows in one window.
///
/// ```
/// use hedge_core::bounded::BoundedSpan;
/// use hedge_core::time::Instant;
/// use hedge_core::window::SlidingCount;
///
/// let calls: SlidingCount = SlidingCount::new(BoundedSpan::of_secs::<10>());
/// calls.add(Instant::from_millis(0), 3);
/// calls.add(Instant::from_millis(9_000), 1);
/// assert_eq!(calls.covering(Instant::from_millis(9_500)), 4);
/// assert_eq!(calls.inside(Instant::from_millis(12_000)), 1);
/// ```
#[derive(Debug)]
pub struct SlidingCount<const N: usize = 16> {
    /// The latest bucket to which something was added, together with the total. The word is 0 before the first
    /// addition.
    latest: AtomicU64,
    /// One entry for each bucket number modulo `N`: the full bucket number, and the total when that bucket began. An
    /// entry is written before its bucket becomes the latest one. A bucket without additions has no entry. `N` buckets
    /// are one round: the place of an entry is used again one round later.
    began: [AtomicU64; N],
    /// A cache: the first bucket of the most recent count, and the total when this bucket began. It is computed once
    /// per bucket, so that a count is two loads.
    first: AtomicU64,
    /// The sum of all additions since the start, in 64 bits, up to some moment in the latest bucket or in the bucket
    /// before it.
    earlier: AtomicU64,
    window_us: u32,
    scale: Scale,
}

impl<const N: usize> SlidingCount<N> {
    /// Makes a count of what was added in the last `window`. It starts at 0.
    #[must_use]
    pub fn new(window: CountWindow) -> Self {
        const { assert!(N.is_power_of_two() && 4 <= N && N <= 256, "4 to 256 buckets, a power of two") };
        // The buckets cover at least the window, even without the bucket that is being filled.
        let window = window.micros();
        let scale = Scale::of(window, N as u64 - 1);
        // Each entry has the value that it would have if its bucket had begun one round before the first bucket.
        let none =
            |index| scale.packing().pack(BucketTotal { bucket: (index as u64).wrapping_sub(N as u64), total: 0 });
        let began = array::from_fn(|index| AtomicU64::new(none(index)));
        // There is no overflow: an hour is less than 2^32 us.
        let window_us = u32::try_from(window.as_micros()).unwrap_or(u32::MAX);
        let (latest, earlier) = (AtomicU64::new(0), AtomicU64::new(0));
        let first = AtomicU64::new(scale.packing().far_from(0));
        Self { latest, began, first, earlier, window_us, scale }
    }

    /// Makes a count of the same window that continues from this count. Additions of other threads during the copying
    /// may be missing in the copy.
    pub(crate) fn copy(&self) -> Self {
        // With this order of loads, the copy is right for all buckets up to its latest one. The copy may also have
        // entries of later buckets. They are treated like the entries of threads that have not yet made their bucket
        // the latest one.
        let earlier = AtomicU64::new(load(&self.earlier));
        let latest = load(&self.latest);
        let began = self.began.each_ref().map(|word| AtomicU64::new(load(word)));
        let packing = self.packing();
        let first = AtomicU64::new(packing.far_from(packing.unpack(latest).bucket));
        Self { latest: AtomicU64::new(latest), began, first, earlier, window_us: self.window_us, scale: self.scale }
    }

    /// Returns the length of the window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_us as u64)
    }

    /// Returns the width of a bucket, rounded up to a whole microsecond. [`covering`](Self::covering) may also count up
    /// to this much time before the window, and [`inside`](Self::inside) may miss up to this much time at the beginning
    /// of the window. The width is the window divided by `N` - 1, and at most a thousandth more.
    #[must_use]
    pub const fn bucket(&self) -> Duration {
        self.scale.bucket().to_duration()
    }

    /// Adds `n` at the instant `now`.
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
        // This is never refused, since the closure allows everything.
        let _ = self.begin_if(now, n, &|_| true);
    }

    /// Adds `n` at the instant `now` if `allows` returns true. `allows` gets the number that the window
    /// [covers](Self::covering) without this `n`. Asking and adding are one atomic step. If `allows` returns false,
    /// this method returns false and changes nothing.
    pub fn add_if(&self, now: Instant, n: u32, allows: impl Fn(u64) -> bool) -> bool {
        let n = if n <= SMALL { n } else { self.fitting(now, n) };
        let at = self.scaled(now);
        let mut word = load(&self.latest);
        if let Some(count) = self.known_count(at, word, Edge::Covering) {
            if !allows(count) {
                return false;
            }
            // Usually the total at the window's beginning is known. With this shortcut, there are only a few steps
            // between a load and its compare-and-swap.
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

    /// Adds 1 if the limit allows this. The limit allows this if `each` times the number that the window covers,
    /// including the new 1, is at most the result of `most`. `most` gets the number without the new 1.
    ///
    /// This works like [`Self::add_if`], but it adds by `fetch_add` instead of a compare-and-swap. So no thread has to
    /// try again if many threads add at the same time. The disadvantage is that an addition stays counted even if it
    /// exceeds the limit ([`Claim::TooMuch`]). `None` means that this fast path cannot be used: then use
    /// [`Self::claim_anew`].
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

    /// Does the same as [`Self::claim`] without the fast path. Returns whether 1 was allowed and added.
    pub(crate) fn claim_anew(&self, now: Instant, each: u32, most: impl Fn(u64) -> u64) -> bool {
        self.begin_if(now, 1, &|count| (count + 1) * u64::from(each) <= most(count))
    }

    /// Does the same as [`Self::add_if`] without the fast path. So it also works if a new bucket must begin, or if the
    /// total at the window's beginning is not known.
    #[cold]
    fn begin_if(&self, now: Instant, n: u32, allows: &dyn Fn(u64) -> bool) -> bool {
        let mut word = load(&self.latest);
        loop {
            let bucket = self.bucket_at(now, word);
            // The window's beginning is the same during a whole bucket. So it is computed once, even if many threads
            // add.
            let base = self.base(now, word, Edge::Covering);
            while self.bucket_at(now, word) == bucket {
                let count = base.map_or(UNKNOWN, |base| self.packing().total(word.wrapping_sub(base)));
                if !allows(count) {
                    return false;
                }
                // Adding 0 must not begin a bucket. So of any two buckets, the later one begins at a larger total.
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
                            // If this exchange fails, another thread has stored the same value or a later one.
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

    /// Returns how much of `n` can be added. This is all of `n`, unless the total could wrap within a window.
    #[cold]
    fn fitting(&self, now: Instant, n: u32) -> u32 {
        let room = (self.packing().total(u64::MAX) >> 1).saturating_sub(self.covering(now));
        n.min(u32::try_from(room).unwrap_or(u32::MAX))
    }

    /// Returns the sum of all additions since the start. The sum wraps.
    pub(crate) fn ever_at(&self, at: ScaledInstant) -> u64 {
        let earlier = load(&self.earlier);
        earlier.wrapping_add(at.total(load(&self.latest).wrapping_sub(earlier)))
    }

    /// Returns the sum of all additions since the start. It is computed from the same sum at an `earlier` moment. The
    /// total in a word has fewer bits, but the difference between two totals is exact.
    fn ever_since(&self, earlier: u64) -> u64 {
        earlier.wrapping_add(self.packing().total(load(&self.latest).wrapping_sub(earlier)))
    }

    /// Returns whether nothing was added for `windows` windows. The result may become true up to one bucket too early.
    /// Returns false while the clock is behind the latest bucket.
    pub(crate) fn is_unchanged(&self, at: ScaledInstant, windows: u64) -> bool {
        let word = load(&self.latest);
        word == 0 || at.is_before(at.ago(windows), word)
    }

    /// Returns the count of the window that ends at `now`, or a little more. Every bucket that overlaps the window
    /// counts as a whole, so up to one bucket before the window may be included.
    #[must_use]
    pub fn covering(&self, now: Instant) -> u64 {
        self.covering_at(self.scaled(now))
    }

    /// Does the same as [`covering`](Self::covering) for a scaled instant. The result is at most 2^42.
    pub(crate) fn covering_at(&self, at: ScaledInstant) -> u64 {
        self.count(at, Edge::Covering, UNKNOWN)
    }

    /// Returns the count of the window that ends at `now`, or a little less. Only buckets that are completely in the
    /// window count, so up to one bucket at the window's beginning may be missing.
    #[must_use]
    pub fn inside(&self, now: Instant) -> u64 {
        self.inside_at(self.scaled(now))
    }

    /// Does the same as [`inside`](Self::inside) for a scaled instant. The result is at most 2^42.
    #[inline]
    pub(crate) fn inside_at(&self, at: ScaledInstant) -> u64 {
        self.count(at, Edge::Inside, 0)
    }

    /// Converts `now` into the units of this count. All counts with the same window and number of buckets have the same
    /// units.
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

    /// Returns the count of the window that ends at `at`, computed from `word`. Returns `None` if the buckets have to
    /// be searched.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn known_count(&self, at: ScaledInstant, word: u64, edge: Edge) -> Option<u64> {
        let first = at.first(edge);
        if at.is_since(first, word) {
            let there = load(&self.first);
            return at.is_same_bucket(there, first).then(|| at.total(word.wrapping_sub(there)));
        }
        // If nothing was added in the window, the count is zero. Otherwise the clock went back, and the buckets have to
        // be searched.
        (word == 0 || at.is_before(first, word)).then_some(0)
    }

    #[cold]
    fn count_anew(&self, now: Instant, word: u64, edge: Edge, unknown: u64) -> u64 {
        self.base(now, word, edge).map_or(unknown, |base| self.packing().total(word.wrapping_sub(base)))
    }

    /// Returns the total at the beginning of the first bucket of a count, computed from `word`. Returns `None` if this
    /// total has been overwritten. An entry is overwritten when a bucket one round (`N` buckets) later begins.
    fn base(&self, now: Instant, word: u64, edge: Edge) -> Option<u64> {
        let packing = self.packing();
        let latest = packing.unpack(word);
        // After a small step back of the clock, `now` counts as an unknown moment of the latest bucket. The code takes
        // the moment that is least favourable to the caller.
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
        // This value stays valid, since no bucket up to the one that was found can begin any more.
        store(&self.first, packing.pack(BucketTotal { bucket: first, total }));
        Some(total)
    }

    /// Returns the total at the beginning of a bucket. If nothing was added to the bucket, it has no entry. Then the
    /// next bucket with an entry is used. Returns `None` if no bucket up to `last` has an entry.
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

    /// Adds `n` to `bucket`. This bucket is the latest one or becomes the latest one. It must already have its entry.
    /// If the latest word is no longer `word`, nothing changes, and the error contains the latest word.
    fn put(&self, bucket: u64, word: u64, n: u32) -> Result<u64, u64> {
        let total = self.packing().unpack(word).total + u64::from(n);
        let added = self.packing().pack(BucketTotal { bucket, total });
        exchange(&self.latest, word, added)
    }

    /// Returns whether `bucket` is the latest one.
    const fn is_latest(&self, bucket: u64, word: u64) -> bool {
        word != 0 && self.packing().unpack(word).bucket == bucket
    }

    /// Records that a bucket begins at the total of `word`. This happens before the bucket becomes the latest one.
    /// Returns the bucket that should become the latest one. Returns `None` if `word` is no longer the latest word.
    ///
    /// Several threads may begin this bucket, or the bucket one round later in the same slot, while other threads still
    /// add to the bucket before. Totals only grow. So if the total of an entry is not the latest total, the entry is
    /// stale, and the exchange of its thread will fail. If an entry has the same total and a later bucket, the entry is
    /// kept, and the later bucket begins instead: its thread has a later reading of the clock, and may be suspended.
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

    /// Clears stale entries of the buckets between the latest bucket and a bucket that is about to begin, for at most
    /// one round. Such entries were written before the clock went back.
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
            // An entry with the latest total may belong to a thread that is about to begin its bucket. If `word` is no
            // longer the latest word, this is possible for any entry.
            if between(found.bucket) < skipped && found.total != latest.total && load(&self.latest) == word {
                // The entry then has the value that it would have if its bucket had begun one round earlier.
                let _ = exchange(slot, there, there.wrapping_sub(packing.later(N as u64)));
            }
        }
        store(&self.first, packing.far_from(bucket));
    }

    /// Returns the bucket of `now`. Returns the latest bucket if the clock went back a little.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn bucket_at(&self, now: Instant, word: u64) -> u64 {
        let (at, latest) = (self.bucket_of(now), self.packing().unpack(word).bucket);
        if word != 0 && self.is_late(at, latest) { latest } else { at }
    }

    /// Returns whether `bucket` is `latest`, or is before `latest` by at most [`Self::late`] buckets. Every other
    /// bucket counts as later.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn is_late(&self, bucket: u64, latest: u64) -> bool {
        self.packing().bucket(latest.wrapping_sub(bucket)) <= self.late()
    }

    /// Returns how many buckets a late bucket may be behind the latest bucket.
    const fn late(&self) -> u64 {
        N as u64 + self.scale.bucket_of(LATE_US)
    }

    /// Returns the number of the bucket that contains `now`.
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

/// Loads a word. This is a separate function: on a microcontroller each load masks interrupts, so each inlined copy
/// would make the program larger.
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

/// Changes a word from `old` to `new`. If the word is not `old`, it does not change, and the error contains its value.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
fn exchange(word: &AtomicU64, old: u64, new: u64) -> Result<u64, u64> {
    word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
}

/// The value that means that a count is not known. No real count is this large.
const UNKNOWN: u64 = 1 << 42;

/// The result of [`SlidingCount::claim`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// The limit allowed the addition. 1 was added.
    Granted,
    /// The limit did not allow the addition. Nothing was added.
    Refused,
    /// The limit did not allow the addition, because other threads came first. But 1 was added.
    TooMuch,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::time::Micros;

    fn second() -> SlidingCount<8> {
        SlidingCount::new(BoundedSpan::of_secs::<1>())
    }

    #[test]
    fn b3_a_claim_does_not_carry_into_the_bucket() {
        // The total has 28 bits. These additions bring the total to `left` below the value at which it wraps.
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

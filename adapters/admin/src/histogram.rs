//! All latencies since the start, for Prometheus: [`Histogram`].

use std::array;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many octaves (doublings) the buckets cover, from 64 us on.
const OCTAVES: usize = 20;
/// How many bounds there are. One more bucket holds what is longer than the last bound.
pub(crate) const BOUNDS: usize = 2 * OCTAVES + 1;
/// How many copies of the counts there are. Threads use different copies.
const SHARDS: usize = 8;

/// The bounds of the buckets in microseconds: 64, 91, 128, 182, and so on up to 67 s. These are every fourth bound of
/// the buckets of [`LatencyRecorder`](hedge_core::latency::LatencyRecorder).
pub(crate) const BOUNDS_US: [u64; BOUNDS] = bounds();

#[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const fn bounds() -> [u64; BOUNDS] {
    let mut bounds = [0; BOUNDS];
    let mut index = 0;
    while index < BOUNDS {
        let begin: u64 = if index % 2 == 0 { 64 } else { 91 };
        bounds[index] = begin << (index / 2);
        index += 1;
    }
    bounds
}

/// Counts latencies in buckets, and adds them up, since the start.
///
/// # Cost
/// Recording is two relaxed atomic additions, in a copy of the counts that few other threads use. A histogram takes
/// 3 KB.
#[derive(Debug)]
pub(crate) struct Histogram {
    shards: [Shard; SHARDS],
}

/// One copy of the counts. It begins at a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Shard {
    counts: [AtomicU64; BOUNDS + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        let shard = |_| Shard { counts: array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) };
        Self { shards: array::from_fn(shard) }
    }

    pub(crate) fn record(&self, micros: u64) {
        let Some(shard) = self.shards.get(shard_of_thread()) else { return };
        if let Some(count) = shard.counts.get(bucket_of(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        shard.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the counts of all threads. Recording goes on meanwhile, so the sum may have a latency more or less than
    /// the counts.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { counts: [0; BOUNDS + 1], sum_us: 0 };
        for shard in &self.shards {
            for (total, count) in totals.counts.iter_mut().zip(&shard.counts) {
                *total += count.load(Ordering::Relaxed);
            }
            totals.sum_us = totals.sum_us.wrapping_add(shard.sum_us.load(Ordering::Relaxed));
        }
        totals
    }
}

/// What a [`Histogram`] has counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Totals {
    /// For each of [`BOUNDS_US`], the number of latencies that are below it and not below the bound before. The last
    /// number counts the latencies that are not below any bound.
    pub(crate) counts: [u64; BOUNDS + 1],
    pub(crate) sum_us: u64,
}

impl Totals {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Returns the bucket of a latency. The latency is below the bound of this bucket, and not below the bound before.
fn bucket_of(micros: u64) -> usize {
    // The first octave begins at 64 us. The upper half of an octave begins at 91/64 of its start.
    let Some(octave) = (micros / 64).checked_ilog2() else { return 0 };
    let upper = u32::from(micros >= 91 << octave);
    usize::try_from(2 * octave + 1 + upper).map_or(BOUNDS, |bucket| bucket.min(BOUNDS))
}

/// Returns the number of the calling thread's copy. Threads get their numbers in turn, when they first record.
fn shard_of_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o1_every_latency_is_in_the_bucket_of_its_bounds() {
        for micros in (0..100_000).chain((17..40).flat_map(|bits| (1_u64 << bits) - 2..(1 << bits) + 2)) {
            let bucket = BOUNDS_US.iter().position(|bound| micros < *bound).unwrap_or(BOUNDS);
            assert_eq!(bucket_of(micros), bucket, "{micros} us");
        }
        assert_eq!(bucket_of(u64::MAX), BOUNDS);
        assert_eq!((BOUNDS_US[0], BOUNDS_US[BOUNDS - 1]), (64, 67_108_864));
    }

    #[test]
    fn o1_a_histogram_takes_three_kilobytes() {
        assert_eq!(size_of::<Histogram>(), 8 * 384);
    }

    #[test]
    fn o1_no_latency_of_eight_threads_is_lost() {
        let histogram = Histogram::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|micros| histogram.record(micros)));
            }
        });
        let totals = histogram.totals();
        assert_eq!((totals.count(), totals.sum_us), (80_000, 8 * 10_000 * 9_999 / 2));
    }
}

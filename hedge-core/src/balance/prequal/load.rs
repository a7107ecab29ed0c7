//! The server's side of `prequal`. A server uses a [`ServerLoad`] to answer probes.

use super::super::decay::Decay;
use super::super::timed_span::TimedSpan;
use super::ProbeAnswer;
use crate::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use crate::time::{Duration, Instant, Micros};

/// The number of ranges of requests in flight. The first ranges are the numbers 0, 1, 2 and 3. Then there are two
/// ranges for each doubling: 4 to 5, 6 to 7, 8 to 11, and so on. The last range is 3072 and more.
const LEVELS: usize = 24;
/// How many latencies are kept for each range.
const SAMPLES: usize = 8;
/// The number of latencies that a median needs. If a range has fewer, latencies of neighbouring ranges are added.
const ENOUGH: usize = 3;
/// The age up to which a latency is recent.
const RECENT: Micros = Micros::from_secs(1);
/// The decay of the last latency while there is no recent latency.
static FORGOTTEN: Decay = Decay::new(Micros::from_secs(10));

/// The data that a server needs to answer probes: the number of requests in flight, and recent latencies. Each latency
/// is stored with the number of requests that were in flight when the request came. A `ServerLoad` takes 1744 bytes
/// under any load. Threads share it through `&self`.
///
/// An answer contains the number of requests in flight, and a latency. The latency is the median of those latencies
/// that were measured at this number and that are at most 1 s old. If there are fewer than three such latencies,
/// latencies at neighbouring numbers are added, the nearest numbers first. (The paper says "at or near", and leaves the
/// rest open.) If there is no recent latency at all, the answer contains the last latency. This decays with a time
/// constant of 10 s, so that a slow server is tried again at some time. Before the first latency, the answer contains
/// zero.
///
/// Count a request from the moment when the application gets it until the moment when the application returns the
/// response. If a request failed or was given up, call [`dropped`](Self::dropped). The time until a failure is not a
/// latency, because a short time would attract more requests.
///
/// Cost: a request is three read-modify-writes and two stores (10 ns). An answer is up to 192 loads (50 to 130 ns).
///
/// ```
/// use hedge_core::balance::prequal::ServerLoad;
/// use hedge_core::time::{Duration, Instant};
///
/// let load = ServerLoad::new();
/// let before = load.started();
/// load.finished(Instant::from_millis(20), before, Duration::from_millis(20));
/// let answer = load.answer(Instant::from_millis(30));
/// assert_eq!((answer.in_flight, answer.latency), (0, Duration::from_millis(20)));
/// ```
#[derive(Debug)]
pub struct ServerLoad {
    in_flight: AtomicU32,
    /// The last latency, whatever the number of requests in flight was.
    last: AtomicU64,
    levels: [Level; LEVELS],
}

/// The last latencies of one range. When each of these requests came, the number of other requests in flight was in
/// this range.
#[derive(Debug)]
struct Level {
    next: AtomicU32,
    samples: [AtomicU64; SAMPLES],
}

impl Level {
    const fn new() -> Self {
        Self { next: AtomicU32::new(0), samples: [const { AtomicU64::new(0) }; SAMPLES] }
    }
}

impl ServerLoad {
    /// Makes the load of a server without requests.
    #[must_use]
    pub const fn new() -> Self {
        let levels = [const { Level::new() }; LEVELS];
        Self { in_flight: AtomicU32::new(0), last: AtomicU64::new(0), levels }
    }

    /// Records that a request came. Returns how many other requests were in flight. [`Self::finished`] needs this
    /// number.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.in_flight.fetch_add(1, Relaxed)
    }

    /// Records the response to a request. The response came `latency` after the request. `before` is the number of
    /// other requests that were in flight when the request came. A latency of zero counts as a microsecond.
    pub fn finished(&self, now: Instant, before: u32, latency: Duration) {
        self.dropped();
        let word = TimedSpan::new(now, Micros::from_duration(latency).max(Micros::from_micros(1))).word();
        self.last.store(word, Relaxed);
        let Some(level) = self.levels.get(level_of(before)) else { return };
        let next = usize::try_from(level.next.fetch_add(1, Relaxed)).unwrap_or(0) % SAMPLES;
        if let Some(oldest) = level.samples.get(next) {
            oldest.store(word, Relaxed);
        }
    }

    /// Records the end of a request that gives no latency: the request failed, or the client gave it up.
    pub fn dropped(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Returns the answer to a probe that came at `now`.
    #[must_use]
    pub fn answer(&self, now: Instant) -> ProbeAnswer {
        let in_flight = self.in_flight.load(Relaxed);
        ProbeAnswer { in_flight, latency: self.latency(now, level_of(in_flight)).into() }
    }

    fn latency(&self, now: Instant, at: usize) -> Micros {
        let mut near = Near { latencies: [Micros::ZERO; 3 * SAMPLES], count: 0 };
        // The loop takes this range first, then its neighbours on both sides, until there are enough latencies.
        for distance in 0..LEVELS {
            near.add(now, self.levels.get(at + distance));
            if distance > 0 {
                near.add(now, at.checked_sub(distance).and_then(|below| self.levels.get(below)));
            }
            if near.count >= ENOUGH {
                break;
            }
        }
        near.median().unwrap_or_else(|| {
            let last = TimedSpan::of(self.last.load(SeqCst));
            Micros::from_micros(FORGOTTEN.left_of(last.span().as_micros(), last.age(now)))
        })
    }
}

impl Default for ServerLoad {
    fn default() -> Self {
        Self::new()
    }
}

/// Recent latencies of a range and its neighbours. There is room for all latencies that [`ServerLoad::latency`] can
/// collect. Before the last step of that method there are at most two latencies, since it stops at three ([`ENOUGH`]).
/// The last step adds the latencies of at most two ranges.
struct Near {
    latencies: [Micros; 3 * SAMPLES],
    count: usize,
}

impl Near {
    fn add(&mut self, now: Instant, level: Option<&Level>) {
        for sample in level.map_or(&[][..], |level| &level.samples) {
            let sample = TimedSpan::of(sample.load(SeqCst));
            if sample.span() == Micros::ZERO || sample.age(now) > RECENT {
                continue;
            }
            if let Some(free) = self.latencies.get_mut(self.count) {
                *free = sample.span();
                self.count += 1;
            }
        }
    }

    /// Returns the median. If the number of latencies is even, returns the lower one of the two in the middle.
    fn median(&self) -> Option<Micros> {
        let known = || self.latencies.iter().copied().take(self.count);
        let rank = self.count.div_ceil(2);
        // This takes quadratic time, but there are few latencies.
        known().filter(|latency| known().filter(|other| other <= latency).count() >= rank).min()
    }
}

/// Returns the index of the range that a number of requests belongs to. See [`LEVELS`].
fn level_of(in_flight: u32) -> usize {
    let level = match in_flight {
        0..4 => in_flight,
        _ => {
            let octave = in_flight.ilog2();
            2 * octave + ((in_flight >> (octave - 1)) & 1)
        }
    };
    usize::try_from(level).unwrap_or(LEVELS).min(LEVELS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Records responses to requests that came while `before` others were in flight.
    fn served(load: &ServerLoad, at_ms: u64, before: u32, latencies: &[u64]) {
        for latency in latencies {
            let _ = load.started();
            load.finished(at(at_ms), before, ms(*latency));
        }
    }

    #[test]
    fn ranges_grow_with_what_is_in_flight() {
        let first = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32].map(level_of);
        assert_eq!(first, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let last = [5, 7, 11, 15, 23, 31, 47].map(level_of);
        assert_eq!(last, [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!([3_071, 3_072, u32::MAX].map(level_of), [22, 23, 23]);
    }

    #[test]
    fn a_probe_is_answered_the_median_at_the_current_load() {
        let load = ServerLoad::new();
        assert_eq!(load.answer(at(0)), ProbeAnswer { in_flight: 0, latency: Duration::ZERO });
        served(&load, 0, 0, &[10, 90, 12, 11]);
        served(&load, 0, 2, &[30, 31, 32]);
        assert_eq!(load.answer(at(1)).latency, ms(11), "the lower in the middle of 10, 11, 12, 90");
        let [first, second] = [load.started(), load.started()];
        assert_eq!((first, second), (0, 1), "what a request found");
        assert_eq!(load.answer(at(1)), ProbeAnswer { in_flight: 2, latency: ms(31) });
        load.dropped();
        assert_eq!(load.answer(at(1)).in_flight, 1);
        assert_eq!(load.answer(at(1)).latency, ms(30), "neighbours: 10, 11, 12, 30, 31, 32, 90");
        load.dropped();
        served(&load, 0, 0, &[50; 8]);
        assert_eq!(load.answer(at(1)).latency, ms(50), "only the last eight count");
    }

    #[test]
    fn what_is_not_recent_counts_only_where_nothing_is_and_is_forgotten() {
        let load = ServerLoad::new();
        served(&load, 0, 0, &[200; 8]);
        assert_eq!(load.answer(at(1_000)).latency, ms(200));
        assert_eq!(load.answer(at(10_000)).latency.as_millis(), 73, "1/e");
        served(&load, 10_000, 40, &[5]);
        assert_eq!(load.answer(at(10_001)).latency, ms(5), "far, but recent");
        assert_eq!(load.answer(at(400_000)).latency, Duration::ZERO);
    }
}

//! The server's side: what a server answers a probe, [`ServerLoad`].

use super::super::decay::Decay;
use super::super::timed_span::TimedSpan;
use super::ProbeAnswer;
use crate::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use crate::time::{Duration, Instant, Micros};

/// How many ranges of requests in flight are told apart: 0 to 3, then two an octave, up to 3072 and more.
const LEVELS: usize = 24;
/// How many latencies of each range are kept.
const SAMPLES: usize = 8;
/// A median is of at least this many latencies, if neighbouring ranges have them.
const ENOUGH: usize = 3;
/// How long a latency is recent.
const RECENT: Micros = Micros::from_secs(1);
/// How fast the last latency decays while there is no recent one.
static FORGOTTEN: Decay = Decay::new(Micros::from_secs(10));

/// What a server needs to answer probes: a count of its requests in flight, and recent latencies by how many requests
/// were in flight when each came. 1744 bytes under any load. Threads share it through `&self`.
///
/// An answer is the requests in flight, and the median of the latencies at that number which are at most 1 s old. If
/// there are fewer than three, those of neighbouring numbers are added, the nearest first. (The paper says "at or
/// near", and leaves the rest open.) Without any recent latency it is the last one, which decays with a time constant
/// of 10 s, so that a server that was slow is tried again at some time. Before the first latency it is zero.
///
/// Count a request from when the application gets it to when it hands the answer back. A request that failed or was
/// given up is [dropped](Self::dropped). The time that it took to fail is no latency: a quick failure would attract
/// more requests.
///
/// Cost: a request is three read-modify-writes and two stores, an answer up to 192 loads; 10 ns, and 50 to 130.
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
    /// The last latency, with any number in flight.
    last: AtomicU64,
    levels: [Level; LEVELS],
}

/// The latencies of one range.
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
    /// The load of a server without requests.
    #[must_use]
    pub const fn new() -> Self {
        let levels = [const { Level::new() }; LEVELS];
        Self { in_flight: AtomicU32::new(0), last: AtomicU64::new(0), levels }
    }

    /// A request came. Returns how many were in flight before it, for [`Self::finished`].
    #[must_use]
    pub fn started(&self) -> u32 {
        self.in_flight.fetch_add(1, Relaxed)
    }

    /// A request is answered, `latency` after it came, when `before` others were in flight. A latency of zero counts as
    /// a microsecond.
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

    /// A request is over without an answer that says how long one takes: it failed, or the client gave it up.
    pub fn dropped(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// The answer to a probe that came at `now`.
    #[must_use]
    pub fn answer(&self, now: Instant) -> ProbeAnswer {
        let in_flight = self.in_flight.load(Relaxed);
        ProbeAnswer { in_flight, latency: self.latency(now, level_of(in_flight)).into() }
    }

    fn latency(&self, now: Instant, at: usize) -> Micros {
        let mut near = Near { latencies: [Micros::ZERO; 3 * SAMPLES], count: 0 };
        // First this range, then its neighbours on both sides, until there are enough latencies.
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

/// Recent latencies. There is room for two of them and then those of two ranges.
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

    /// The median; of an even number the lower of the two in the middle.
    fn median(&self) -> Option<Micros> {
        let known = || self.latencies.iter().copied().take(self.count);
        let rank = self.count.div_ceil(2);
        // Quadratic, but they are few.
        known().filter(|latency| known().filter(|other| other <= latency).count() >= rank).min()
    }
}

/// The range of a number of requests: 0 to 3, then two an octave.
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

    /// Answers requests that found `before` others in flight.
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

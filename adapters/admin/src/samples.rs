//! The last sampled calls, for `/rpcz`: [`Samples`] and [`Sample`].

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Clock, SystemTime};

use hedge_core::outcome::{Code, End, Kind, NotHedged, State, Verdict};
use hedge_core::time::Micros;
use hedge_fleet::{CallEnd, CallId};

use crate::name::Name;
use crate::text::{Cut, clean};

/// Which calls are sampled, and how many samples are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SampleOptions {
    /// On average, one call out of this number of calls is a sample. 1 samples every call. 0 switches the sampling off,
    /// which is the default.
    pub one_in: u32,
    /// How many plain samples are taken in one second at most. The same limit applies separately to
    /// [notable](Samples) samples.
    pub per_second: u32,
    /// How many plain samples are kept. As many notable samples are kept in addition. A new sample replaces the oldest.
    pub kept: usize,
}

impl Default for SampleOptions {
    /// No sampling. Once it is switched on: at most 1,000 samples a second, as in brpc, and the last 1,000 are kept.
    fn default() -> Self {
        Self { one_in: 0, per_second: 1_000, kept: 1_000 }
    }
}

/// The last sampled calls of all channels of a [`Registry`](crate::Registry).
///
/// Calls with more than one attempt and calls that were not accepted are *notable*. While the sampling is on, every
/// notable call is a sample. Notable samples have a limit per second and a place of their own. So many plain calls do
/// not replace the calls that an operator looks for.
///
/// # Cost
/// While the sampling is off, a call costs one load. While it is on, a call that is no sample costs a random number. A
/// sample costs a reading of the clock, a lock that is held for an instant, and some allocations for each attempt. It
/// takes some 100 bytes, 50 for each attempt, and the text of each attempt's server, of at most 200 characters.
#[derive(Debug)]
pub struct Samples {
    one_in: AtomicU32,
    plain: Kept,
    notable: Kept,
    /// The origin of the monotonic clock that counts seconds, and the same instant on the clock of the system.
    origin: (Clock, SystemTime),
}

/// Samples of one sort.
#[derive(Debug)]
struct Kept {
    ring: Mutex<VecDeque<Arc<Sample>>>,
    most: usize,
    per_second: u32,
    /// The second in which the last sample was taken (upper half), and how many were taken in it (lower half).
    taken: AtomicU64,
}

/// A call that was sampled.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) channel: Name,
    /// The call's number, which spans and log lines have too. Only an observer gets it.
    pub(crate) call: Option<CallId>,
    /// When the call ended.
    pub(crate) ended_at: SystemTime,
    pub(crate) elapsed: Micros,
    pub(crate) end: Option<End>,
    pub(crate) not_hedged: Option<NotHedged>,
    pub(crate) attempts: Vec<SampledAttempt>,
}

/// An attempt of a sampled call. Times are from the start of the call.
#[derive(Debug)]
pub(crate) struct SampledAttempt {
    pub(crate) kind: Kind,
    pub(crate) server: Box<str>,
    pub(crate) started: Micros,
    pub(crate) ended: Micros,
    pub(crate) state: State,
    pub(crate) code: Code,
}

impl Samples {
    pub(crate) fn new(options: SampleOptions, origin: Clock) -> Self {
        let kept = || Kept {
            ring: Mutex::default(),
            most: options.kept,
            per_second: options.per_second,
            taken: AtomicU64::new(0),
        };
        let one_in = AtomicU32::new(options.one_in);
        Self { one_in, plain: kept(), notable: kept(), origin: (origin, SystemTime::now()) }
    }

    /// Samples one of `one_in` calls from now on. 0 switches the sampling off. The samples that were taken stay.
    pub fn set_one_in(&self, one_in: u32) {
        self.one_in.store(one_in, Ordering::Relaxed);
    }

    /// Returns out of how many calls one is a sample, on average. 0 means that the sampling is off.
    #[must_use]
    pub fn one_in(&self) -> u32 {
        self.one_in.load(Ordering::Relaxed)
    }

    /// Takes a call as a sample, if it is one.
    pub(crate) fn consider(&self, channel: &Name, call: Option<CallId>, end: &CallEnd<'_>) {
        let one_in = self.one_in();
        if one_in == 0 {
            return;
        }
        let is_notable = end.end() != Some(End::Accepted) || end.attempts().len() > 1;
        if is_notable || is_chosen(one_in) {
            let kept = if is_notable { &self.notable } else { &self.plain };
            self.take(kept, self.origin.0.elapsed(), channel, call, end);
        }
    }

    /// Takes a call as a sample, unless the limit of this second is reached. `since` is the time since the origin.
    #[cold]
    fn take(&self, kept: &Kept, since: Duration, channel: &Name, call: Option<CallId>, end: &CallEnd<'_>) {
        if kept.may_take(since.as_secs()) {
            kept.push(Sample::new(self.origin.1 + since, channel, call, end));
        }
    }

    /// Returns the samples that are kept, from the latest to the oldest.
    pub(crate) fn latest(&self) -> Vec<Arc<Sample>> {
        let mut all: Vec<_> = [&self.plain, &self.notable].into_iter().flat_map(Kept::all).collect();
        all.sort_by_key(|sample| Reverse(sample.ended_at));
        all
    }
}

impl Kept {
    /// Returns whether one more sample may be taken in this second, and counts it.
    fn may_take(&self, second: u64) -> bool {
        let second = second & u64::from(u32::MAX);
        let next = |taken: u64| {
            // A thread that read its clock just before another one may be a second behind.
            let is_later = second > taken >> 32;
            if is_later {
                (self.per_second > 0).then_some(second << 32 | 1)
            } else {
                (taken & u64::from(u32::MAX) < u64::from(self.per_second)).then(|| taken + 1)
            }
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    fn push(&self, sample: Sample) {
        let sample = Arc::new(sample);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest sample is dropped after the lock.
        let oldest = if ring.len() >= self.most { ring.pop_front() } else { None };
        if self.most > 0 {
            ring.push_back(sample);
        }
        drop(ring);
        drop(oldest);
    }

    fn all(&self) -> Vec<Arc<Sample>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Sample {
    fn new(ended_at: SystemTime, channel: &Name, call: Option<CallId>, end: &CallEnd<'_>) -> Self {
        let elapsed = end.elapsed_micros();
        let attempt = |attempt: &hedge_core::outcome::Attempt| {
            // This keeps more than `clean` reads. So a password is hidden, although the `@` behind it is cut off.
            let mut server = Cut::<4096>(String::new());
            // An error only means that the text was cut.
            let _ = hedge_fleet::caught(|| end.write_server(attempt.server(), &mut server));
            SampledAttempt {
                kind: attempt.kind(),
                server: clean(&server.0).into(),
                started: attempt.started_micros(),
                ended: attempt.ended_micros().unwrap_or(elapsed),
                state: attempt.state(),
                code: attempt.code(),
            }
        };
        let attempts = end.attempts().iter().map(attempt).collect();
        let (how, not_hedged) = (end.end(), end.not_hedged());
        Self { channel: channel.clone(), call, ended_at, elapsed, end: how, not_hedged, attempts }
    }

    /// Returns whether a backup was sent.
    pub(crate) fn is_hedged(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.kind == Kind::Backup)
    }

    /// Returns whether the call ended without an accepted reply.
    pub(crate) fn is_failed(&self) -> bool {
        self.end != Some(End::Accepted)
    }

    /// Returns how the call ended, in words.
    pub(crate) fn end_text(&self) -> String {
        self.end.map_or_else(|| "not ended".to_owned(), |end| end.to_string())
    }
}

impl SampledAttempt {
    /// Returns how the attempt ended, as one word.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self.state {
            State::Finished(Verdict::Accept) => "accept",
            State::Finished(Verdict::Retry) => "retry",
            State::Finished(Verdict::Wait) => "wait",
            State::Finished(Verdict::Fatal) => "fatal",
            State::Abandoned | State::InFlight => "abandoned",
        }
    }
}

/// Returns true once in `one_in` times on average. Each thread has its own generator (splitmix64, Steele, Lea and
/// Flood, 2014), so that threads do not wait for each other. Which calls are samples need not be reproducible.
fn is_chosen(one_in: u32) -> bool {
    use std::cell::Cell;

    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static STATE: Cell<u64> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << 32);
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // The upper 32 bits are a fraction in 0..1. The fraction times `one_in` is below 1 in one of `one_in` cases.
        ((mixed >> 32) * u64::from(one_in)) >> 32 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o1_one_of_so_many_calls_is_chosen() {
        assert!((0..1_000).all(|_| is_chosen(1)));
        let chosen = (0..100_000).filter(|_| is_chosen(100)).count();
        assert!((800..1_200).contains(&chosen), "{chosen}");
    }

    #[test]
    fn o1_so_many_samples_are_taken_in_a_second() {
        let samples = Samples::new(SampleOptions { per_second: 3, ..SampleOptions::default() }, Clock::now());
        let taken = |second| (0..10).filter(|_| samples.plain.may_take(second)).count();
        assert_eq!([taken(0), taken(0), taken(1), taken(0), taken(5)], [3, 0, 3, 0, 3]);
        let none = Samples::new(SampleOptions { per_second: 0, ..SampleOptions::default() }, Clock::now());
        assert!(!none.plain.may_take(0) && !none.plain.may_take(1));
    }

    #[test]
    fn o1_eight_threads_take_no_more_than_the_limit() {
        let samples = Samples::new(SampleOptions { per_second: 1_000, ..SampleOptions::default() }, Clock::now());
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let count = (0..1_000).filter(|_| samples.plain.may_take(7)).count();
                    taken.fetch_add(count as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 1_000);
    }
}

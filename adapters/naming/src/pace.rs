//! How often a source may ask: [`Pace`].

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use hedge_core::random::{Random, Seeds};
use hedge_core::time::{Duration, Instant};
use hedge_link::Runtime;

/// How many requests may follow each other at once.
const BURST: u32 = 5;
/// After a burst, one request in this time.
const EACH: Duration = Duration::from_secs(1);

/// How often a source may ask: 5 times at once, and then once a second. So a server that answers every query at once,
/// although it should wait for a change, or ends every watch at once, is not asked in a loop. It is also the source of
/// random pauses.
pub(crate) struct Pace {
    seeds: Seeds,
    random: Random,
    /// When all of the burst may be used again.
    full_at: Instant,
}

impl Pace {
    /// A pace whose pauses are determined by `seed`. `None` draws one.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self { seeds: Seeds::new(seed), random: Random::unseeded(), full_at: Instant::ZERO }
    }

    /// Waits until the next request may be sent.
    pub(crate) async fn turn<R: Runtime>(&mut self, runtime: &R) {
        let at = self.take(runtime.now());
        sleep(runtime, at).await;
    }

    /// When the next request may be sent. It counts as sent.
    fn take(&mut self, now: Instant) -> Instant {
        self.full_at = self.full_at.max(now) + EACH;
        // The burst is used up when so much of it has to come back.
        let late = self.full_at.since(now);
        now + late.saturating_sub(EACH * BURST)
    }

    /// A random time from `shortest` to `longest`.
    pub(crate) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let part = f64::from(self.random.next(&self.seeds)) / f64::from(u32::MAX);
        shortest + longest.saturating_sub(shortest).mul_f64(part)
    }
}

/// Waits until this instant.
pub(crate) async fn sleep<R: Runtime>(runtime: &R, at: Instant) {
    while runtime.now() < at {
        runtime.sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n6_requests_are_five_at_once_and_then_one_a_second() {
        let mut pace = Pace::new(Some(1));
        let start = Instant::from_millis(100_000);
        let waits: Vec<_> = (0..8).map(|_| pace.take(start).since(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1_000, 2_000, 3_000]);
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.take(later), later, "a pause gives the burst back");
    }

    #[test]
    fn n6_pauses_are_random_within_their_bounds() {
        let mut pace = Pace::new(Some(7));
        let (shortest, longest) = (Duration::from_secs(4), Duration::from_secs(6));
        let pauses: Vec<_> = (0..100).map(|_| pace.between(shortest, longest)).collect();
        assert!(pauses.iter().all(|pause| (shortest..=longest).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause < Duration::from_millis(4_400)));
        assert!(pauses.iter().any(|pause| *pause > Duration::from_millis(5_600)));
    }
}

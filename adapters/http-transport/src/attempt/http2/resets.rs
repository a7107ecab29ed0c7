//! Limits how often streams are reset ([C2](hedge_core::rules#C2)): [`Resets`].

use hedge_core::time::{Duration, Instant};

/// The maximum number of streams that are reset in one second. If a client resets more streams, servers treat this as
/// an attack (CVE-2023-44487) and end the connection.
const RESETS: usize = 20;
const SECOND: Duration = Duration::from_secs(1);

/// The times of the last resets on a connection. In any second there are at most 20 resets.
#[derive(Default)]
pub(super) struct Resets([Option<Instant>; RESETS]);

impl Resets {
    /// Records that a stream is reset at `now`.
    ///
    /// # Errors
    /// If no stream may be reset at `now`, returns the time at which the next stream may be reset, and records nothing.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        // `None` is smaller than all instants. The array is not empty, so it always has a minimum.
        let Some(oldest) = self.0.iter_mut().min() else { return Ok(()) };
        match *oldest {
            Some(at) if now < at + SECOND => Err(at + SECOND),
            _ => {
                *oldest = Some(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_at_most_20_streams_are_reset_in_any_second() {
        let mut random = fastrand::Rng::with_seed(20_261_129);
        let (mut resets, mut now, mut done) = (Resets::default(), Instant::ZERO, Vec::new());
        for _ in 0..10_000 {
            now = now + Duration::from_micros(random.u64(0..40_000));
            match resets.take(now) {
                Ok(()) => done.push(now),
                Err(next) => {
                    assert!(next > now && next <= now + SECOND);
                    assert_eq!(resets.take(Instant::from_micros(next.as_micros() - 1)), Err(next));
                }
            }
        }
        for window in done.windows(RESETS + 1) {
            assert!(window[RESETS].since(window[0]) >= SECOND);
        }
        assert!(
            done.len() > 3_900 && done.len() < 10_000,
            "{} in {} s",
            done.len(),
            now.since(Instant::ZERO).as_secs()
        );
    }
}

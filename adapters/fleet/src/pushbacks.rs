//! The pushbacks of a call's failures, taken together: [`Pushbacks`].

use hedge_core::outcome::Pushback;
use hedge_core::time::Instant;

/// The pushbacks of several failures as one pushback ([R4](hedge_core::rules#R4)). A channel of channels asks for it,
/// since its own call may have a retry left ([X1](hedge_core::rules#X1)).
///
/// If one of the pushbacks concerns the service, those that concern one server do not count. Of two pushbacks of the
/// same kind, the later instant counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pushbacks {
    /// Until when no attempt may start, and whether this concerns one server only.
    until: Option<(Instant, bool)>,
}

impl Pushbacks {
    /// Makes the value of a call without a pushback.
    #[must_use]
    pub const fn new() -> Self {
        Self { until: None }
    }

    /// Adds the pushback of a failure that came at `now`.
    pub fn add(&mut self, pushback: Pushback, now: Instant) {
        let ends = pushback.delay().map_or(Instant::NEVER, |delay| now + delay);
        let new = (ends, pushback.is_of_server());
        self.until = match self.until {
            Some(old) if old.1 == new.1 => Some(old.max(new)),
            Some(old) if new.1 => Some(old),
            _ => Some(new),
        };
    }

    /// Takes note of a failure that came at `now`. If it has no pushback, this removes a pushback that concerns one
    /// server, because another server has failed after it.
    pub fn failed(&mut self, pushback: Option<Pushback>, now: Instant) {
        match pushback {
            Some(pushback) => self.add(pushback, now),
            None => self.until = self.until.filter(|(_, for_server)| !for_server),
        }
    }

    /// Returns what is left of the pushback at `now`. Returns `None` if there was none, or if its delay is over.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<Pushback> {
        let (until, for_server) = self.until.filter(|(until, _)| *until > now)?;
        let left = if until == Instant::NEVER { Pushback::DO_NOT } else { Pushback::after(until.since(now)) };
        Some(if for_server { left.for_server() } else { left })
    }
}

#[cfg(test)]
mod tests {
    use hedge_core::time::Duration;

    use super::*;

    const fn after(millis: u64) -> Pushback {
        Pushback::after(Duration::from_millis(millis))
    }

    #[test]
    fn r4_of_two_pushbacks_the_later_instant_counts_and_that_of_the_service_first() {
        let (at, never) = (Instant::from_millis, Pushback::DO_NOT);
        for (first, second, left) in [
            (after(50), after(10), Some(after(30))),
            (after(10), after(50), Some(after(40))),
            (after(50), never, Some(never)),
            (never, after(50), Some(never)),
            (after(5), after(10).for_server(), None),
            (after(500).for_server(), after(50), Some(after(40))),
            (after(50).for_server(), after(10).for_server(), Some(after(30).for_server())),
            (after(50).for_server(), never.for_server(), Some(never.for_server())),
            (never.for_server(), after(50), Some(after(40))),
        ] {
            let mut all = Pushbacks::new();
            all.add(first, at(0));
            all.add(second, at(10));
            assert_eq!(all.left(at(20)), left, "{first}, {second}");
        }
        assert_eq!(Pushbacks::new().left(at(0)), None);
    }

    #[test]
    fn r4_a_pushback_of_one_server_says_nothing_about_the_failure_of_another() {
        for (pushback, left) in [(after(50).for_server(), None), (after(50), Some(after(50)))] {
            let mut all = Pushbacks::new();
            all.add(pushback, Instant::ZERO);
            all.failed(None, Instant::ZERO);
            assert_eq!(all.left(Instant::ZERO), left);
        }
    }
}

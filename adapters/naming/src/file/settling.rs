//! Decides when a file that changes has settled: [`Settling`].

use hedge_core::time::{Duration, Instant};

/// A file that keeps changing for this time without a pause is an error.
const RESTLESS: Duration = Duration::from_secs(10);

/// Waits for a file that is being written. `S` is the type of the stamp, which changes when the file changes.
#[derive(Debug)]
pub(super) struct Settling<S>(Option<Unsettled<S>>);

#[derive(Debug)]
struct Unsettled<S> {
    stamp: S,
    /// When the file has settled if nothing changes until then.
    at: Instant,
    /// When the file was first seen to change.
    since: Instant,
}

/// The file has been changing for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Restless;

impl<S: Clone + PartialEq> Settling<S> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Returns the stamp that the file must still have to count as settled now. `None` if the wait is not over.
    pub(super) fn waited_for(&self, now: Instant) -> Option<S> {
        self.0.as_ref().filter(|unsettled| now >= unsettled.at).map(|unsettled| unsettled.stamp.clone())
    }

    /// Records that the file may be changing. `still` says that it did not change while it was read. The file has
    /// settled once it has stayed the same for `wait`. Returns when to look again.
    pub(super) fn seen(&mut self, stamp: S, still: bool, wait: Duration, now: Instant) -> Result<Instant, Restless> {
        let (at, since) = match &self.0 {
            Some(unsettled) if unsettled.stamp == stamp && still => (unsettled.at.max(now), unsettled.since),
            Some(unsettled) => (now + wait, unsettled.since),
            None => (now + wait, now),
        };
        if now.since(since) >= RESTLESS {
            return Err(Restless);
        }
        self.0 = Some(Unsettled { stamp, at, since });
        Ok(at)
    }

    /// Ends the wait: the file has settled, or it cannot be read.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn n2_a_file_has_settled_once_it_has_stayed_the_same() {
        let mut settling = Settling::new();
        for line in 0..100 {
            let now = at(50 * line);
            assert_eq!(settling.waited_for(now), None, "it changes every 50 ms");
            assert_eq!(settling.seen(line, true, WAIT, now), Ok(now + WAIT));
        }
        assert_eq!(settling.seen(99, true, WAIT, at(5_000)), Ok(at(5_050)), "nothing has changed since");
        assert_eq!((settling.waited_for(at(5_049)), settling.waited_for(at(5_050))), (None, Some(99)));
        assert_eq!(settling.seen(99, false, WAIT, at(5_050)), Ok(at(5_150)), "it has changed while it was read");
        settling.end();
        assert_eq!(settling.waited_for(at(9_000)), None);
    }

    #[test]
    fn n2_a_file_that_never_settles_is_an_error() {
        let mut settling = Settling::new();
        for now in (0..10_000).step_by(90) {
            assert_eq!(settling.seen(now, true, WAIT, at(now)), Ok(at(now) + WAIT));
        }
        assert_eq!(settling.seen(10_000, true, WAIT, at(10_000)), Err(Restless));
    }
}

//! How long a channel's calls take: [`CallLatencies`].

use super::{BackupPolicy, Ended};
use crate::latency::{LatencyRecorder, Sample, Snapshot};
use crate::outcome::End;
use crate::time::Instant;

/// The latencies of calls in the last 10 s, as a policy that decides nothing. Combine it with another policy, as in
/// `(policy, &latencies)`; it is told of every call's end.
///
/// A call that was accepted or refused for good counts with the time it took. Any other call counts as a lower bound.
///
/// Cost: that of [`LatencyRecorder::record`]. 2 KB.
///
/// ```
/// use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, CallLatencies};
/// use hedge_core::time::Instant;
///
/// let latencies = CallLatencies::default();
/// let policy = (AdaptiveDelay::new(AdaptiveOptions::DEFAULT)?, &latencies);
/// assert_eq!(latencies.snapshot(Instant::ZERO).count(), 0);
/// # let _ = policy;
/// # Ok::<(), hedge_core::policy::AdaptiveError>(())
/// ```
#[derive(Debug, Default)]
pub struct CallLatencies(LatencyRecorder);

impl CallLatencies {
    /// The window that ends at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.0.snapshot(now)
    }
}

impl BackupPolicy for CallLatencies {
    fn ended(&self, call: &Ended<'_>) {
        let sample = match call.end {
            // A refusal for good is an answer: no other would have come.
            End::Accepted | End::Fatal => Sample::Answered,
            End::Failed | End::Deadline | End::Cancelled | End::NoServer | End::AllDown | End::AllFull => {
                Sample::Abandoned
            }
        };
        let _ = self.0.note(call.at, call.elapsed_micros(), sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::NotHedged;
    use crate::time::{Duration, Micros};

    #[test]
    fn l13_what_was_not_answered_is_a_lower_bound() {
        let latencies = CallLatencies::default();
        let now = Instant::from_millis(500);
        for (end, millis) in
            [(End::Accepted, 10), (End::Fatal, 20), (End::Failed, 30), (End::Deadline, 40), (End::Cancelled, 1)]
        {
            latencies.ended(&Ended::new(end, (now, Micros::from_millis(millis)), &[], NotHedged::Disabled));
        }
        let snapshot = latencies.snapshot(now);
        assert_eq!((snapshot.count(), snapshot.abandoned()), (5, 3));
        assert_eq!(snapshot.max(), Duration::from_millis(20), "of what was answered");
    }
}

//! The latencies of a channel's calls: [`CallLatencies`].

use super::{BackupPolicy, Ended};
use crate::latency::{LatencyRecorder, Sample, Snapshot};
use crate::outcome::End;
use crate::time::Instant;

/// Records the latencies of the calls of the last 10 s. The type is a policy because policies are informed of every
/// call's end, but it decides nothing. Combine it with another policy, for example as `(policy, &latencies)`.
///
/// A call that ended as `Accepted` or `Fatal` counts with the time that it took. For any other call, that time counts
/// as a lower bound.
///
/// Cost: the cost of [`LatencyRecorder::record`] for each call. Memory: 2 KB.
///
/// ```
/// use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, CallLatencies};
/// use hedge_core::time::Instant;
///
/// let latencies = CallLatencies::default();
/// let policy = (AdaptiveDelay::new(AdaptiveOptions::DEFAULT), &latencies);
/// assert_eq!(latencies.snapshot(Instant::ZERO).count(), 0);
/// # let _ = policy;
/// ```
#[derive(Debug, Default)]
pub struct CallLatencies(LatencyRecorder);

impl CallLatencies {
    /// Returns the latencies of the window that ends at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.0.snapshot(now)
    }
}

impl BackupPolicy for CallLatencies {
    fn ended(&self, call: &Ended<'_>) {
        let sample = match call.end {
            // A call that ended as `Fatal` was answered too: a longer wait would not have changed the answer.
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

//! How long the calls of a channel take: [`CallLatencies`].

use hedge_core::call::End;
use hedge_core::latency::{LatencyRecorder, Snapshot};
use hedge_core::policy::{BackupPolicy, Ended};
use hedge_core::time::Instant;

/// The latencies of calls in the last 10 s. A policy, so that it can be put beside a call's own, which is told of the call's
/// end instead of the channel's.
#[derive(Debug, Default)]
pub(crate) struct CallLatencies(LatencyRecorder);

impl CallLatencies {
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        self.0.snapshot(now)
    }
}

impl BackupPolicy for CallLatencies {
    fn ended(&self, call: &Ended<'_>) {
        match call.end {
            // A refusal for good is an answer: nobody would have waited for another.
            End::Accepted | End::Fatal => self.0.record(call.at, call.elapsed),
            End::Failed | End::Deadline | End::Cancelled | End::NoServer | End::AllDown => {
                self.0.record_censored(call.at, call.elapsed);
            }
        }
    }
}

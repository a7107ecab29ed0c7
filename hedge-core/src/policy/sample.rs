//! Takes the latency samples from a call's attempts.

use crate::latency::Sample;
use crate::outcome::{Attempt, Kind, State, Verdict};
use crate::time::Micros;

/// Returns the latency sample of an attempt. Returns `None` for a backup and for an attempt in flight.
pub(super) fn sample_of(attempt: &Attempt) -> Option<(Micros, Sample)> {
    let span = attempt.ended_micros()? - attempt.started_micros();
    match (attempt.kind(), attempt.state()) {
        (Kind::Backup, _) | (_, State::InFlight) => None,
        (_, State::Finished(Verdict::Accept | Verdict::Fatal)) => Some((span, Sample::Answered)),
        // A failure gives only a lower bound. Without the samples of failures, servers that fail slowly would look
        // fast.
        (_, State::Abandoned | State::Finished(Verdict::Retry | Verdict::Wait)) => Some((span, Sample::Abandoned)),
    }
}

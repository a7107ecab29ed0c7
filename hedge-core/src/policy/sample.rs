//! What a call's attempts tell about latencies.

use crate::latency::Sample;
use crate::outcome::{Attempt, Kind, State, Verdict};
use crate::time::Micros;

/// The latency sample of an attempt. A backup, or an attempt in flight, gives none.
pub(super) fn sample_of(attempt: &Attempt) -> Option<(Micros, Sample)> {
    let span = attempt.ended_micros()? - attempt.started_micros();
    match (attempt.kind(), attempt.state()) {
        (Kind::Backup, _) | (_, State::InFlight) => None,
        (_, State::Finished(Verdict::Accept | Verdict::Fatal)) => Some((span, Sample::Answered)),
        // A failure gives only a lower bound. Leaving it out would make servers that fail slowly look fast.
        (_, State::Abandoned | State::Finished(Verdict::Retry | Verdict::Wait)) => Some((span, Sample::Abandoned)),
    }
}

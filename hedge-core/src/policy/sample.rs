//! What a call's attempts tell about latencies.

use crate::latency::Sample;
use crate::outcome::{Attempt, Kind, State, Verdict};
use crate::time::Duration;

/// What an attempt tells; a backup, or one that goes on, nothing.
pub(super) fn sample_of(attempt: &Attempt) -> Option<(Duration, Sample)> {
    let span = attempt.ended()? - attempt.started();
    match (attempt.kind(), attempt.state()) {
        (Kind::Backup, _) | (_, State::InFlight) => None,
        (_, State::Finished(Verdict::Accept | Verdict::Fatal)) => Some((span, Sample::Answered)),
        // A failure is not a latency either; leaving it out would make those that are slow to fail look fast.
        (_, State::Abandoned | State::Finished(Verdict::Retry | Verdict::Wait)) => Some((span, Sample::Abandoned)),
    }
}

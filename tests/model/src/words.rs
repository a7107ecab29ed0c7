//! The lines in which both implementations tell what they did, so that they can be compared.

use hedge_core::outcome::{Code, End, Feedback, Kind, NotHedged, State};
use hedge_core::time::Timeout;

/// What a host is told of an attempt.
pub(crate) struct Told<'a> {
    pub(crate) how: &'a str,
    pub(crate) attempt: usize,
    pub(crate) server: &'a str,
    pub(crate) sent: u64,
    pub(crate) now: u64,
    pub(crate) feedback: Feedback,
    pub(crate) code: Code,
    pub(crate) max_retry: u8,
    pub(crate) timeout: Timeout,
}

pub(crate) fn told(told: &Told<'_>) -> String {
    let Told { how, attempt, server, sent, now, feedback, code, max_retry, timeout } = told;
    format!(
        "{now}: {how} {attempt} at {server}, {feedback:?}, {code}; sent at {sent}, max_retry {max_retry}, {timeout:?}"
    )
}

pub(crate) fn start(kind: &Kind, server: &str, remaining: Option<u64>, connect_deadline: Option<u64>) -> String {
    format!("{kind} at {server}, remaining {remaining:?}, connect deadline {connect_deadline:?}")
}

pub(crate) fn summary(
    end: Option<End>,
    elapsed: u64,
    winner: Option<usize>,
    decisive: Option<usize>,
    not_hedged: Option<NotHedged>,
) -> String {
    format!("{end:?} after {elapsed}, winner {winner:?}, decisive {decisive:?}, not hedged {not_hedged:?}")
}

pub(crate) fn attempt(kind: Kind, server: &str, started: u64, ended: Option<u64>, state: State, code: Code) -> String {
    format!("{kind} at {server} from {started} to {ended:?}: {state:?}, {code}")
}

pub(crate) fn asked(who: &str, what: &str, now: u64) -> String {
    format!("{now}: {who}'s policy is asked: {what}")
}

pub(crate) fn ended(
    who: &str,
    end: End,
    at: u64,
    elapsed: u64,
    not_hedged: Option<NotHedged>,
    attempts: &[String],
) -> String {
    format!("{at}: {who}'s policy is told: {end} after {elapsed}, not hedged {not_hedged:?}, {attempts:?}")
}

/// How a call can end, as a branch of the rules.
pub(crate) const fn end(end: End) -> &'static str {
    match end {
        End::Accepted => "L16: accepted",
        End::Failed => "L16: failed",
        End::Fatal => "L16: fatal",
        End::Deadline => "L16: deadline",
        End::Cancelled => "L16: cancelled",
        End::NoServer => "L16: no server",
        End::AllDown => "L16: all down",
        End::AllFull => "L22: all full",
    }
}

/// Why a call had no backup, as a branch of the rules.
pub(crate) const fn reason(reason: NotHedged) -> &'static str {
    match reason {
        NotHedged::Disabled => "L19: disabled",
        NotHedged::NotHedgeable => "L19: not hedgeable",
        NotHedged::NotIdempotent => "L19: not idempotent",
        NotHedged::DelayPastDeadline => "L19: delay past deadline",
        NotHedged::NoAttemptLeft => "L19: no attempt left",
        NotHedged::NoOtherServer => "L19: no other server",
        NotHedged::Shadow => "L19: shadow",
        NotHedged::Denied(_) => "L19: denied",
        NotHedged::Pushback => "L19: pushback",
        NotHedged::FinishedFirst => "L19: finished first",
    }
}

/// Every branch of the rules that scripts must reach.
pub(crate) const BRANCHES: &[&str] = &[
    "a first attempt",
    "L1: a second result, or one after the end",
    "L5: a backup",
    "L5: a backup finds no server",
    "L5: a backup is refused",
    "L6: a further backup",
    "L9: a backup uses a held failure up",
    "L9: a failure is held",
    "L9: a held failure becomes a pending start",
    "L9: a retry",
    "L9: a retry finds no server",
    "L9: a retry is refused",
    "L9: of two pending starts the earlier stays",
    "L11: a backup waits for an address",
    "L11: a retry waits for an address",
    "L11: an address at work gets another attempt",
    "L11: an address under another tag",
    "L14: a late failure",
    "L14: a late fatal result",
    "L14: a late success",
    "L16: accepted",
    "L16: all down",
    "L16: cancelled",
    "L16: deadline",
    "L16: failed",
    "L16: fatal",
    "L16: no server",
    "L17: a timer fires during a backoff",
    "L18: a backoff is skipped",
    "L19: delay past deadline",
    "L19: denied",
    "L19: disabled",
    "L19: finished first",
    "L19: no attempt left",
    "L19: no other server",
    "L19: not hedgeable",
    "L19: not idempotent",
    "L19: pushback",
    "L19: shadow",
    "R4: a failure does not bring a pushed start forward",
    "R4: a pushback moves the backup timer",
    "R4: a pushback says do not",
    "R4: a pushback sets a pending start",
];

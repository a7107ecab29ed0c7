//! Counts how calls ended and how many attempts they made: [`Counters`].

use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Attempt, Denial, End, Extra, Kind, State, Verdict};
use hedge_core::policy::{BackupPolicy, CallLatencies, Ended};
use hedge_core::time::Instant;

/// How many calls of a channel ended in each way since the channel was made, and how many attempts these calls made.
/// For a rate, take the difference between two readings.
///
/// A call is counted when it ends. A dropped call counts as cancelled. Three kinds of calls are not counted: calls in
/// flight, calls that were rejected because their options are invalid, and calls that were never polled.
///
/// # Cost
/// An accepted call with a single attempt costs one atomic addition when it ends. Any other call costs a few additions.
/// Reading the counters does not stop calls, so the numbers may be from slightly different moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Calls whose reply was accepted.
    pub accepted: u64,
    /// Calls that failed: no attempt was accepted, and no further attempt was possible.
    pub failed: u64,
    /// Calls that ended because the verdict on an attempt was [`Fatal`](Verdict::Fatal).
    pub fatal: u64,
    /// Calls whose deadline passed.
    pub deadline: u64,
    /// Calls that were cancelled or dropped.
    pub cancelled: u64,
    /// Calls that found the list of servers empty.
    pub no_server: u64,
    /// Calls that found all servers down.
    pub all_down: u64,
    /// Calls that ended as [`End::AllFull`]: no attempt was started, since the servers that were not down were full,
    /// the queue was full, or the maximum wait was over. A full server has as many attempts in flight as its cap allows
    /// ([L22](hedge_core::rules#L22)).
    pub all_full: u64,
    /// Calls that an interceptor refused before they started ([I1](hedge_core::rules#I1)). These calls are not included
    /// in any other counter, not even in [`calls`](Self::calls).
    pub refused: u64,
    /// Calls that an interceptor answered itself ([I1](hedge_core::rules#I1)). These calls are not included in any
    /// other counter, not even in [`calls`](Self::calls).
    pub answered: u64,
    /// First attempts: one for each call that found a server.
    pub first_attempts: u64,
    /// Retries that were sent.
    pub retries: u64,
    /// Backups that were sent. In tRPC this counter is called `backup_request`.
    pub backups: u64,
    /// Backups whose reply was accepted. In tRPC this counter is called `backup_request_success`.
    pub backups_won: u64,
    /// How many retries were refused for each reason, in the order of [`Denial::ALL`].
    retries_denied: [u32; Denial::ALL.len()],
    /// How many backups were refused for each reason, in the order of [`Denial::ALL`].
    backups_denied: [u32; Denial::ALL.len()],
}

impl Counters {
    /// Returns how many calls have ended.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        let answered = self.accepted + self.failed + self.fatal;
        answered + self.deadline + self.cancelled + self.no_server + self.all_down + self.all_full
    }

    /// Returns how many attempts the ended calls made.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.first_attempts + self.retries + self.backups
    }

    /// Returns how many calls ended in this way.
    #[must_use]
    pub const fn ended(&self, end: End) -> u64 {
        match end {
            End::Accepted => self.accepted,
            End::Failed => self.failed,
            End::Fatal => self.fatal,
            End::Deadline => self.deadline,
            End::Cancelled => self.cancelled,
            End::NoServer => self.no_server,
            End::AllDown => self.all_down,
            End::AllFull => self.all_full,
        }
    }

    /// Returns how many extra attempts of this kind were refused for this reason, by the channel's limits and policy.
    /// The count wraps at 2³².
    #[must_use]
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        let denied = match extra {
            Extra::Retry => &self.retries_denied,
            Extra::Backup => &self.backups_denied,
        };
        Denial::ALL.iter().zip(denied).find(|(denial, _)| **denial == reason).map_or(0, |(_, count)| *count)
    }
}

/// The latencies and the counters of a channel's calls. This type is a [`BackupPolicy`] only in order to learn of the
/// end of each call. It decides nothing.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct CallRecords {
    latencies: CallLatencies,
    /// Accepted calls with a single attempt. Most calls are of this kind, so they have their own counter, which costs
    /// one addition.
    plain: AtomicU64,
    ends: Ends,
    attempts: Attempts,
    /// Calls that interceptors refused. The next field counts the calls that interceptors answered.
    refused: AtomicU64,
    answered: AtomicU64,
}

#[derive(Debug, Default)]
struct Ends {
    accepted: AtomicU64,
    failed: AtomicU64,
    fatal: AtomicU64,
    deadline: AtomicU64,
    cancelled: AtomicU64,
    no_server: AtomicU64,
    all_down: AtomicU64,
    all_full: AtomicU64,
}

#[derive(Debug, Default)]
struct Attempts {
    first: AtomicU64,
    retries: AtomicU64,
    backups: AtomicU64,
    backups_won: AtomicU64,
}

impl CallRecords {
    pub(crate) fn latencies(&self, now: Instant) -> Snapshot {
        self.latencies.snapshot(now)
    }

    pub(crate) fn counters(&self, denied: impl Fn(Extra, Denial) -> u32) -> Counters {
        let plain = get(&self.plain);
        let (ends, attempts) = (&self.ends, &self.attempts);
        Counters {
            accepted: plain + get(&ends.accepted),
            failed: get(&ends.failed),
            fatal: get(&ends.fatal),
            deadline: get(&ends.deadline),
            cancelled: get(&ends.cancelled),
            no_server: get(&ends.no_server),
            all_down: get(&ends.all_down),
            all_full: get(&ends.all_full),
            refused: get(&self.refused),
            answered: get(&self.answered),
            first_attempts: plain + get(&attempts.first),
            retries: get(&attempts.retries),
            backups: get(&attempts.backups),
            backups_won: get(&attempts.backups_won),
            retries_denied: Denial::ALL.map(|reason| denied(Extra::Retry, reason)),
            backups_denied: Denial::ALL.map(|reason| denied(Extra::Backup, reason)),
        }
    }

    pub(crate) fn count_refused(&self) {
        add(&self.refused);
    }

    pub(crate) fn count_answered(&self) {
        add(&self.answered);
    }

    #[cold]
    fn count(&self, end: End, attempts: &[Attempt]) {
        let Self { ends, attempts: counts, .. } = self;
        add(match end {
            End::Accepted => &ends.accepted,
            End::Failed => &ends.failed,
            End::Fatal => &ends.fatal,
            End::Deadline => &ends.deadline,
            End::Cancelled => &ends.cancelled,
            End::NoServer => &ends.no_server,
            End::AllDown => &ends.all_down,
            End::AllFull => &ends.all_full,
        });
        for attempt in attempts {
            add(match attempt.kind() {
                Kind::First => &counts.first,
                Kind::Retry => &counts.retries,
                Kind::Backup => &counts.backups,
            });
            if attempt.kind() == Kind::Backup && attempt.state() == State::Finished(Verdict::Accept) {
                add(&counts.backups_won);
            }
        }
    }
}

impl BackupPolicy for CallRecords {
    #[inline]
    fn ended(&self, call: &Ended<'_>) {
        if call.end == End::Accepted && call.attempts.len() == 1 {
            add(&self.plain);
        } else {
            self.count(call.end, call.attempts);
        }
        self.latencies.ended(call);
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

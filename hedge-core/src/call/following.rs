//! Decides what follows a failure: a retry now or later, a pushback, or the end of the call ([L9](crate::rules#L9),
//! [L10](crate::rules#L10), [R4](crate::rules#R4)).

use core::ops::Deref;

use super::{Call, CallTimer, Flags, Host};
use crate::id::ServerId;
use crate::outcome::{Code, End, ErrorKind, Judgement, NotHedged, Pushback, Verdict};
use crate::policy::{OnEarlyFailure, RetryTarget};
use crate::time::{Instant, Micros};

impl<P, const N: usize> Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    /// Decides what to do after an attempt has failed before the deadline.
    #[inline(never)]
    pub(super) fn follow(&mut self, server: ServerId, judgement: &Judgement) {
        // A retry needs two permissions: the verdict's and the call's. A failure whose error code says that a deadline
        // has passed is never retried, whatever a policy says (R1). A pushback for one server forbids a retry only if
        // no other server can be tried (R4).
        let wanted = judgement.verdict == Verdict::Retry
            && judgement.code != Code::from(ErrorKind::Deadline)
            && self.may_follow(judgement.never_left);
        match judgement.pushback.filter(|pushback| !pushback.is_of_server() || self.concerns_all()) {
            Some(pushback) => self.push_back(pushback, Some(server).filter(|_| wanted)),
            None if wanted => self.retry(server),
            None => {}
        }
        // When an attempt ends, its address becomes idle in this call. So starts that waited for an idle address are
        // due now (L11).
        if self.flags.take(Flags::RETRY_WAITS) {
            self.set(CallTimer::Pending, self.seen);
        }
        if self.flags.take(Flags::BACKUP_WAITS) {
            self.set(CallTimer::Backup, self.seen);
        }
        self.end_if_stuck();
    }

    /// Plans a retry at once or after the backoff, or holds the failure until the backup timer fires
    /// ([L9](crate::rules#L9)).
    fn retry(&mut self, server: ServerId) {
        if self.host.options().on_early_failure == OnEarlyFailure::Wait && self.armed(CallTimer::Backup) {
            // The failure is held, because the armed backup replaces its retry (L9).
            self.flags.set(Flags::HELD);
            self.held_of = server;
            return;
        }
        // If a pushback has set the time of the pending start, a failure does not make this start earlier (R4).
        if self.flags.has(Flags::PUSHED) {
            return;
        }
        let due = self.seen + self.backoff();
        if due < self.timer(CallTimer::Pending) {
            self.set(CallTimer::Pending, due);
            self.retry_of = server;
        }
    }

    /// Moves the pending start to the end of a pushback's delay. Moves the backup timer to one backup delay after that
    /// start. If the delay ends at or after the deadline, the call starts no further attempt ([R4](crate::rules#R4)).
    /// After two pushbacks, the later of the two instants applies. `retry_of` is the server whose failure carried the
    /// pushback; it is `None` if that failure may not be retried.
    fn push_back(&mut self, pushback: Pushback, retry_of: Option<ServerId>) {
        let mut due = pushback.ends(self.seen);
        // If the call has no deadline, this is true only for the pushback "do not retry" and for an endless delay.
        if due >= self.deadline() {
            self.flags.set(Flags::NO_MORE);
            due = Instant::NEVER;
        }
        if self.flags.has(Flags::PUSHED) {
            due = due.max(self.timer(CallTimer::Pending));
        }
        // A retry that waited for an idle address now starts at the end of the pushback's delay.
        if retry_of.is_some() || self.start_is_pending() {
            self.flags.take(Flags::RETRY_WAITS);
            self.flags.set(Flags::PUSHED);
            self.set(CallTimer::Pending, due);
            self.retry_of = retry_of.unwrap_or(self.retry_of);
        }
        let mut earliest = Instant::ZERO;
        if !self.flags.take(Flags::BACKUP_WAITS) {
            if !self.armed(CallTimer::Backup) {
                return;
            }
            earliest = self.timer(CallTimer::Backup);
        }
        self.arm_backup(due);
        self.set(CallTimer::Backup, self.timer(CallTimer::Backup).max(earliest));
        self.report.set_not_hedged(NotHedged::Pushback);
    }

    /// Returns whether a retry is planned: either its timer is armed, or the retry waits for an idle address.
    pub(super) fn start_is_pending(&self) -> bool {
        self.armed(CallTimer::Pending) || self.flags.has(Flags::RETRY_WAITS)
    }

    /// Returns whether a pushback that concerns one server delays every start. This is true in three cases: the options
    /// say so, retries go to the same server, or the call has tried every usable address ([R4](crate::rules#R4)).
    fn concerns_all(&mut self) -> bool {
        if self.host.options().pushback_for_service || self.retry_target() == RetryTarget::Same {
            return true;
        }
        let Ok(pick) = self.look(None) else { return true };
        self.report.attempts().iter().any(|attempt| attempt.address() == pick.address)
    }

    /// Returns whether the call's own state allows another attempt after a failure. The host's limits are asked later.
    fn may_follow(&self, never_left: bool) -> bool {
        !self.flags.has(Flags::NO_MORE) && self.attempts_left() && (never_left || self.idempotent())
    }

    /// Returns the wait before the next retry. The wait is zero if too little time is left for it
    /// ([L18](crate::rules#L18)).
    #[inline(never)]
    fn backoff(&mut self) -> Micros {
        let channel = self.host.options();
        let backoff = self.options.backoff.as_ref().unwrap_or(&channel.backoff);
        // `retry` is the number of this retry, counted from 1. The extra attempts so far, without the backups, are the
        // earlier retries.
        let retry = self.report.retried_count() - self.backups + 1;
        let delay = backoff.delay(retry, || self.random.next(self.host.seeds()));
        match self.remaining() {
            Some(remaining)
                if delay >= remaining || remaining < Micros::from_duration(channel.no_backoff_remaining) =>
            {
                Micros::ZERO
            }
            _ => delay,
        }
    }

    /// Ends the call as failed if no attempt can succeed any more ([L10](crate::rules#L10)).
    pub(super) fn end_if_stuck(&mut self) {
        if self.open > 0 || self.armed(CallTimer::Pending) {
            return;
        }
        let backup_may_help = self.flags.has(Flags::HELD) && self.armed(CallTimer::Backup) && self.attempts_left();
        if !backup_may_help {
            self.end(End::Failed);
        }
    }
}

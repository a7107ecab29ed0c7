//! What a failure leads to: a retry, now or later, a pushback, or the end ([L9](crate::rules#L9),
//! [L10](crate::rules#L10), [R4](crate::rules#R4)).

use core::ops::Deref;

use super::{Call, CallTimer, Flags, Host};
use crate::id::ServerId;
use crate::outcome::{Code, End, ErrorKind, Judgement, Kind, NotHedged, Pushback, Verdict};
use crate::policy::{OnEarlyFailure, RetryTarget};
use crate::time::{Instant, Micros};

impl<P, const N: usize> Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    /// What a failure before the deadline leads to.
    #[inline(never)]
    pub(super) fn follow(&mut self, server: ServerId, judgement: &Judgement) {
        // A pushback for one server counts only if it concerns every start (R4).
        // The deadline is never retried, whatever a policy says (R1).
        let wanted = judgement.verdict == Verdict::Retry
            && judgement.code != Code::from(ErrorKind::Deadline)
            && self.may_follow(judgement.never_left);
        match judgement.pushback.filter(|pushback| !pushback.is_of_server() || self.concerns_all()) {
            Some(pushback) => self.push_back(pushback, Some(server).filter(|_| wanted)),
            None if wanted => self.retry(server),
            None => {}
        }
        // An address has become idle in this call (L11). Neither has a time while it waits for that.
        if self.flags.take(Flags::RETRY_WAITS) {
            self.set(CallTimer::Pending, self.seen);
        }
        if self.flags.take(Flags::BACKUP_WAITS) {
            self.set(CallTimer::Backup, self.seen);
        }
        self.end_if_stuck();
    }

    /// Makes a failure a start, now or after the backoff, or holds it until the backup's timer ([L9](crate::rules#L9)).
    fn retry(&mut self, server: ServerId) {
        if self.host.options().on_early_failure == OnEarlyFailure::Wait && self.armed(CallTimer::Backup) {
            // The failure is held: the armed backup does the work of its retry (L9).
            self.flags.set(Flags::HELD);
            self.held_of = server;
            return;
        }
        // A start that a pushback has set is not brought forward (R4).
        if self.flags.has(Flags::PUSHED) {
            return;
        }
        let due = self.seen + self.backoff();
        if due < self.timer(CallTimer::Pending) {
            self.set(CallTimer::Pending, due);
            self.retry_of = server;
        }
    }

    /// Allows no start of any kind before the time that a pushback gives, and no start at all if that is not before the
    /// deadline ([R4](crate::rules#R4)). Of two pushbacks the later instant stays. `retry_of` is the server whose
    /// failure led to the pushback, if that failure may be retried.
    fn push_back(&mut self, pushback: Pushback, retry_of: Option<ServerId>) {
        let mut due = pushback.ends(self.seen);
        // Without a deadline every delay but an endless one is in time.
        if due >= self.deadline() {
            self.flags.set(Flags::NO_MORE);
            due = Instant::NEVER;
        }
        if self.flags.has(Flags::PUSHED) {
            due = due.max(self.timer(CallTimer::Pending));
        }
        // A start that waited for an idle address has a time again.
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

    /// Whether a start is pending: its timer is armed, or it waits for an idle address.
    pub(super) fn start_is_pending(&self) -> bool {
        self.armed(CallTimer::Pending) || self.flags.has(Flags::RETRY_WAITS)
    }

    /// Whether a pushback that speaks for its server concerns every start: the options say so, retries go to that
    /// server, or no usable address is left that the call has not tried ([R4](crate::rules#R4)).
    fn concerns_all(&mut self) -> bool {
        if self.host.options().pushback_for_service || self.retry_target() == RetryTarget::Same {
            return true;
        }
        let Ok(pick) = self.look(Kind::Retry, None) else { return true };
        self.report.attempts().iter().any(|attempt| attempt.address() == pick.address)
    }

    /// Whether a failure may be followed by another attempt, as far as the call itself knows.
    fn may_follow(&self, never_left: bool) -> bool {
        !self.flags.has(Flags::NO_MORE) && self.attempts_left() && (never_left || self.idempotent())
    }

    /// The wait before the next retry; zero if it would leave too little time ([L18](crate::rules#L18)).
    #[inline(never)]
    fn backoff(&mut self) -> Micros {
        let channel = self.host.options();
        let backoff = self.options.backoff.as_ref().unwrap_or(&channel.backoff);
        // Of the attempts after the first all but the backups, and this one.
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

    /// Ends the call if nothing can win it any more ([L10](crate::rules#L10)).
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

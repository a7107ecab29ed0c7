//! What a failure leads to: a retry, now or later, a pushback, or the end (L9, L10, R4).

use core::ops::Deref;

use super::{Call, End, Flags, Host, Kind, NotHedged, ServerId, Timer};
use crate::policy::{Code, ErrorKind, Judgement, OnEarlyFailure, Pushback, RetryTarget, Verdict};
use crate::time::{Duration, Instant};

impl<P, const N: usize> Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    /// What a failure before the deadline leads to.
    #[inline(never)]
    pub(super) fn follow(&mut self, server: ServerId, judgement: &Judgement) {
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
            self.set(Timer::Pending, self.seen);
        }
        if self.flags.take(Flags::BACKUP_WAITS) {
            self.set(Timer::Backup, self.seen);
        }
        self.end_if_stuck();
    }

    /// Makes a failure a start, now or after the backoff, or holds it until the backup's timer (L9).
    fn retry(&mut self, server: ServerId) {
        if self.host.options().on_early_failure == OnEarlyFailure::Wait && self.armed(Timer::Backup) {
            self.flags.set(Flags::HELD);
            if !self.armed(Timer::Pending) {
                self.retry_of = server;
            }
            return;
        }
        // What a pushback has set is not brought forward.
        if self.flags.has(Flags::PUSHED) {
            return;
        }
        let due = self.seen + self.backoff();
        if due < self.timer(Timer::Pending) {
            self.set(Timer::Pending, due);
            self.retry_of = server;
        }
    }

    /// No start of any kind before the time that a pushback gives, or none at all where it gives none before the deadline
    /// (R4); of two pushbacks the later instant stays. A start is made for the failure of `retry_of`, if it may be followed.
    fn push_back(&mut self, pushback: Pushback, retry_of: Option<ServerId>) {
        let mut due = match pushback {
            Pushback::After(delay) | Pushback::ServerAfter(delay) => self.seen + delay,
            Pushback::DoNot | Pushback::ServerDoNot => Instant::NEVER,
        };
        // Without a deadline all but never is in time.
        if due >= self.deadline() {
            self.flags.set(Flags::NO_MORE);
            due = Instant::NEVER;
        }
        if self.flags.has(Flags::PUSHED) {
            due = due.max(self.timer(Timer::Pending));
        }
        if retry_of.is_some() || self.start_is_pending() {
            self.flags.take(Flags::RETRY_WAITS);
            self.flags.set(Flags::PUSHED);
            self.set(Timer::Pending, due);
            self.retry_of = retry_of.unwrap_or(self.retry_of);
        }
        let mut earliest = Instant::ZERO;
        if !self.flags.take(Flags::BACKUP_WAITS) {
            if !self.armed(Timer::Backup) {
                return;
            }
            earliest = self.timer(Timer::Backup);
        }
        self.arm_backup(due);
        self.set(Timer::Backup, self.timer(Timer::Backup).max(earliest));
        self.report.set_not_hedged(NotHedged::Pushback);
    }

    /// Whether a start is pending: it has its time, or waits for an idle address.
    pub(super) fn start_is_pending(&self) -> bool {
        self.armed(Timer::Pending) || self.flags.has(Flags::RETRY_WAITS)
    }

    /// Whether a pushback that speaks for its server concerns every start: the options say so, retries go to that server, or
    /// no usable address is left that the call has not tried (R4).
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

    /// The wait before the next retry, or none where it would not leave time (L18).
    #[inline(never)]
    fn backoff(&mut self) -> Duration {
        let channel = self.host.options();
        let backoff = self.options.backoff.as_ref().unwrap_or(&channel.backoff);
        // Of the attempts after the first all but the backups, and this one.
        let retry = self.report.retried_count() - self.backups + 1;
        let delay = backoff.delay(retry, || self.random.next(self.host.seeds()));
        match self.remaining() {
            Some(remaining) if delay >= remaining || remaining < channel.no_backoff_remaining => Duration::ZERO,
            _ => delay,
        }
    }

    /// L10: ends the call when nothing can win it any more.
    pub(super) fn end_if_stuck(&mut self) {
        if self.open > 0 || self.armed(Timer::Pending) {
            return;
        }
        let backup_may_help = self.flags.has(Flags::HELD) && self.armed(Timer::Backup) && self.attempts_left();
        if !backup_may_help {
            self.end(End::Failed);
        }
    }
}

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
        // A pushback for one server counts only if it concerns every start (R4).
        let pushback = judgement.pushback.filter(|pushback| !pushback.is_of_server() || self.concerns_all());
        self.plan(server, judgement, pushback);
        // An address has become idle in this call (L11).
        if self.flags.take(Flags::RETRY_WAITS) {
            self.set(Timer::Pending, self.seen.min(self.timer(Timer::Pending)));
        }
        if self.flags.take(Flags::BACKUP_WAITS) {
            self.set(Timer::Backup, self.seen);
        }
        self.end_if_stuck();
    }

    /// Decides what a failure makes of the pending start and the backup timer (L9, R4).
    fn plan(&mut self, server: ServerId, judgement: &Judgement, pushback: Option<Pushback>) {
        // The deadline is never retried, whatever a policy says (R1).
        let wanted = judgement.verdict == Verdict::Retry
            && judgement.code != Code::from(ErrorKind::Deadline)
            && self.may_follow(judgement.never_left);
        match pushback.map(Pushback::for_service) {
            None if !wanted => {}
            None if self.host.options().on_early_failure == OnEarlyFailure::Wait && self.armed(Timer::Backup) => {
                // The failure is held: the armed backup does the work of its retry (L9).
                self.flags.set(Flags::HELD);
                if !self.start_is_pending() {
                    self.retry_of = server;
                }
            }
            // A start that a pushback has set is not brought forward (R4).
            None if self.flags.has(Flags::PUSHED) && self.armed(Timer::Pending) => {}
            None => {
                let due = self.seen + self.backoff();
                if due < self.timer(Timer::Pending) && !self.flags.has(Flags::RETRY_WAITS) {
                    self.set(Timer::Pending, due);
                    self.retry_of = server;
                }
            }
            // Without a deadline every delay but an endless one is in time.
            Some(Pushback::After(delay)) if self.seen + delay < self.deadline() => {
                self.push_back(self.seen + delay, Some(server).filter(|_| wanted));
            }
            // The server wants no retry, or none before the deadline.
            Some(_) => self.stop_starting(),
        }
    }

    /// Allows no start of any kind before `due` (R4); of two pushbacks the later instant stays. `retry_of` is the
    /// server whose failure led to the pushback, if that failure may be retried.
    fn push_back(&mut self, mut due: Instant, retry_of: Option<ServerId>) {
        if self.flags.has(Flags::PUSHED) && self.armed(Timer::Pending) {
            due = due.max(self.timer(Timer::Pending));
        }
        // A start that waited for an idle address has a time again.
        if retry_of.is_some() || self.start_is_pending() {
            self.flags.take(Flags::RETRY_WAITS);
            self.flags.set(Flags::PUSHED);
            self.set(Timer::Pending, due);
            self.retry_of = retry_of.unwrap_or(self.retry_of);
        }
        if self.flags.take(Flags::BACKUP_WAITS) || self.armed(Timer::Backup) {
            let moved = due + self.backup_delay;
            let armed = Some(self.timer(Timer::Backup)).filter(|at| *at < Instant::NEVER);
            self.arm_backup(armed.map_or(moved, |at| moved.max(at)));
            self.report.set_not_hedged(NotHedged::Pushback);
        }
    }

    /// Cancels the pending start, and every further start of this call (R4).
    fn stop_starting(&mut self) {
        self.flags.set(Flags::NO_MORE);
        self.flags.take(Flags::RETRY_WAITS);
        if self.flags.take(Flags::BACKUP_WAITS) || self.armed(Timer::Backup) {
            self.report.set_not_hedged(NotHedged::Pushback);
        }
        self.set(Timer::Pending, Instant::NEVER);
        self.set(Timer::Backup, Instant::NEVER);
    }

    /// Whether a start is pending: its timer is armed, or it waits for an idle address.
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

    /// The wait before the next retry; zero if it would leave too little time (L18).
    #[inline(never)]
    fn backoff(&mut self) -> Duration {
        let channel = self.host.options();
        let backoff = self.options.backoff.unwrap_or(channel.backoff);
        let retries = self.report.attempts().iter().filter(|attempt| attempt.kind() == Kind::Retry).count();
        let retry = u8::try_from(retries).unwrap_or(u8::MAX).saturating_add(1);
        let delay = backoff.delay(retry, || self.random.next(self.host.seeds()));
        match self.remaining() {
            Some(remaining) if delay >= remaining || remaining < channel.no_backoff_remaining => Duration::ZERO,
            _ => delay,
        }
    }

    /// Ends the call if nothing can win it any more (L10).
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

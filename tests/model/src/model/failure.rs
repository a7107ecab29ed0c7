//! What follows from a failure: a pending start, a held one, a pushback (L9, R4).

use hedge_core::outcome::{ErrorKind, Judgement, NotHedged, Verdict};
use hedge_core::policy::{OnEarlyFailure, RetryTarget};
use hedge_core::time::Micros;

use super::servers::Wanted;
use super::{Model, Pending, Timer, readings};

impl Model<'_> {
    /// An attempt has failed before the deadline.
    pub(super) fn failed(&mut self, now: u64, attempt: usize, judgement: Judgement) {
        let server = self.attempts.get(attempt).map_or(usize::MAX, |it| it.server);
        // The deadline is never retried, whatever a policy says (R1).
        let retryable = judgement.verdict == Verdict::Retry
            && judgement.code != ErrorKind::Deadline.into()
            && (self.settings.idempotent || judgement.never_left)
            && !self.stopped
            && self.attempt_left();
        match self.pushback(now, judgement) {
            Some(None) => {
                self.seen.insert("R4: a pushback says do not");
                self.stop();
            }
            Some(Some(after)) => self.push_back(now, after, server, retryable),
            None if !retryable => {}
            None if self.settings.on_early_failure == OnEarlyFailure::Wait
                && self.timer.as_ref().is_some_and(|timer| !timer.waits) =>
            {
                self.seen.insert("L9: a failure is held");
                self.held = Some(server);
                if self.pending.is_none() {
                    self.last_asked = server;
                }
            }
            None => self.make_pending(now, server, true),
        }
    }

    /// A pushback that counts: how much later, or `Some(None)` for no further attempt.
    fn pushback(&self, now: u64, judgement: Judgement) -> Option<Option<u64>> {
        let pushback = judgement.pushback?;
        // Where a retry goes to the server that has said it, it counts.
        let elsewhere = self.settings.target == RetryTarget::Another;
        if pushback.is_of_server() && !self.settings.pushback_for_service && elsewhere {
            let tried = self.tried();
            let wanted = Wanted { tried: &tried, same: None, working_too: false, named: self.named.as_deref() };
            if self.list.untried(&wanted) {
                return None;
            }
        }
        let delay = pushback.delay().map(|delay| Micros::from(delay).as_micros());
        Some(delay.filter(|delay| !self.late(now.saturating_add(*delay))))
    }

    /// No further attempt in this call.
    fn stop(&mut self) {
        self.stopped = true;
        self.pending = None;
        self.held = None;
        if let Some(timer) = self.timer.take() {
            self.meant = self.meant.or(Some(timer.at));
            self.reason = NotHedged::FinishedFirst;
        }
    }

    /// The next start comes so much later.
    fn push_back(&mut self, now: u64, after: u64, server: usize, retryable: bool) {
        if self.stopped {
            return;
        }
        let before = if readings::PUSHBACK_WITHOUT_A_START_IS_FORGOTTEN {
            self.pending.as_ref().filter(|it| it.pushed).map(|it| it.due)
        } else {
            self.not_before
        };
        let until = now.saturating_add(after).max(before.unwrap_or(0));
        self.not_before = Some(until);
        let kept = self.pending.as_ref().map(|it| it.failed);
        // Of two failures that ask for a start, it is that of the one whose pushback was heard last.
        let failed = if retryable { Some(server) } else { kept };
        if let Some(failed) = failed {
            self.seen.insert("R4: a pushback sets a pending start");
            self.pending = Some(Pending { due: until, failed, pushed: true, waits: false });
            self.last_asked = failed;
        }
        if let Some(timer) = &self.timer {
            self.seen.insert("R4: a pushback moves the backup timer");
            let moved = now.saturating_add(after).saturating_add(self.delay);
            let at = if timer.pushed { moved.max(timer.at) } else { moved };
            self.meant = self.meant.or(Some(timer.at));
            self.reason = NotHedged::FinishedFirst;
            self.timer = Some(Timer { at, pushed: true, waits: false });
            if self.late(at) {
                self.timer = None;
            }
        }
    }

    /// A pending start of a failure, at once or after the backoff; of two the earlier stays (L9), unless a pushback has set
    /// it (R4).
    pub(super) fn make_pending(&mut self, now: u64, failed: usize, with_backoff: bool) {
        let wait = if with_backoff { self.backoff(now) } else { 0 };
        let mut due = now.saturating_add(wait);
        let mut pushed = false;
        if let Some(until) = self.not_before
            && until > now
            && !readings::PUSHBACK_WITHOUT_A_START_IS_FORGOTTEN
        {
            (due, pushed) = (until, true);
        }
        match &self.pending {
            Some(pending) if pending.pushed => {
                self.seen.insert("R4: a failure does not bring a pushed start forward");
            }
            Some(pending) if pending.due <= due => {
                self.seen.insert("L9: of two pending starts the earlier stays");
            }
            _ => {
                self.pending = Some(Pending { due, failed, pushed, waits: false });
                self.last_asked = failed;
            }
        }
    }

    /// How long a retry waits (L18).
    fn backoff(&mut self, now: u64) -> u64 {
        let wait = self.settings.wait();
        let skipped = self
            .remaining(now)
            .is_some_and(|remaining| wait >= remaining || remaining < self.settings.no_backoff_remaining);
        if skipped && wait > 0 {
            self.seen.insert("L18: a backoff is skipped");
        }
        if skipped { 0 } else { wait }
    }
}

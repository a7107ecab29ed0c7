//! The end of a call: it settles the attempts in flight, tells the policy, and answers the driver.

use core::ops::Deref;

use super::{Action, Call, FAST_PATH, Flags, Host};
use crate::id::AttemptId;
use crate::outcome::{Attempt, Code, End, ErrorKind, Feedback, Finished, NotHedged, SentAttempt, State};
use crate::policy::Ended;
use crate::time::{Micros, Timeout};

impl<P, const N: usize> Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    /// Ends the call. Attempts in flight are abandoned and settled with the host at once; the driver learns of them
    /// from later polls.
    pub(super) fn end(&mut self, end: End) {
        self.end_inline(end);
    }

    /// [`end`](Self::end), inlined into the code of the usual end.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn end_inline(&mut self, end: End) {
        self.report.finish(end, self.offset());
        if self.open > 0 {
            self.abandon_open(end);
        }
        if self.flags.has(Flags::POLLED) {
            self.notify(end);
        }
    }

    /// Abandons every attempt in flight.
    // Kept out of the usual end, where no attempt is in flight.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    fn abandon_open(&mut self, end: End) {
        let offset = self.offset();
        for id in self.report.ids() {
            if let Some(attempt) = self.report.get_mut(id).filter(|attempt| attempt.in_flight()) {
                let age = attempt.abandon(offset);
                let attempt = *attempt;
                self.abandon(end, id, &attempt, age);
            }
        }
    }

    /// Settles an attempt that was in flight at the end. At the deadline, an attempt that had enough time counts as
    /// failed ([L13](crate::rules#L13)).
    fn abandon(&self, end: End, id: AttemptId, attempt: &Attempt, age: Micros) {
        // The deadline has come, so that the call has a timeout.
        let own = self.deadline().micros_since(self.report.started());
        let late = end == End::Deadline
            && age >= own - age
            && self.host.options().timeout.limit_micros().is_some_and(|timeout| age >= timeout - age);
        let (feedback, code) = if late {
            (Feedback::Failure { latency: age }, ErrorKind::Deadline.into())
        } else {
            (Feedback::Abandoned { age }, Code::NONE)
        };
        if FAST_PATH {
            self.host.finished(&self.finished(id, attempt, feedback, code));
        } else {
            self.tell(id, attempt, feedback, code, false);
        }
    }

    /// Tells the host how an attempt went: of a streaming call's winner that its head is there.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn tell(&self, id: AttemptId, attempt: &Attempt, feedback: Feedback, code: Code, streams: bool) {
        let finished = self.finished(id, attempt, feedback, code);
        if streams {
            self.host.answered(&finished);
        } else {
            self.host.finished(&finished);
        }
    }

    /// What the host is told of how an attempt went.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn finished(&self, id: AttemptId, attempt: &Attempt, feedback: Feedback, code: Code) -> Finished {
        let at = self.report.started() + attempt.started_micros();
        let sent = SentAttempt {
            server: attempt.server(),
            at,
            attempt: id,
            max_retry: self.max_retry,
            timeout: self.timeout(),
        };
        sent.finished(self.seen, feedback, code)
    }

    fn timeout(&self) -> Timeout {
        self.options.timeout.unwrap_or(self.host.options().timeout)
    }

    /// Tells the policy of the end, once, and only if the call was ever polled ([B2](crate::rules#B2)).
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn notify(&mut self, end: End) {
        // A call that ended within the delay would not have sent its backup anyway: it finished first (L19). Without
        // backups the delay is zero, so this check costs little.
        if self.report.elapsed_micros() <= self.backup_delay {
            match self.report.reason() {
                NotHedged::Pushback if end != End::Accepted => {}
                NotHedged::Shadow | NotHedged::Pushback => self.report.set_not_hedged(NotHedged::FinishedFirst),
                _ => {}
            }
        }
        // The notice is made in each arm, so that a policy that ignores it costs nothing.
        match self.options.backup_policy {
            Some(policy) => policy.ended(&self.notice(end)),
            None => self.host.ended(&self.notice(end)),
        }
    }

    /// The notice of a call that ended before it was polled.
    #[cold]
    pub(super) fn notify_late(&mut self, end: End) {
        self.notify(end);
    }

    fn notice(&self, end: End) -> Ended<'_> {
        let elapsed = self.report.elapsed_micros();
        Ended::new(end, (self.report.started() + elapsed, elapsed), self.report.attempts(), self.report.reason())
    }

    /// The answers after the end: each abandoned attempt, one a poll, then `Done`.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn after_end(&mut self, end: End) -> Action {
        if self.open > 0
            && let Some(attempt) = self.next_abandoned()
        {
            return Action::Abandon { attempt };
        }
        Action::Done(end)
    }

    /// The next abandoned attempt that the driver has not been told of yet.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    fn next_abandoned(&mut self) -> Option<AttemptId> {
        self.open -= 1;
        while let Some(attempt) = self.report.attempts().get(usize::from(self.abandoned)) {
            let id = AttemptId::new(self.abandoned);
            self.abandoned = self.abandoned.saturating_add(1);
            if attempt.state() == State::Abandoned {
                return Some(id);
            }
        }
        None
    }
}

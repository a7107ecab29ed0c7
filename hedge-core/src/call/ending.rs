//! The end of a call. This code settles the attempts in flight, informs the policy, and answers the driver's last
//! polls.

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
    /// Ends the call. Attempts in flight are abandoned. The host is informed at once. The driver is informed by later
    /// polls.
    pub(super) fn end(&mut self, end: End) {
        self.end_inline(end);
    }

    /// Does the same as [`end`](Self::end). This function is inlined where an accepted attempt ends the call, which is
    /// the usual case.
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
    // Not inlined: usually no attempt is in flight at the end.
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

    /// Reports to the host an attempt that was in flight when the call ended. Normally the attempt is reported as
    /// abandoned. There is one exception: the call ended at its deadline, and the attempt has run for at least half of
    /// the call's timeout and at least half of the channel's timeout. Such an attempt is reported as a failure
    /// ([L13](crate::rules#L13)).
    fn abandon(&self, end: End, id: AttemptId, attempt: &Attempt, age: Micros) {
        // `own` is the call's own timeout. The value is used only if the call ended at its deadline, so the call has a
        // timeout.
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

    /// Reports the result of an attempt to the host. `streams` is true if only the head of the reply has arrived and
    /// the body follows.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn tell(&self, id: AttemptId, attempt: &Attempt, feedback: Feedback, code: Code, streams: bool) {
        let finished = self.finished(id, attempt, feedback, code);
        if streams {
            self.host.answered(&finished);
        } else {
            self.host.finished(&finished);
        }
    }

    /// Makes the record of an attempt's result for the host.
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

    /// Informs the policy that the call has ended. The policy gets this notice once, and only if the call was polled at
    /// least once ([B2](crate::rules#B2)).
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn notify(&mut self, end: End) {
        // If a call ended before the backup delay was over, it had no time to send a backup. So the reason is that the
        // call finished first (L19). Without backups the delay is zero, so this check costs little.
        if self.report.elapsed_micros() <= self.backup_delay {
            match self.report.reason() {
                NotHedged::Pushback if end != End::Accepted => {}
                NotHedged::Shadow | NotHedged::Pushback => self.report.set_not_hedged(NotHedged::FinishedFirst),
                _ => {}
            }
        }
        // Each branch builds its own notice. So the compiler can remove the notice for a policy that ignores it.
        match self.options.backup_policy {
            Some(policy) => policy.ended(&self.notice(end)),
            None => self.host.ended(&self.notice(end)),
        }
    }

    /// Informs the policy about a call that ended before it was polled.
    #[cold]
    pub(super) fn notify_late(&mut self, end: End) {
        self.notify(end);
    }

    fn notice(&self, end: End) -> Ended<'_> {
        let elapsed = self.report.elapsed_micros();
        Ended::new(end, (self.report.started() + elapsed, elapsed), self.report.attempts(), self.report.reason())
    }

    /// Returns the answer to a poll after the end. Each poll returns one abandoned attempt. When there is no further
    /// abandoned attempt, polls return `Done`.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn after_end(&mut self, end: End) -> Action {
        if self.open > 0
            && let Some(attempt) = self.next_abandoned()
        {
            return Action::Abandon { attempt };
        }
        Action::Done(end)
    }

    /// Returns the next abandoned attempt that the driver does not know of yet.
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

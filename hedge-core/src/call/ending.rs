//! The end of a call: what is in flight is settled, the policy is told, and the driver is answered.

use core::ops::Deref;

use super::{
    Action, Attempt, AttemptId, Call, End, Feedback, Finished, Flags, Host, NotHedged, SHORT_WAY, Sent, State,
};
use crate::policy::{Code, Ended, ErrorKind, Timeout};
use crate::time::Duration;

impl<P, const N: usize> Call<'_, P, N>
where
    P: Deref<Target: Host>,
{
    /// Ends the call: what is in flight is abandoned and settled with the host at once; the driver hears of it by poll.
    pub(super) fn end(&mut self, end: End) {
        self.conclude(end);
    }

    /// The same, as part of what it is called by: of the usual end.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn conclude(&mut self, end: End) {
        self.report.finish(end, self.offset());
        if self.open > 0 {
            self.abandon_open(end);
        }
        if self.flags.has(Flags::POLLED) {
            self.notify(end);
        }
    }

    /// Abandons all that is in flight.
    // Apart from the usual end, where there is nothing.
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

    /// Settles an attempt that was in flight at the end. At the deadline one that had enough time has failed (L13).
    fn abandon(&self, end: End, id: AttemptId, attempt: &Attempt, age: Duration) {
        // The deadline has come, so that the call has a timeout.
        let own = self.deadline().since(self.report.started());
        let late = end == End::Deadline
            && age >= own - age
            && matches!(self.host.options().timeout, Timeout::After(timeout) if age >= timeout - age);
        let (feedback, code) = if late {
            (Feedback::Failure { latency: age }, ErrorKind::Deadline.into())
        } else {
            (Feedback::Abandoned { age }, Code::NONE)
        };
        if SHORT_WAY {
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
        let at = self.report.started() + attempt.started();
        let sent =
            Sent { server: attempt.server(), at, attempt: id, max_retry: self.max_retry, timeout: self.timeout() };
        sent.finished(self.seen, feedback, code)
    }

    fn timeout(&self) -> Timeout {
        self.options.timeout.unwrap_or(self.host.options().timeout)
    }

    /// The policy's notice, once, and only of a call that was ever polled (B2).
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn notify(&mut self, end: End) {
        // Asked first: without a backup there is no delay.
        if self.report.elapsed() <= self.backup_delay {
            match self.report.reason() {
                NotHedged::Pushback if end != End::Accepted => {}
                NotHedged::Shadow | NotHedged::Pushback => self.report.set_not_hedged(NotHedged::FinishedFirst),
                _ => {}
            }
        }
        // Made where it is told: a policy that does not listen then costs nothing.
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
        let elapsed = self.report.elapsed();
        Ended::new(end, (self.report.started() + elapsed, elapsed), self.report.attempts(), self.report.reason())
    }

    /// What is answered after the end: what is abandoned, one by one, then `Done`.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn wind_up(&mut self, end: End) -> Action {
        if self.open > 0
            && let Some(attempt) = self.next_abandoned()
        {
            return Action::Abandon { attempt };
        }
        Action::Done(end)
    }

    /// The next attempt to be abandoned, of those that are left.
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

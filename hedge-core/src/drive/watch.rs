//! What else is told of a call as it runs: [`Watch`].

use crate::call::Report;
use crate::id::AttemptId;

/// Is told of the attempts and the end of a call of at most `N` attempts, as its [`Driver`](super::Driver) runs it: for
/// logs, spans and observers. It changes nothing.
///
/// By default there is [`NoWatch`], a type of its own, so that a program without one carries no code for it. The report
/// says what is known at that moment. A method that panics is a panic of the call's future.
pub trait Watch<const N: usize> {
    /// False for a type whose methods do nothing.
    const WATCHES: bool = true;

    /// An attempt was decided and is about to be made. Its server may be gone from the list, and then the attempt ends
    /// at once as [`ServerGone`](crate::outcome::ErrorKind::ServerGone).
    fn attempt_started(&self, report: &Report<N>, attempt: AttemptId) {
        let _ = (report, attempt);
    }

    /// An attempt has a result, or is abandoned, and its future is dropped soon. Attempts that are still in flight when
    /// the call's future is dropped are not told one by one: [`call_ended`](Self::call_ended) shows them as abandoned.
    fn attempt_ended(&self, report: &Report<N>, attempt: AttemptId) {
        let _ = (report, attempt);
    }

    /// The call has ended, after all its attempts. This comes once for each call whose future was polled, also if that
    /// future is dropped.
    fn call_ended(&self, report: &Report<N>) {
        let _ = report;
    }
}

/// Nothing is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWatch;

impl<const N: usize> Watch<N> for NoWatch {
    const WATCHES: bool = false;
}

impl<const N: usize, W: Watch<N>> Watch<N> for &W {
    const WATCHES: bool = W::WATCHES;

    fn attempt_started(&self, report: &Report<N>, attempt: AttemptId) {
        (**self).attempt_started(report, attempt);
    }

    fn attempt_ended(&self, report: &Report<N>, attempt: AttemptId) {
        (**self).attempt_ended(report, attempt);
    }

    fn call_ended(&self, report: &Report<N>) {
        (**self).call_ended(report);
    }
}

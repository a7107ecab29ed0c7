//! A listener for what happens in a running call: [`Watch`].

use crate::call::Report;
use crate::id::AttemptId;

/// A listener that is informed of the attempts and the end of a call while a [`Driver`](super::Driver) runs the call.
/// The call has at most `N` attempts. A watch is useful for logs, tracing spans and observers. A watch cannot change
/// the call.
///
/// The default watch is [`NoWatch`]. `NoWatch` is a separate type, so that a program without a watch contains no code
/// for watches. Each method gets the call's report as it is at that moment. If a method panics, the call's future
/// panics.
pub trait Watch<const N: usize> {
    /// True if the methods do anything. If this is false, the compiler can remove the calls of these methods.
    const WATCHES: bool = true;

    /// Receives the notice that an attempt is about to start. If the attempt's server has been removed from the list,
    /// the attempt ends at once as [`ServerGone`](crate::outcome::ErrorKind::ServerGone).
    fn attempt_started(&self, report: &Report<N>, attempt: AttemptId) {
        let _ = (report, attempt);
    }

    /// Receives the notice that an attempt has a result or was abandoned. If the attempt was abandoned, its future is
    /// dropped soon after this notice. Otherwise its future no longer exists. This method is not called for attempts
    /// that are in flight when the call's future is dropped. In the report of [`call_ended`](Self::call_ended), these
    /// attempts have the state [`Abandoned`](crate::outcome::State::Abandoned).
    fn attempt_ended(&self, report: &Report<N>, attempt: AttemptId) {
        let _ = (report, attempt);
    }

    /// Receives the notice that the call has ended, after the notices of its attempts. This method is called once for
    /// each call whose future was polled, even if that future is dropped. It is not called if there are too few slots
    /// for the call.
    fn call_ended(&self, report: &Report<N>) {
        let _ = report;
    }
}

/// A watch that does nothing.
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

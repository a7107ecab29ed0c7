//! Why a call to one of several channels has no reply: [`SelectiveError`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hedge_core::id::AttemptId;
use hedge_core::outcome::{Attempt, Code, End, ErrorKind, Verdict};
use hedge_core::policy::ConfigError;
use hedge_fleet::{Outcome, SubCall, Trace};

use super::{LostCall, sub_calls};

/// Why a call to one of several channels has no reply. Its text says what happened, in which sub-call, at which
/// sub-channel, and after how long ([L16](hedge_core::rules#L16)).
pub struct SelectiveError<Reply, E>(Box<Failed<Reply, E>>);

struct Failed<Reply, E> {
    cause: Cause,
    last: Option<(AttemptId, Result<Reply, E>)>,
    trace: Trace,
    lost: Vec<LostCall>,
    all_down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Ended(End),
    Config(ConfigError),
}

impl<Reply, E> SelectiveError<Reply, E> {
    #[cold]
    pub(super) fn new(
        cause: Cause,
        last: Option<(AttemptId, Result<Reply, E>)>,
        trace: Trace,
        (lost, all_down): (Vec<LostCall>, bool),
    ) -> Self {
        Self(Box::new(Failed { cause, last, trace, lost, all_down }))
    }

    /// Returns how the call ended. Returns `None` if nothing was started because an option cannot be carried out; see
    /// [`config`](Self::config).
    pub const fn end(&self) -> Option<End> {
        match self.0.cause {
            Cause::Ended(end) => Some(end),
            Cause::Config(_) => None,
        }
    }

    /// Returns what is wrong with the options of the call.
    pub const fn config(&self) -> Option<&ConfigError> {
        match &self.0.cause {
            Cause::Config(error) => Some(error),
            Cause::Ended(_) => None,
        }
    }

    /// Returns the last failure: the error of a sub-call, or a reply that was not accepted. A sub-call that was dropped
    /// after it, such as one that took longer than the attempt timeout, has no error of its own.
    pub const fn last(&self) -> Option<&Result<Reply, E>> {
        match &self.0.last {
            Some((_, last)) => Some(last),
            None => None,
        }
    }

    /// Returns the error of the sub-call that decided how the call ended, if this sub-call has an error.
    fn decisive(&self) -> Option<&E> {
        let (attempt, last) = self.0.last.as_ref()?;
        last.as_ref().err().filter(|_| self.0.trace.decisive() == Some(*attempt))
    }

    /// Returns the last failure by value. The rest of the error is dropped.
    pub fn into_last(self) -> Option<Result<Reply, E>> {
        self.0.last.map(|(_, last)| last)
    }

    /// Returns the cause as a word, for metrics: `failed`, `fatal`, `deadline`, `cancelled`, `no_server`, `all_down`,
    /// `all_full`, `config`.
    pub const fn kind(&self) -> &'static str {
        match self.0.cause {
            Cause::Ended(End::Failed | End::Accepted) => "failed",
            Cause::Ended(End::Fatal) => "fatal",
            Cause::Ended(End::Deadline) => "deadline",
            Cause::Ended(End::Cancelled) => "cancelled",
            Cause::Ended(End::NoServer) => "no_server",
            Cause::Ended(End::AllDown) => "all_down",
            Cause::Ended(End::AllFull) => "all_full",
            Cause::Config(_) => "config",
        }
    }
}

/// Another channel may serve a call that this one could not serve, so the verdict is `Retry`. After the deadline, no
/// other channel has time left.
impl<Reply, E> Outcome for SelectiveError<Reply, E> {
    fn trace(&self) -> &Trace {
        &self.0.trace
    }

    fn verdict(&self) -> Verdict {
        match self.0.cause {
            Cause::Ended(End::Failed | End::Accepted | End::NoServer | End::AllDown | End::AllFull) => Verdict::Retry,
            Cause::Ended(End::Deadline) => Verdict::Wait,
            Cause::Ended(End::Fatal | End::Cancelled) | Cause::Config(_) => Verdict::Fatal,
        }
    }

    fn never_left(&self) -> bool {
        let gone = Code::from(ErrorKind::ServerGone);
        let lost = |id| self.0.lost.iter().any(|call| call.attempt == id && call.never_left);
        self.0.trace.ids().zip(self.0.trace.attempts()).all(|(id, attempt)| attempt.code() == gone || lost(id))
    }

    fn all_down(&self) -> bool {
        self.0.all_down
    }

    fn sub_calls(&self) -> Vec<SubCall> {
        sub_calls(&self.0.trace, &self.0.lost, None)
    }
}

impl<Reply, E: fmt::Display> fmt::Display for SelectiveError<Reply, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { cause, trace, .. } = &*self.0;
        match cause {
            Cause::Config(error) => return write!(f, "options of the call: {error}"),
            Cause::Ended(End::NoServer) => return f.write_str("no sub-channel: the list is empty"),
            Cause::Ended(End::AllDown) => return f.write_str("all sub-channels are down"),
            Cause::Ended(End::AllFull) => return f.write_str("all sub-channels are full"),
            Cause::Ended(End::Accepted) => write!(f, "{}", End::Failed)?,
            Cause::Ended(end) => write!(f, "{end}")?,
        }
        write!(f, " after {}", trace.elapsed_micros())?;
        let Some(id) = trace.decisive() else { return Ok(()) };
        write!(f, ": attempt {id}")?;
        if let Some(name) = trace.key_of::<Arc<str>>(id) {
            write!(f, " at {name}")?;
        }
        let code = trace.attempts().get(id.index()).map_or(Code::NONE, Attempt::code);
        match self.decisive() {
            _ if code == Code::NONE && matches!(cause, Cause::Ended(End::Deadline | End::Cancelled)) => {
                f.write_str(" had not answered")
            }
            Some(error) => write!(f, ": {error}"),
            None => write!(f, ": {code}"),
        }
    }
}

impl<Reply: fmt::Debug, E: fmt::Debug> fmt::Debug for SelectiveError<Reply, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectiveError")
            .field("cause", &self.0.cause)
            .field("last", &self.last())
            .field("trace", &self.0.trace)
            .finish_non_exhaustive()
    }
}

impl<Reply: fmt::Debug, E: Error + 'static> Error for SelectiveError<Reply, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Cause::Config(error) => Some(error),
            // The message already includes the error of the sub-call, but not its causes.
            Cause::Ended(_) => self.decisive()?.source(),
        }
    }
}
